"""What a policy is: it decides, from the books of a semaphore, who is served next (`Policy`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.usenet.ledger import Ledger, Line, W
from gateway.usenet.workload import Workload


@dataclass(frozen=True, slots=True)
class Limits:
    """What applies to one total, by workload. *entitled* is min(guarantee, cap)."""

    guarantee: tuple[int, int, int]
    cap: tuple[int, int, int]
    entitled: tuple[int, int, int]


class Policy(Protocol):
    """Decides, from the books of one semaphore, who is served next. Pure, and shared by all."""

    def choose(self, ledger: Ledger[W], now: float) -> Line[W] | None:
        """Return the line whose first waiter gets the next free permit, None if nobody may.

        Asked only while a permit is free. A waiter that came with a number of its own is served
        only while more than that are free; the policy's caps and thresholds do not touch it.
        """
        ...

    def required_available(self, ledger: Ledger[W], workload: Workload) -> int:
        """Return how many permits *workload* must leave free at this moment."""
        ...

    def usable(self, ledger: Ledger[W]) -> int:
        """Return how many permits would be held if the total were the whole: what is wanted.

        Who is waiting counts as far as the caps would admit it then.
        """
        ...

    def limits(self, total: int, whole: int | None = None) -> Limits:
        """Return the guarantees and caps that apply to a provider of *total* connections.

        *whole*: those of the account, where other gateways have the rest; None: *total*.
        """
        ...

    def check(self, totals: Mapping[str, int]) -> None:
        """Refuse what the providers, by name with their connections, cannot meet.

        Raises ConfigurationError with the arithmetic.
        """
        ...
