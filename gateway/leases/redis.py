"""Leases in Redis: the store that several gateways share.

One Lua script per operation (the files in `lua/`), the server's clock, and all keys under one hash
tag. `lua/common.lua` says what the keys hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

from gateway.errors import ConfigurationError, LeaseLost, LeaseStoreDown, PoolFull, StoreRecovering
from gateway.leases.lease import (
    HEARTBEAT_S,
    PIN_S,
    SLOT,
    TTL_S,
    Claim,
    Grant,
    Lease,
    Notice,
    Occupant,
    Pool,
    RefStanding,
    SessionStanding,
    State,
    Watch,
    check_ids,
)
from gateway.leases.redis_watch import RedisWatch
from gateway.leases.scripts import Scripts

TIMEOUT_S = 0.5
_LUA = Path(__file__).with_name("lua")
_CONNECTIONS = 512  # more than there are threads that answer requests; a call holds one for < 1 ms


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


class RedisLeases:
    """A `LeaseStore` in a Redis server. When it lost its data, it takes back what holders know.

    For two heartbeats after a flush or a restart only sessions that held a slot get one, so that
    no pool is overfilled.
    """

    def __init__(
        self,
        client: Redis,
        *,
        ttl_s: float = TTL_S,
        pin_s: float = PIN_S,
        recover_s: float = 2 * HEARTBEAT_S,
        namespace: str = "nzb-gateway",
        mirror_in_script: bool = True,
    ) -> None:
        """Use *client*, which decodes responses, and close it with `close`.

        *ttl_s* is the longest ttl that leases are taken for, and how long ids of ended refs are
        kept. Without *mirror_in_script*, the keys `profile_connections:<id>` are written by calls
        of their own, as a cluster wants it (they lie in other slots).
        """
        self._client = client
        self._ttl_s, self._pin, self._recover = ttl_s, _ms(max(pin_s, ttl_s)), _ms(recover_s)
        self._prefix = f"{{{namespace}}}:leases:"
        self._mirrored = mirror_in_script
        common = (_LUA / "common.lua").read_text("utf-8")
        texts = {
            path.stem: common + path.read_text("utf-8")
            for path in sorted(_LUA.glob("*.lua"))
            if path.stem != "common"
        }
        self._scripts = Scripts(client, texts, f"{self._prefix}epoch")

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        ttl_s: float = TTL_S,
        pin_s: float = PIN_S,
        recover_s: float = 2 * HEARTBEAT_S,
        timeout_s: float = TIMEOUT_S,
    ) -> Self:
        """Use the server at *url* (redis://, rediss://, unix://). Connects when it is needed.

        A connection that was lost is made anew and the command sent once more, which changes
        nothing if it had arrived. A command that gets no answer is not repeated, so that nobody
        waits much longer than *timeout_s*.

        Raises ConfigurationError when the address cannot be one.
        """
        try:
            client = Redis.from_url(
                url,
                decode_responses=True,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                max_connections=_CONNECTIONS,
                retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
            )
            client.connection_pool.make_connection()  # reads the options, and connects to nobody
        except (ValueError, TypeError, RedisError) as exc:
            raise ConfigurationError(f"the Redis server's address is wrong: {exc}") from None
        return cls(client, ttl_s=ttl_s, pin_s=pin_s, recover_s=recover_s)

    def acquire(
        self, candidates: Sequence[Sequence[Pool]], session: str, ref: str, ttl_s: float
    ) -> Grant:
        check_ids(session, ref)
        if not candidates or not all(candidates):
            raise ValueError("no candidates, or one without pools")
        arguments: list[str | int] = [session, ref, self._ttl(ttl_s), self._pin, self._recover]
        arguments.append(int(self._mirrored))
        for candidate in candidates:
            arguments.append(len(candidate))
            for pool in candidate:
                arguments += [pool.name, pool.cap]
        match self._run("acquire", arguments):
            case ["granted", int(chosen), *older]:
                self._mirror([pool.name for pool in candidates[chosen]])
                return Grant(chosen, tuple(sorted(older)))
            case ["full", str(name), int(count), int(cap)]:
                raise PoolFull(name, count, cap)
            case ["recovering", int(wait)]:
                raise StoreRecovering(wait / 1000)
            case ["gone", str(state)]:
                raise LeaseLost(f"the lease is over: {state}")
            case answer:
                raise LeaseStoreDown(f"the lease store answered {answer!r}")

    def release(self, session: str, ref: str, grace_s: float) -> None:
        check_ids(session, ref)
        names = self._run(
            "release", [session, ref, _ms(grace_s), _ms(self._ttl_s), int(self._mirrored)]
        )
        self._mirror(names)

    def heartbeat(self, leases: Sequence[Lease], ttl_s: float) -> list[State]:
        arguments: list[str | int] = [self._ttl(ttl_s), self._pin, self._recover]
        arguments.append(int(self._mirrored))
        for lease in leases:
            arguments += [lease.session, lease.ref, len(lease.pools)]
            for pool in lease.pools:
                arguments += [pool.name, pool.cap]
        states = [State(state) for state in self._run("heartbeat", arguments)]
        self._mirror(sorted({pool.name for lease in leases for pool in lease.pools}))
        return states

    def count(self, pool: str) -> int:
        (count,) = self._run("count", [pool])
        return int(count)

    def sessions(self, pool: str) -> list[Occupant]:
        found = self._run("read", [pool])
        refs: dict[str, list[str]] = {}
        left: dict[str, float] = {}
        for member, expires_in_ms in zip(found[::2], found[1::2], strict=True):
            session, _, ref = member.partition("|")
            refs.setdefault(session, []).extend([ref] if ref else [])
            left[session] = max(left.get(session, 0.0), expires_in_ms / 1000)
        return [Occupant(one, tuple(sorted(refs[one])), left[one]) for one in sorted(refs)]

    def pools(self) -> list[str]:
        try:
            names = sorted(str(name) for name in self._client.smembers(f"{self._prefix}pools"))
        except RedisError as exc:
            raise _down(exc) from exc
        counts = self._run("count", names)
        return [name for name, count in zip(names, counts, strict=True) if count]

    def census(self) -> list[SessionStanding]:
        found = self._run("census", [])
        pools: dict[str, set[str]] = {}
        refs: dict[str, dict[str, RefStanding]] = {}
        grace: dict[str, float] = {}
        rows = zip(found[::4], found[1::4], found[2::4], found[3::4], strict=True)
        for pool, member, left_ms, ended in rows:
            session, _, ref = member.partition("|")
            pools.setdefault(session, set()).add(pool)
            if ref:
                state = State(ended) if ended else State.HELD
                refs.setdefault(session, {})[ref] = RefStanding(ref, state, left_ms / 1000)
            else:
                grace[session] = left_ms / 1000
        return [
            SessionStanding(
                session,
                tuple(sorted(pools[session])),
                tuple(one for _, one in sorted(refs.get(session, {}).items())),
                grace.get(session),
            )
            for session in sorted(pools)
        ]

    def evict(self, session: str) -> tuple[str, ...]:
        check_ids(session)
        count, *found = self._run("evict", [session, _ms(self._ttl_s), int(self._mirrored)])
        self._mirror(found[count:])
        return tuple(sorted(found[:count]))

    def claim(
        self, pool: Pool, owner: str, wanted: int, held: Sequence[str], ttl_s: float
    ) -> Claim:
        check_ids(owner, *held)
        ttl = self._ttl(ttl_s)
        target, *slots = self._run(
            "claim", [pool.name, pool.cap, owner, wanted, ttl, self._recover, SLOT, *held]
        )
        return Claim(int(target), tuple(sorted(slots)))

    def watch(self, told: Callable[[Notice], None]) -> Watch:
        return RedisWatch(self._client, f"{self._prefix}events", told)

    def close(self) -> None:
        self._client.close()

    def _run(self, operation: str, arguments: Sequence[str | int]) -> Any:
        try:
            return self._scripts.run(operation, arguments)
        except RedisError as exc:
            raise _down(exc) from exc

    def _ttl(self, ttl_s: float) -> int:
        if not 0 < ttl_s <= self._ttl_s:
            raise ValueError(f"a ttl of {ttl_s} s, where at most {self._ttl_s} s is kept")
        return _ms(ttl_s)

    def _mirror(self, names: Sequence[str]) -> None:
        """Write what dashboards read, unless the script did. Two at once: the later one's count."""
        for name in () if self._mirrored else names:
            kind, _, profile = name.partition(":")
            if kind == "profile":
                present = self.sessions(name)
                key = f"profile_connections:{profile}"
                left_ms = _ms(max([one.expires_in_s for one in present], default=0))
                try:
                    if left_ms:
                        self._client.set(key, len(present), px=left_ms)
                    else:
                        self._client.delete(key)
                except RedisError as exc:
                    raise _down(exc) from exc


def _down(exc: RedisError) -> LeaseStoreDown:
    words = str(exc).rstrip(".")
    return LeaseStoreDown(f"the lease store did not do what it was asked: {words}")
