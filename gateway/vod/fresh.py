"""A value that takes a while to get: kept for a time, got once at a time, and outliving trouble."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from gateway.errors import GatewayError

log = logging.getLogger(__name__)

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


class Fresh(Generic[T]):
    """What *load* returns, got anew when it is older than *ttl_s*, and than *costs* times what
    getting it took: so it never takes more than one part in *costs* of anybody's time.

    One thread gets it; the others are given the old value meanwhile, or wait for the first. When
    *load* raises a GatewayError, the old value goes on to be given, and without one the error
    is; *load* is not tried again for *retry_s*.
    """

    def __init__(
        self,
        load: Callable[[], T],
        *,
        ttl_s: float,
        retry_s: float = 15.0,
        costs: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._ttl_s = ttl_s
        self._costs = costs
        self._retry_s = retry_s
        self._clock = clock
        self._changed = threading.Condition()
        self._loading = False
        self._value: T | None = None
        self._error: GatewayError | None = None
        self._next_at = 0.0

    def get(self) -> T:
        """Return the value. Raises what *load* raises, if there is no value."""
        with self._changed:
            while True:
                if self._clock() < self._next_at or (self._loading and self._value is not None):
                    return self._given()
                if not self._loading:
                    self._loading = True
                    break
                self._changed.wait()
        value, error, wait_s = None, None, 0.0
        began = self._clock()
        try:
            value = self._load()
            wait_s = max(self._ttl_s, self._costs * (self._clock() - began))
        except GatewayError as exc:
            error, wait_s = exc, self._retry_s
            if self._value is not None:
                log.warning("an old list is given: %s", exc)
        finally:
            with self._changed:
                self._loading = False
                self._value = self._value if value is None else value
                self._error = error
                self._next_at = self._clock() + wait_s
                self._changed.notify_all()
        with self._changed:
            return self._given()

    def _given(self) -> T:
        if self._value is not None:
            return self._value
        if self._error is not None:
            # A new one each time: an exception that is raised twice grows its traceback.
            raise type(self._error)(*self._error.args)
        raise RuntimeError("loading failed")


class FreshByKey(Generic[K, T]):
    """One `Fresh` for each key, the *limit* used last."""

    def __init__(
        self,
        load: Callable[[K], T],
        *,
        ttl_s: float,
        limit: int,
        retry_s: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._ttl_s = ttl_s
        self._retry_s = retry_s
        self._clock = clock
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[K, Fresh[T]] = OrderedDict()

    def get(self, key: K) -> T:
        """Return the value of *key*. Raises what *load* raises, if there is no value."""
        with self._lock:
            fresh = self._kept.get(key)
            if fresh is None:
                fresh = self._kept[key] = self._make(key)
                if len(self._kept) > self._limit:
                    self._kept.popitem(last=False)
            else:
                self._kept.move_to_end(key)
        return fresh.get()

    def _make(self, key: K) -> Fresh[T]:
        return Fresh(
            lambda: self._load(key), ttl_s=self._ttl_s, retry_s=self._retry_s, clock=self._clock
        )
