"""What a soak run holds against the gateway: how many were in, and who was refused meanwhile."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

_LOOK_S = 0.05


@dataclass(frozen=True)
class Sample:
    """How many sessions were in the pool at *at*; None: no room for new ones whatever it was."""

    at: float
    count: int | None


@dataclass(frozen=True)
class Refusal:
    """A request that was asked at *asked* and refused at *refused*, for want of a slot."""

    asked: float
    refused: float
    sentence: str


def free_s(samples: Sequence[Sample], refusal: Refusal, cap: int) -> float:
    """Return for how long at a stretch a slot was seen free while this request waited."""
    longest, since = 0.0, None
    for sample in samples:
        if not refusal.asked <= sample.at <= refusal.refused:
            continue
        if sample.count is None or sample.count >= cap:
            since = None
            continue
        since = sample.at if since is None else since
        longest = max(longest, sample.at - since)
    return longest


@dataclass
class Books:
    """What the clients have seen, from all their threads."""

    done: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    refusals: list[Refusal] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)


class Leases:
    """The gateway's own account of its leases, read by its API."""

    def __init__(self, port: int, api_key: str) -> None:
        self._request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/gateway/leases", headers={"X-Api-Key": api_key}
        )

    def read(self) -> dict[str, Any] | None:
        """Return what it answers; None while it cannot reach its store. Raises OSError."""
        try:
            with urllib.request.urlopen(self._request, timeout=10) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as exc:
            if exc.code == 503:
                return None
            raise

    def count(self, pool: str) -> int | None:
        """Return how many sessions are in *pool*; None: it cannot tell."""
        answer = self.read()
        if answer is None:
            return None
        return sum(int(one["count"]) for one in answer["pools"] if one["name"] == pool)


class Sampler:
    """Looks at *pool* all the time, between `with` and its end.

    Until *unsure_until* (monotonic) the store is taken for one that admits nobody new.
    """

    def __init__(self, leases: Leases, pool: str) -> None:
        self.samples: list[Sample] = []
        self.most = 0
        self.unsure_until = 0.0
        self._leases, self._pool = leases, pool
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            count, now = self._leases.count(self._pool), time.monotonic()
            self.most = max(self.most, count or 0)
            self.samples.append(Sample(now, None if now < self.unsure_until else count))
