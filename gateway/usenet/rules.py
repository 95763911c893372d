"""The rules of sharing as somebody wrote them (`Rules`), and their change in use (`Sharing`)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Literal

from gateway.usenet.client import UsenetClient
from gateway.usenet.policy import Policy
from gateway.usenet.shares import Fixed, Shares

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """How connections are shared. None: the default for the total of each provider (`Shares`).

    *policy* "fixed" knows *max_queue_connections* alone: see `Fixed`.
    """

    policy: Literal["shares", "fixed"] = "shares"
    stream_guarantee: int | None = None
    queue_guarantee: int | None = None
    health_guarantee: int | None = None
    max_queue_connections: int | None = None
    health_cap: int | None = None
    max_connections_per_stream: int | None = None
    permit_aging_s: float = 2.0

    def make(self) -> Policy:
        """Return the policy that keeps them. Raises ConfigurationError if none can."""
        if self.policy == "fixed":
            return Fixed(self.max_queue_connections)
        return Shares(
            self.stream_guarantee,
            self.queue_guarantee,
            self.health_guarantee,
            self.max_queue_connections,
            self.health_cap,
            max_connections_per_stream=self.max_connections_per_stream,
            aging_s=self.permit_aging_s,
        )


class Sharing:
    """The rules in force at the providers of *client*, and the one way to change them.

    *rules* are those that the client was made with.
    """

    def __init__(self, client: UsenetClient, rules: Rules) -> None:
        self._client = client
        self._lock = threading.Lock()  # held while rules are changed: no change is lost
        self._rules = rules

    @property
    def rules(self) -> Rules:
        return self._rules

    def connections(self) -> dict[str, int]:
        """Return the connections of each provider as configured, whatever was learned since."""
        pools = self._client.pools.items()
        return {name: pool.status().configured for name, pool in pools}

    def change(
        self, edit: Callable[[Rules], Rules], connections: Mapping[str, int] | None = None
    ) -> None:
        """Put what *edit* makes of the rules in force, and *connections* of providers by name.

        All of it or nothing. Nobody is cut: what is held above a limit counts until it comes
        back. A provider that is named is also believed again, whatever it taught us about its
        limit. Raises ConfigurationError, with the arithmetic, for what cannot be met.
        """
        with self._lock:
            before, had = self._rules, self.connections()
            rules = edit(before)
            wanted = connections or {}
            self._client.change(rules.make(), wanted)
            self._rules = rules
            changes = [
                f"{field.name}={_written(getattr(before, field.name))} -> "
                f"{_written(getattr(rules, field.name))}"
                for field in fields(Rules)
                if getattr(before, field.name) != getattr(rules, field.name)
            ]
            changes += [
                f"connections of {name}={had[name]} -> {total}"
                for name, total in wanted.items()
                if had[name] != total
            ]
        if changes:
            log.info("limits changed: %s", ", ".join(changes))


def _written(value: object) -> str:
    return "default" if value is None else str(value)
