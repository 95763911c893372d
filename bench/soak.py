"""`python -m bench.soak`: many viewers of few slots, for long, while provider and Redis fail.

A VOD account of three streams, a gateway and a redis-server, each a process of its own, and
viewers who probe, seek, pause, abort and dawdle. What must hold all the time is looked at all the
time, and what must be gone at the end is looked for at the end.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import re
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from bench.background import wait_until
from bench.figures import Results
from bench.gateway_process import API_KEY, GatewayProcess
from bench.redis_server import RedisServer
from bench.soak_manners import MANNERS, Film, Reading, Refused, Viewer, Wrong
from bench.soak_watch import Books, Leases, Refusal, Sampler, free_s
from gateway.demo.xtream import Content, Trouble, XtreamProcess, spawn

_USER, _PASSWORD = "viewer", "viewer-password"
_ACCOUNT = ("account", "account-password")
_PROFILE = "profile:soak"
_FILMS = {4711: 1_500_636_194, 4712: 700 << 20, 4713: 64 << 20}
_SUSPEND_S, _GRACE_S, _TTL_S, _WAIT_S = 3.0, 1.0, 8.0, 4.0
# A sample is this old at most when it counts, and a slot handed on takes a moment.
_SLACK_S = 1.0
_SETTLE_S = 60.0
_RESPONSES = 150
# A store that lost its data admits nobody new for two heartbeats; one that stalled is tried again
# at the next.
_RECOVERY_S = 0.75 * _TTL_S
# Words of a refusal for want of a slot; another says that upstream or the store failed.
_FULL = re.compile(r"slot|in use")


class Soak:
    """One run: what it is made of, and what was seen."""

    def __init__(
        self,
        gateway: GatewayProcess,
        provider: XtreamProcess,
        redis: RedisServer | None,
        clients: int,
        seed: int,
    ) -> None:
        self.books = Books()
        self.leases = Leases(gateway.port, API_KEY)
        self.sampler = Sampler(self.leases, _PROFILE)
        self._gateway, self._provider, self._redis = gateway, provider, redis
        self._clients = clients
        self._random = random.Random(seed)
        self._stopping = threading.Event()
        self._films = [
            Film(f"/movie/{_USER}/{_PASSWORD}/{number}.mkv", size, Content(number, size).read)
            for number, size in _FILMS.items()
        ]

    def warm_up(self) -> None:
        """Have as many requests at once as ever there will be: threads that come then stay.

        Requests that are never finished bring every worker there may be; then come viewers.
        """
        process, head = psutil.Process(self._gateway.pid), b"GET /healthz HTTP/1.1\r\n"
        with ExitStack() as stack:
            for _ in range(2 * _RESPONSES):
                link = socket.create_connection(("127.0.0.1", self._gateway.port))
                stack.callback(link.close)
                link.sendall(head)
            wait_until(lambda: process.num_threads() > _RESPONSES)
        readings = [
            Reading(self._gateway.port, self._films[0], f"warm {number}")
            for number in range(2 * self._clients)
        ]
        threads = [threading.Thread(target=_take_head, args=(one,)) for one in readings]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for one in readings:
            one.close()
        self.settle()

    def run(self, seconds: float) -> None:
        """Let everybody loose for so long."""
        threads = [
            threading.Thread(target=self._view, args=(number,), name=f"viewer {number}")
            for number in range(self._clients)
        ]
        threads.append(threading.Thread(target=self._trouble, name="trouble"))
        for thread in threads:
            thread.start()
        self._stopping.wait(seconds)
        self._stopping.set()
        for thread in threads:
            thread.join()
        self._provider.heal()

    def settle(self) -> dict[str, int]:
        """Wait until nothing is left, in bounds; return what is."""
        deadline = time.monotonic() + _SETTLE_S
        while True:
            left = self._left()
            if not any(left.values()) or time.monotonic() > deadline:
                return left
            time.sleep(0.1)

    def _left(self) -> dict[str, int]:
        answer = self.leases.read()
        if answer is None:
            return {"a store that answers": 1}
        return {
            "sessions in pools": sum(pool["count"] for pool in answer["pools"]),
            "streams upstream": self._provider.counts(_ACCOUNT[0]).open,
            "viewers without a lease": len(answer["without_lease"]),
        }

    def _view(self, number: int) -> None:
        chance = random.Random(self._random.random())
        for turn in itertools.count():
            if self._stopping.wait(chance.uniform(0, 1.5)):
                return
            film = chance.choice(self._films)
            agent = f"viewer {number} {turn}"
            viewer = Viewer(self._gateway.port, film, agent, chance, _SUSPEND_S, self._stopping)
            manner = chance.choice(MANNERS)
            asked = time.monotonic()
            outcome = "as they wished"
            try:
                manner(viewer)
            except Refused as exc:
                outcome = f"refused: {exc.status} {_without_numbers(exc.sentence)}"
                if _FULL.search(exc.sentence) and exc.status in (429, 503):
                    with self.books.lock:
                        self.books.refusals.append(Refusal(asked, time.monotonic(), exc.sentence))
                elif exc.status not in (502, 503, 504):
                    self._blame(f"{manner.__name__}: {exc}")
            except Wrong as exc:
                outcome = "wrong"
                self._blame(f"{manner.__name__}: {exc}")
            except TimeoutError:
                outcome = "hung"
                self._blame(f"{manner.__name__}: no byte for 30 s")
            except OSError:
                outcome = "cut"
            with self.books.lock:
                self.books.done[manner.__name__] += 1
                self.books.ended[outcome] += 1

    def _blame(self, what: str) -> None:
        with self.books.lock:
            self.books.wrong.append(what)

    def _trouble(self) -> None:
        """Have the provider and Redis fail, one after another, with times of peace between."""
        chance = random.Random(self._random.random())
        provider = self._provider
        troubles: list[Callable[[], object]] = [
            lambda: provider.fail(Trouble.REFUSE, status=503, times=4),
            lambda: provider.fail(Trouble.REFUSE, status=458, times=4),
            lambda: provider.fail(Trouble.CUT, after=300_000, times=4),
            lambda: provider.fail(Trouble.CUT, after=0, reset=True, times=4),
            lambda: provider.fail(Trouble.SILENCE, times=3, seconds=20.0),
            lambda: provider.fail(Trouble.STALL, after=500_000, times=3, seconds=20.0),
            lambda: provider.fail(Trouble.SLOW, rate=200_000, times=4),
            lambda: provider.fail(Trouble.IGNORE_RANGE, times=4),
            lambda: provider.fail(Trouble.CHANGE_ETAG, times=4),
            lambda: provider.fail(Trouble.REDIRECT, times=8),
        ]
        if self._redis is not None:
            redis = self._redis
            troubles += [
                lambda: self._flush(redis),
                lambda: self._stall(redis, chance.uniform(0.3, 4.0)),
                lambda: self._stall(redis, _TTL_S * 1.3),
                lambda: self._restart(redis, chance.uniform(0, 3.0)),
            ]
        while not self._stopping.wait(chance.uniform(2.0, 8.0)):
            trouble = chance.choice(troubles)
            trouble()
            with self.books.lock:
                self.books.done["trouble"] += 1
            self._stopping.wait(chance.uniform(1.0, 5.0))
            provider.heal()

    def _flush(self, redis: RedisServer) -> None:
        self.sampler.unsure_until = math.inf
        redis.flush()
        self.sampler.unsure_until = time.monotonic() + _RECOVERY_S

    def _stall(self, redis: RedisServer, seconds: float) -> None:
        self.sampler.unsure_until = math.inf
        redis.stall()
        self._stopping.wait(seconds)
        redis.go_on()
        self.sampler.unsure_until = time.monotonic() + _RECOVERY_S

    def _restart(self, redis: RedisServer, seconds: float) -> None:
        self.sampler.unsure_until = math.inf
        redis.stop()
        self._stopping.wait(seconds)
        redis.start()
        self.sampler.unsure_until = time.monotonic() + _RECOVERY_S


def _take_head(reading: Reading) -> None:
    try:
        reading.head()
    except (Refused, OSError):
        return


def _without_numbers(sentence: str) -> str:
    return re.sub(r"\d+(\.\d+)?", "#", sentence)[:90]


@contextmanager
def _parts(
    store: str, cap: int
) -> Iterator[tuple[GatewayProcess, XtreamProcess, RedisServer | None]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        provider = stack.enter_context(spawn({_ACCOUNT[0]: (_ACCOUNT[1], cap)}, _FILMS))
        settings = {
            "VOD__PROFILES__SOAK__URL": provider.url,
            "VOD__PROFILES__SOAK__USERNAME": _ACCOUNT[0],
            "VOD__PROFILES__SOAK__PASSWORD": _ACCOUNT[1],
            "VOD__PROFILES__SOAK__MAX_STREAMS": str(cap),
            f"VOD__USERS__{_USER.upper()}__PASSWORD": _PASSWORD,
            "RESPONSES": str(_RESPONSES),
            "SUSPEND": f"{_SUSPEND_S:g}s",
            "ABANDON": "60s",
            "GRACE": f"{_GRACE_S:g}s",
            "ACQUIRE_WAIT": f"{_WAIT_S:g}s",
            "LEASE_TTL": f"{_TTL_S:g}s",
        }
        redis = None
        if store == "redis":
            redis = stack.enter_context(RedisServer(folder))
            settings["REDIS_URL"] = redis.url
        data = folder / "data"
        data.mkdir()
        yield stack.enter_context(GatewayProcess(data, settings=settings)), provider, redis


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it; print what was seen, keep it as JSON, and exit with 1 if anything fell short."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--cap", type=int, default=3, help="streams that the account allows")
    parser.add_argument("--store", choices=("redis", "memory"), default="redis")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    results = Results(f"soak-{given.store}")
    with _parts(given.store, given.cap) as (gateway, provider, redis):
        soak = Soak(gateway, provider, redis, given.clients, given.seed)
        soak.warm_up()
        process = psutil.Process(gateway.pid)
        threads, descriptors = process.num_threads(), process.num_fds()
        print(
            f"  {given.clients} viewers, {given.cap} slots, {given.minutes:g} minutes", flush=True
        )
        with soak.sampler as sampler:
            soak.run(60 * given.minutes)
        left = soak.settle()
        counts = provider.counts(_ACCOUNT[0])
        unfair = [
            one
            for one in soak.books.refusals
            if free_s(sampler.samples, one, given.cap) > _GRACE_S + _SLACK_S
        ]
        for what, number in left.items():
            results.add(f"left at the end: {what}", "", [number], aim=0, at_most=True)
        results.add(
            "more threads than before", "", [process.num_threads() - threads], aim=0, at_most=True
        )
        results.add(
            "more descriptors than before", "", [process.num_fds() - descriptors],
            aim=0, at_most=True,
        )  # fmt: skip
        results.add("most sessions in the pool", "", [sampler.most], aim=given.cap, at_most=True)
        results.add("most streams upstream", "", [counts.most], aim=given.cap, at_most=True)
        results.add("streams above the account's limit", "", [counts.offences], aim=0, at_most=True)
        results.add("refused beside a free slot", "", [len(unfair)], aim=0, at_most=True)
        results.add("answers that were wrong", "", [len(soak.books.wrong)], aim=0, at_most=True)
        results.add("streams upstream in all", "", [counts.total])
        results.add("looks at the pool", "", [len(sampler.samples)])
    for title, counted in (("viewers", soak.books.done), ("how it ended", soak.books.ended)):
        print(f"  {title}:")
        for name, number in counted.most_common():
            print(f"    {number:6}  {name}")
    for one in unfair[:10]:
        print(f"  unfair: {one.sentence} after {one.refused - one.asked:.1f} s")
    for wrong in soak.books.wrong[:10]:
        print(f"  wrong: {wrong}")
    print(f"\nwritten to {results.write()}")
    if any(figure.verdict == "missed" for figure in results.figures):
        sys.exit(1)


if __name__ == "__main__":
    main()
