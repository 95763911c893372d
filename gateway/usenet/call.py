"""An exchange on its way through a pool (`Call`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import sabctools

from gateway.errors import ProviderError
from gateway.usenet.connection import Connection
from gateway.usenet.exchange import Exchange
from gateway.usenet.permits import ExtendedSemaphore, Permit, Request, Waiter

# A lost connection says little about the provider: it is asked once more before the next one is.
RETRIES = 1
# Every refusal for "too many connections" lowers the limit, so this many suffice to settle.
BUSY_RETRIES = 3


class Calls(Protocol):
    """What a call needs of its pool."""

    permits: ExtendedSemaphore

    def promote(self, call: Call, request: Request) -> None:
        """See Call.promote."""
        ...

    def leave(self, call: Call) -> bool:
        """See Call.cancel."""
        ...


class Call:
    """An exchange on its way: waits for a permit, then for a connection, then for replies.

    *done* is called once, on the dispatcher's thread, unless `cancel` answered True. *responses*
    are complete or *error* says why not; the permit is back by then.
    """

    __slots__ = (
        "_pool",
        "abandoned",
        "ahead",
        "busy_retries",
        "connection",
        "done",
        "error",
        "exchange",
        "expected_bytes",
        "lines",
        "may_ride",
        "permit",
        "request",
        "retries",
        "rider",
        "rode",
        "waiter",
    )

    def __init__(
        self,
        pool: Calls,
        lines: Sequence[bytes],
        request: Request,
        done: Callable[[Call], None],
        expected_bytes: int,
    ) -> None:
        self._pool = pool
        self.lines = lines
        self.request = request
        self.done = done
        self.expected_bytes = expected_bytes
        self.retries = RETRIES
        self.busy_retries = BUSY_RETRIES
        self.abandoned = False
        # See `gateway.usenet.depth`. *rode*: its command was sent behind that of another.
        self.may_ride = False
        self.rode = False
        self.ahead: Call | None = None
        self.rider: Call | None = None
        self.waiter: Waiter | None = None
        self.permit: Permit | None = None
        self.connection: Connection | None = None
        self.exchange: Exchange | None = None
        self.error: ProviderError | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether it has no permit yet."""
        return self.permit is None

    @property
    def responses(self) -> Sequence[sabctools.NNTPResponse]:
        return () if self.exchange is None else self.exchange.responses

    def left(self) -> int:
        """Return how many bytes are still to come, as far as can be guessed."""
        return max(0, self.expected_bytes - (self.exchange.received if self.exchange else 0))

    def permits_in_words(self) -> str:
        """Say how the permits stand that it waits for, for an error message."""
        permits = self._pool.permits.snapshot()
        waiting = sum(permits.waiting.values())
        return f"{max(0, permits.free)} of {permits.total} free, {waiting} waiting"

    def promote(self, request: Request) -> None:
        """Wait in the place of *request* from now on, be it stronger or weaker."""
        self._pool.promote(self, request)

    def cancel(self) -> bool:
        """Give it up. True: it had no permit, and *done* will not be called.

        Otherwise what is in flight passes to the pool, which drains the connection or closes
        it, whichever is sooner done; *done* is called then.
        """
        return self._pool.leave(self)
