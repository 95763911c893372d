"""Max-min fair shares in whole slots."""

from __future__ import annotations

from collections.abc import Mapping


def fair_shares(wanted: Mapping[str, int], cap: int) -> dict[str, int]:
    """Divide *cap* slots (0: as many as are wanted) so that the smallest share is the largest.

    Nobody gets more than they want; who wants more than an equal part shares what others leave. A
    remainder goes to those who want most, and among equals to the later names.
    """
    if not cap:
        return dict(wanted)
    shares: dict[str, int] = {}
    left = cap
    ascending = sorted(wanted, key=lambda owner: (wanted[owner], owner))
    for served, owner in enumerate(ascending):
        shares[owner] = min(wanted[owner], left // (len(ascending) - served))
        left -= shares[owner]
    return shares


class Demand:
    """How many slots each owner wants of one pool, and until when its word counts."""

    def __init__(self) -> None:
        self._wanted: dict[str, int] = {}
        self._until: dict[str, float] = {}

    def share(self, cap: int, owner: str, wanted: int, now: float, ttl_s: float) -> int:
        """Note what *owner* wants, forget whose time is up, and return the owner's share."""
        self._wanted[owner], self._until[owner] = wanted, now + ttl_s
        for name in [name for name, until in self._until.items() if until <= now]:
            del self._wanted[name], self._until[name]
        return fair_shares(self._wanted, cap)[owner]
