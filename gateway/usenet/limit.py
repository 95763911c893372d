"""How many connections a pool may have (`Limit`), and who else has a say in it (`Slots`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Limit:
    """What was configured, what the provider taught us, and the slots held where others share.

    None: nothing was learned; the account is this gateway's alone.
    """

    configured: int
    learned: int | None = None
    slots: int | None = None

    @property
    def allowed(self) -> int:
        """What the provider allows, as far as is known."""
        return self.configured if self.learned is None else min(self.configured, self.learned)

    @property
    def now(self) -> int:
        """What this gateway may have at this moment."""
        return self.allowed if self.slots is None else min(self.allowed, self.slots)


@dataclass(frozen=True, slots=True)
class SlotFigures:
    """Of an account that several gateways use: slots held by this one, its share, and its wish."""

    held: int
    target: int
    wanted: int


class Slots(Protocol):
    """What shares a pool's account with other gateways, and tells the pool by `Pool.allow`."""

    def ask(self) -> None:
        """Say that a request waits. Called from any thread, often: it must be quick."""
        ...

    def figures(self) -> SlotFigures:
        """Return how it stands."""
        ...
