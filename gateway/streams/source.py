"""What streams ask for articles: the shape of `gateway.usenet.articles.ArticleSource`.

Everything that wraps the source (the cache does) has this shape too, and hands out fetches of
this shape; so a stream cannot tell how many layers there are, and goes round none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.nzb.extents import Part
from gateway.usenet.articles import Body, Verdict
from gateway.usenet.workload import Reservation


class Pending(Protocol):
    """One caller's interest in one article, as `gateway.usenet.articles.Fetch` describes it."""

    @property
    def done(self) -> bool:
        """Say whether `result` would return or raise at once."""

    def result(self, timeout_s: float) -> Body:
        """Return the article, waiting for it; raises what kept it from coming."""

    def promote(self) -> None:
        """Say that from now on a client is blocked on it."""

    def cancel(self) -> None:
        """Give up interest. Never blocks; may be called twice, and after the end."""

    def add_done_callback(self, fn: Callable[[Pending], None], /) -> None:
        """Have *fn* called once with this fetch when it is done, or now if it is."""


class Articles(Protocol):
    """A source of articles."""

    def request(
        self, part: Part, *, reservation: Reservation | None = None, demand: bool = True
    ) -> Pending:
        """Begin to fetch *part*; never blocks. None: the reservation in force."""

    def body(self, part: Part, *, timeout_s: float, demand: bool = True) -> Body:
        """Return the article of *part*, waiting for it."""

    def exists(
        self,
        parts: Sequence[Part],
        *,
        timeout_s: float,
        given_up: Callable[[], bool] | None = None,
    ) -> list[Verdict]:
        """Say of each part whether its article can be had, without fetching it.

        Ends early once *given_up* says True.
        """
