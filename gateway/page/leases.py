"""`/leases`: who occupies the slots that others share, at this moment.

Pools, sessions and refs are read from the store when they are asked for. What only the process
that answers a viewer knows (user, content, offset) is added for its own, and null for others'.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.leases.keeper import Keeper
from gateway.leases.lease import LeaseStore, RefStanding, SessionStanding, State
from gateway.leases.viewing import Manner, Viewing, Viewings
from gateway.page.endpoint import Call, Endpoint, NotFound

MannerName = Literal["streaming", "stalled", "suspended", "grace"]
Caps = Callable[[], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class PoolView:
    """*count* sessions are in the pool. *cap* 0: unlimited; null: not known to this process."""

    name: str
    cap: int | None
    count: int


@dataclass(frozen=True, slots=True)
class RefView:
    """One request of a session, which keeps its place.

    *here*: it is answered by this process; for others' *age_s*, *offset* and *state* are null.
    *ending*: a newer request took over ("superseded") or somebody ended the session ("evicted"),
    and its holder has not let go yet. It expires after *expires_in_s* unless it is extended.
    """

    ref: str
    here: bool
    state: MannerName | None
    age_s: float | None
    offset: int | None
    ending: Literal["superseded", "evicted"] | None
    expires_in_s: float


@dataclass(frozen=True, slots=True)
class SessionView:
    """One playback, and the pools that it is in.

    *state*: that of its newest request here; "grace" if none is left and its place is kept for
    *grace_s* still; null if another process answers it, as are *user* to *profile*. *profile* is
    null for a file of the library, too.
    """

    session: str
    pools: tuple[str, ...]
    state: MannerName | None
    user: str | None
    content: str | None
    client: str | None
    profile: str | None
    grace_s: float | None
    refs: tuple[RefView, ...]


@dataclass(frozen=True, slots=True)
class SlotsView:
    """How many of a provider's connections a gateway holds, of those that several share."""

    pool: str
    owner: str
    held: int


@dataclass(frozen=True, slots=True)
class ViewingView:
    """A request that this process answers without a lease.

    It was paused for long ("suspended"): its slot was given back, and it will ask for one when its
    viewer reads on. Otherwise it was admitted here while the store could not be reached.
    """

    session: str
    ref: str
    state: MannerName
    user: str
    content: str
    client: str
    profile: str | None
    age_s: float
    offset: int


@dataclass(frozen=True, slots=True)
class LeasesView:
    """All leases of all processes that share the store."""

    pools: tuple[PoolView, ...]
    sessions: tuple[SessionView, ...]
    slots: tuple[SlotsView, ...]
    without_lease: tuple[ViewingView, ...]


@dataclass(frozen=True, slots=True)
class EndedView:
    """A session that was told to end, and how many requests of it were."""

    session: str
    refs: int


def endpoints(
    store: LeaseStore,
    keeper: Keeper,
    viewings: Viewings,
    caps: Caps,
    end_here: Callable[[str], int],
    *,
    clock: Callable[[], float] = time.time,
) -> list[Endpoint]:
    """Return what tells of the leases in *store*, and ends sessions.

    *caps*: the cap of every pool that this process knows, whether or not somebody is in it.
    *end_here* ends what this process answers of a session, also what holds no lease just now, and
    returns how many requests that were.
    """

    def show(_call: Call) -> LeasesView:
        # Twice: what begins or ends while the store is read is not without a lease.
        before = {one.ref for one in viewings()}
        census = store.census()
        now = clock()
        return _view(census, keeper.refs(), viewings(), before, caps(), now)

    def end(call: Call) -> EndedView:
        session = call.parameters["session"]
        known = [one for one in store.census() if one.session == session]
        if known and known[0].slot_owner is not None:
            raise NotFound(f"{session!r} is a connection to a provider, and no viewer's session")
        waiting = sum(
            one.session == session and one.manner is Manner.SUSPENDED for one in viewings()
        )
        if not known and not waiting:
            raise NotFound(
                f"no session {session!r} is here: it has ended, or pauses at another gateway"
            )
        refs = keeper.evict(session) if known else ()
        end_here(session)
        return EndedView(session, len(refs) + waiting)

    down = {503: "The store of leases cannot be reached"}
    return [
        Endpoint(
            "GET",
            "/leases",
            "Tell who occupies the slots that others share",
            LeasesView,
            show,
            refusals=down,
        ),
        Endpoint(
            "DELETE",
            "/leases/sessions/{session}",
            "End a session, wherever it is answered",
            EndedView,
            end,
            refusals={**down, 404: "No such session holds a slot, or pauses here"},
        ),
    ]


def _view(
    census: Sequence[SessionStanding],
    here: Collection[tuple[str, str]],
    viewings: Sequence[Viewing],
    before: Collection[str],
    caps: Mapping[str, int],
    now: float,
) -> LeasesView:
    counts = Counter(pool for one in census for pool in one.pools)
    slots = Counter(
        (pool, owner)
        for one in census
        if (owner := one.slot_owner) is not None
        for pool in one.pools
    )
    by_session: dict[str, list[Viewing]] = {}
    for viewing in sorted(viewings, key=lambda viewing: viewing.began_at):
        by_session.setdefault(viewing.session, []).append(viewing)
    leased = {one.ref for standing in census for one in standing.refs}
    return LeasesView(
        tuple(PoolView(name, caps.get(name), counts[name]) for name in sorted({*counts, *caps})),
        tuple(
            _session(one, here, by_session.get(one.session, []), now)
            for one in census
            if one.slot_owner is None
        ),
        tuple(SlotsView(pool, owner, held) for (pool, owner), held in sorted(slots.items())),
        tuple(
            _without_lease(viewing, now)
            for viewing in viewings
            if viewing.ref in before and viewing.ref not in leased
            if viewing.manner is not Manner.GRACE
        ),
    )


def _session(
    standing: SessionStanding,
    here: Collection[tuple[str, str]],
    viewings: Sequence[Viewing],
    now: float,
) -> SessionView:
    by_ref = {viewing.ref: viewing for viewing in viewings}
    newest = viewings[-1] if viewings else None
    state: MannerName | None = None if standing.refs else "grace"
    refs = {one.ref for one in standing.refs}
    for viewing in viewings:
        if viewing.ref in refs:
            state = viewing.manner.value
    return SessionView(
        standing.session,
        standing.pools,
        state,
        newest.user if newest else None,
        newest.content if newest else None,
        newest.client if newest else None,
        newest.profile if newest else None,
        None if standing.grace_s is None else round(standing.grace_s, 1),
        tuple(
            _ref(one, (standing.session, one.ref) in here, by_ref.get(one.ref), now)
            for one in standing.refs
        ),
    )


def _ref(standing: RefStanding, here: bool, viewing: Viewing | None, now: float) -> RefView:
    ending: Literal["superseded", "evicted"] | None = None
    if standing.state is State.SUPERSEDED:
        ending = "superseded"
    elif standing.state is State.EVICTED:
        ending = "evicted"
    return RefView(
        standing.ref,
        here,
        viewing.manner.value if viewing else None,
        _age(viewing, now) if viewing else None,
        viewing.offset if viewing else None,
        ending,
        round(standing.expires_in_s, 1),
    )


def _without_lease(viewing: Viewing, now: float) -> ViewingView:
    return ViewingView(
        viewing.session,
        viewing.ref,
        viewing.manner.value,
        viewing.user,
        viewing.content,
        viewing.client,
        viewing.profile,
        _age(viewing, now),
        viewing.offset,
    )


def _age(viewing: Viewing, now: float) -> float:
    return round(max(0.0, now - viewing.began_at), 1)
