"""Who may have the next permit: guarantees and caps, turned into a threshold and an order.

`Shares`, for each workload c (stream, queue, health):

    eligible_d            = waiters of d whom d's cap and their stream's cap would admit now
    owed_d                = min(eligible_d, max(0, min(guarantee_d, cap_d) - held_d))
    required_available(c) = 0                             while held_c < min(guarantee_c, cap_c)
                          = sum of owed_d over d != c     otherwise

What you are owed you may take; beyond it, leave free what others are owed and could take now.
Invariant: if a permit is free, no waiter is eligible. Whoever is owed is served before whoever
borrows; so when a borrower's turn comes nobody is owed any more, and its threshold is 0: the
order alone keeps the formula. The tests compare both.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.errors import ConfigurationError
from gateway.usenet.ledger import Ledger, Line, W
from gateway.usenet.policy import Limits, Policy
from gateway.usenet.workload import Workload

__all__ = ["Fixed", "Limits", "Policy", "Shares"]

STREAM, QUEUE, HEALTH = (int(workload) for workload in Workload)


class Fixed:
    """One threshold for everybody, and first come, first served.

    All of *max_queue_connections* can be had by anyone, the rest by nobody: a hard limit.
    None: no threshold.
    """

    def __init__(self, max_queue_connections: int | None = None) -> None:
        _check_at_least(1, GATEWAY_MAX_QUEUE_CONNECTIONS=max_queue_connections)
        self._max_queue_connections = max_queue_connections

    def required_available(self, ledger: Ledger[W], workload: Workload) -> int:  # noqa: ARG002 - Policy
        """Return the connections that nobody may use: total - max_queue_connections."""
        if self._max_queue_connections is None:
            return 0
        return max(0, ledger.total - self._max_queue_connections)

    def usable(self, ledger: Ledger[W]) -> int:
        """Return what is held and waited for, within the one cap."""
        wanted = ledger.held + ledger.waiting
        return min(wanted, self.limits(ledger.whole).cap[STREAM])

    def limits(self, total: int, whole: int | None = None) -> Limits:  # noqa: ARG002 - Policy
        """Return no guarantees, and the one cap for all together as that of each."""
        cap = total if self._max_queue_connections is None else self._max_queue_connections
        cap = min(cap, total)
        return Limits((0, 0, 0), (cap, cap, cap), (0, 0, 0))

    def check(self, totals: Mapping[str, int]) -> None:
        """Refuse nothing: a limit above what a provider has limits nobody there."""

    def choose(self, ledger: Ledger[W], now: float) -> Line[W] | None:  # noqa: ARG002 - Policy
        """Return the line of whoever came first among those whose threshold is met."""
        free = ledger.total - ledger.held
        threshold = self.required_available(ledger, Workload.QUEUE)
        first: Line[W] | None = None
        for lane in ledger.lanes:
            for line in lane.values():
                required = threshold if line.required is None else line.required
                if free <= required:
                    continue
                if first is None or line.waiters[0].arrival < first.waiters[0].arrival:
                    first = line
        return first


class Shares:
    """A guarantee and a cap for each workload, and a cap on the read-ahead of one stream.

    None takes the default for the provider's total T of the moment. Guarantees: T = 1: stream 1;
    T = 2: stream 1, queue 1; T >= 3: health 1, queue max(1, 0.2 T), stream max(1, 0.4 T), rounded
    down. Caps: queue T, health max(1, 0.1 T), read-ahead of a stream max(1, T / streams with work)
    rounded up. Where other gateways use the account too, the cap of health is a tenth of the
    whole account. After *aging_s* a waiter is served by arrival within its workload and kind.

    Where the guarantees add up to more than T (a small provider, a total that shrank), first
    the defaults and then the given ones are cut: health, queue, stream, down to 1 each, and when
    there is not even that, in the same order to 0.
    """

    def __init__(
        self,
        stream_guarantee: int | None = None,
        queue_guarantee: int | None = None,
        health_guarantee: int | None = None,
        queue_cap: int | None = None,
        health_cap: int | None = None,
        *,
        max_connections_per_stream: int | None = None,
        aging_s: float = 2.0,
    ) -> None:
        _check_at_least(
            0,
            GATEWAY_STREAM_GUARANTEE=stream_guarantee,
            GATEWAY_QUEUE_GUARANTEE=queue_guarantee,
            GATEWAY_HEALTH_GUARANTEE=health_guarantee,
            GATEWAY_PERMIT_AGING=aging_s,
        )
        _check_at_least(
            1,
            GATEWAY_MAX_QUEUE_CONNECTIONS=queue_cap,
            GATEWAY_HEALTH_CAP=health_cap,
            GATEWAY_MAX_CONNECTIONS_PER_STREAM=max_connections_per_stream,
        )
        _check_below_cap(
            "GATEWAY_QUEUE_GUARANTEE", queue_guarantee, "GATEWAY_MAX_QUEUE_CONNECTIONS", queue_cap
        )
        _check_below_cap(
            "GATEWAY_HEALTH_GUARANTEE", health_guarantee, "GATEWAY_HEALTH_CAP", health_cap
        )
        self._given = (stream_guarantee, queue_guarantee, health_guarantee)
        self._queue_cap = queue_cap
        self._health_cap = health_cap
        self._per_stream = max_connections_per_stream
        self._aging_s = aging_s
        self._limits: dict[tuple[int, int], Limits] = {}

    def check(self, totals: Mapping[str, int]) -> None:
        """Refuse guarantees that not even the largest provider can meet.

        *totals*: the connections of each provider by its name. Raises ConfigurationError with
        the sum. A smaller provider cuts the guarantees, it does not refuse them.
        """
        if not totals:
            return
        name, total = max(totals.items(), key=lambda item: item[1])
        names = ("GATEWAY_STREAM_GUARANTEE", "GATEWAY_QUEUE_GUARANTEE", "GATEWAY_HEALTH_GUARANTEE")
        given = {n: g for n, g in zip(names, self._given, strict=True) if g is not None}
        if sum(given.values()) > total:
            terms = " + ".join(f"{n}={g}" for n, g in given.items())
            raise ConfigurationError(
                f"{terms} = {sum(given.values())}, but the largest provider, {name!r}, has "
                f"{total} connections: lower the guarantees to {total} together"
            )

    def limits(self, total: int, whole: int | None = None) -> Limits:
        """Return the guarantees and caps that apply to a provider of *total* connections.

        *whole*: those of the account, where other gateways have the rest; None: *total*.
        """
        key = (total, total if whole is None else whole)
        limits = self._limits.get(key)
        if limits is None:
            limits = self._limits[key] = self._compute(*key)
        return limits

    def usable(self, ledger: Ledger[W]) -> int:
        """Return how many permits would be held if the total were the whole.

        Guarantees add nothing to what is waited for, and a cap takes from it.
        """
        whole = ledger.whole
        cap = self.limits(whole).cap
        ahead_cap = self._read_ahead_cap(ledger, whole)
        stream = ledger.held_by[STREAM] + ledger.waiting_by[STREAM]
        for line in ledger.lanes[Ledger.lane(STREAM, False)].values():
            room = max(0, ahead_cap - line.account.ahead)
            if line.required is None and len(line.waiters) > room:
                stream -= len(line.waiters) - room
        others = sum(
            min(ledger.held_by[workload] + ledger.waiting_by[workload], cap[workload])
            for workload in (QUEUE, HEALTH)
        )
        return min(whole, stream + others)

    def read_ahead_cap(self, ledger: Ledger[W]) -> int:
        """Return how many permits one stream may hold for read-ahead at this moment."""
        return self._read_ahead_cap(ledger, ledger.total)

    def _read_ahead_cap(self, ledger: Ledger[W], total: int) -> int:
        if self._per_stream is not None:
            return self._per_stream
        streams = len(ledger.accounts[STREAM])
        return max(1, -(-total // streams)) if streams else max(1, total)

    def required_available(self, ledger: Ledger[W], workload: Workload) -> int:
        """Return what *workload* must leave free: what others are owed and could take now."""
        limits = self.limits(ledger.total, ledger.whole)
        if ledger.held_by[workload] < limits.entitled[workload]:
            return 0
        owed = sum(self._owed(ledger, other, limits) for other in Workload if other != workload)
        return max(0, min(owed, ledger.total - 1))

    def choose(self, ledger: Ledger[W], now: float) -> Line[W] | None:
        """Return the line to serve: the owed before borrowers, then by urgency.

        Within one standing: STREAM, QUEUE, HEALTH, and of each the demand reads before the
        read-ahead; HEALTH borrows only while no viewer is blocked. Within one workload and kind:
        those who have waited for the ageing time, the stream that holds fewest, arrival.
        """
        limits = self.limits(ledger.total, ledger.whole)
        held, waiting, entitled = ledger.held_by, ledger.waiting_by, limits.entitled
        borrows = False
        for workload in (STREAM, QUEUE, HEALTH):
            if waiting[workload]:
                if held[workload] < entitled[workload]:
                    line = self._first(ledger, workload, False, now)
                    if line is not None:
                        return line
                else:
                    borrows = True
        if not borrows:
            return None
        for workload in (STREAM, QUEUE, HEALTH):
            if waiting[workload] and held[workload] >= entitled[workload]:
                capped = held[workload] >= limits.cap[workload]
                if workload == HEALTH and ledger.lanes[Ledger.lane(STREAM, True)]:
                    capped = True
                line = self._first(ledger, workload, capped, now)
                if line is not None:
                    return line
        return None

    def _first(self, ledger: Ledger[W], workload: int, capped: bool, now: float) -> Line[W] | None:
        """Return the line to serve of one workload; *capped*: only those with own numbers."""
        free = ledger.total - ledger.held
        for demand in (True, False):
            lane = ledger.lanes[2 * workload if demand else 2 * workload + 1]
            if not lane:
                continue
            capped_ahead = workload == STREAM and not demand
            ahead_cap = self.read_ahead_cap(ledger) if capped_ahead else ledger.total
            best: Line[W] | None = None
            best_key: tuple[int, int] = (0, 0)
            aged_before = now - self._aging_s
            for line in lane.values():
                if line.required is not None:
                    if free <= line.required:
                        continue
                elif capped or (capped_ahead and line.account.ahead >= ahead_cap):
                    continue
                head = line.waiters[0]
                # -1: before every stream, whatever it holds
                key = (-1 if head.since <= aged_before else line.account.held, head.arrival)
                if best is None or key < best_key:
                    best, best_key = line, key
            if best is not None:
                return best
        return None

    def _owed(self, ledger: Ledger[W], workload: int, limits: Limits) -> int:
        room = limits.entitled[workload] - ledger.held_by[workload]
        if room <= 0:
            return 0
        eligible = 0
        for demand in (True, False):
            for line in ledger.lanes[Ledger.lane(workload, demand)].values():
                if line.required is not None:
                    continue
                admitted = len(line.waiters)
                if workload == STREAM and not demand:
                    admitted = min(admitted, self.read_ahead_cap(ledger) - line.account.ahead)
                eligible += max(0, admitted)
        return min(eligible, room)

    def _compute(self, total: int, whole: int) -> Limits:
        guarantee = _cut(self._given, _defaults(total), total)
        queue_cap = total if self._queue_cap is None else min(self._queue_cap, total)
        # A given guarantee that exceeds the default cap says what is wanted.
        health_cap = self._health_cap or max(1, whole // 10, guarantee[HEALTH])
        cap = (total, queue_cap, min(health_cap, total))
        entitled = (
            min(guarantee[STREAM], cap[STREAM]),
            min(guarantee[QUEUE], cap[QUEUE]),
            min(guarantee[HEALTH], cap[HEALTH]),
        )
        return Limits(guarantee, cap, entitled)


def _defaults(total: int) -> tuple[int, int, int]:
    if total < 3:
        return (int(total >= 1), int(total >= 2), 0)
    return (max(1, total * 2 // 5), max(1, total // 5), 1)


def _cut(
    given: tuple[int | None, int | None, int | None], default: tuple[int, int, int], total: int
) -> tuple[int, int, int]:
    """Return the guarantees, cut until they fit into *total*. See `Shares` for the order."""
    guarantee = [d if g is None else g for g, d in zip(given, default, strict=True)]
    excess = sum(guarantee) - total
    for floor in (1, 0):
        for only_defaults in (True, False):
            for workload in (HEALTH, QUEUE, STREAM):
                if excess > 0 and (given[workload] is None or not only_defaults):
                    cut = min(excess, max(0, guarantee[workload] - floor))
                    guarantee[workload] -= cut
                    excess -= cut
    return (guarantee[STREAM], guarantee[QUEUE], guarantee[HEALTH])


def _check_at_least(least: int, **given: float | None) -> None:
    for name, value in given.items():
        if value is not None and value < least:
            raise ConfigurationError(f"{name}={value} is too small: write {least} or more")


def _check_below_cap(name: str, guarantee: int | None, cap_name: str, cap: int | None) -> None:
    if guarantee is not None and cap is not None and guarantee > cap:
        raise ConfigurationError(
            f"{name}={guarantee} exceeds {cap_name}={cap}: lower the former or raise the latter"
        )
