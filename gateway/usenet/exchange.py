"""Commands that go over one connection together (`Exchange`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sabctools

from gateway.errors import ProviderError


class Exchange:
    """Commands that go over one connection together, and the replies to them, in order.

    *finished* is called exactly once, on the dispatcher's thread, when every reply is in or the
    connection is lost; then *error* is set and *responses* holds what came before.
    """

    __slots__ = ("error", "expected_bytes", "finished", "lines", "received", "responses", "sent_at")

    def __init__(
        self,
        lines: Sequence[bytes],
        finished: Callable[[Exchange], None],
        *,
        expected_bytes: int = 0,
    ) -> None:
        self.lines = lines
        self.finished = finished
        self.expected_bytes = expected_bytes
        self.responses: list[sabctools.NNTPResponse] = []
        self.error: ProviderError | None = None
        self.received = 0  # bytes on the wire so far; a guess of progress, read by any thread
        self.sent_at = 0.0

    @property
    def is_complete(self) -> bool:
        return len(self.responses) == len(self.lines)

    def report(self) -> None:
        """Call *finished*, and let go of it, or call and exchange would hold each other."""
        finished, self.finished = self.finished, _ignore
        finished(self)


def _ignore(exchange: Exchange) -> None:
    """An exchange is finished once."""
