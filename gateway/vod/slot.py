"""Which slot a request takes: that of its session's account, or a probe's beside full ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from gateway.errors import PoolFull
from gateway.leases.held import Held
from gateway.leases.lease import Pool, State
from gateway.vod.admission import Admission
from gateway.vod.probes import Probe, Probes
from gateway.vod.sources import Source

_Place: TypeAlias = tuple[int, tuple[Pool, ...]]


class Slot:
    """The slots of one request, one after another.

    `place` is that of the account; once taken it is never another. `probe` is what this slot may
    be used for, None: all.
    """

    def __init__(
        self,
        admission: Admission,
        probes: Probes,
        source: Source,
        cancelled: Callable[[], bool],
    ) -> None:
        self.place: int | None = None
        self.probe: Probe | None = None
        self._admission, self._probes = admission, probes
        self._source, self._cancelled = source, cancelled

    def take(self, session: str, lost: Callable[[State], None], wait_s: float | None) -> Held:
        """Return a lease for *session* within *wait_s*. Raises as `Admission.acquire` does."""
        self.probe = None
        place = self.place
        if place is None and (probed := self._probes.of(session)) is not None:
            place = probed.place
        real = self._at(place, self._source.candidates())
        beside = self._at(place, self._source.probes()) if self._probes.has_left(session) else []
        if not beside:
            return self._take(real, session, lost, wait_s)
        try:
            return self._take(real, session, lost, 0.0)
        except PoolFull as exc:
            if exc.pool.startswith("user:"):
                return self._take(real, session, lost, wait_s)
        try:
            held = self._take(beside, session, lost, 0.0)
        except PoolFull:
            return self._take(real, session, lost, wait_s)
        assert self.place is not None
        self.probe = self._probes.begin(session, self.place)
        return held

    def _at(self, place: int | None, pools: Sequence[tuple[Pool, ...]]) -> list[_Place]:
        return [one for one in enumerate(pools) if place in {None, one[0]}]

    def _take(
        self,
        places: Sequence[_Place],
        session: str,
        lost: Callable[[State], None],
        wait_s: float | None,
    ) -> Held:
        held = self._admission.acquire(
            [pools for _, pools in places],
            session,
            lost,
            wait_s=wait_s,
            cancelled=self._cancelled,
        )
        self.place = places[held.chosen][0]
        return held
