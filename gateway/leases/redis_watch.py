"""Hearing through Redis' pub/sub that a ref was superseded, evicted, or released after that."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.client import PubSub
from redis.exceptions import RedisError

from gateway.leases.lease import Notice, State

_log = logging.getLogger(__name__)
_TICK_S = 0.2  # a subscription has no other end than its own, so a closing one is noticed by then
_AGAIN_S = 0.5


class RedisWatch:
    """A thread that listens, and subscribes again after every loss of the connection."""

    def __init__(
        self,
        client: Redis,
        channel: str,
        told: Callable[[Notice], None],
        *,
        patience_s: float = 0.5,
    ) -> None:
        """Listen from now on; if the server does not answer within *patience_s*, from later on."""
        self._client, self._channel, self._told = client, channel, told
        self._closing = threading.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease notices", daemon=True)
        self._thread.start()
        self._listening.wait(patience_s)

    def close(self) -> None:
        self._closing.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            pubsub: PubSub = self._client.pubsub()  # type: ignore[no-untyped-call]
            try:
                pubsub.subscribe(self._channel)
                while not self._closing.is_set():
                    self._receive(pubsub.get_message(timeout=_TICK_S))
            except RedisError as exc:
                _log.debug("notices of leases are not heard for now: %s", exc)
                self._closing.wait(_AGAIN_S)
            finally:
                pubsub.close()

    def _receive(self, message: dict[str, Any] | None) -> None:
        if message is None:
            return
        if message["type"] == "subscribe":
            self._listening.set()
        elif message["type"] == "message":
            state, _, member = message["data"].partition(" ")
            session, _, ref = member.partition("|")
            try:
                self._told(Notice(session, ref, State(state)))
            except Exception:  # noqa: BLE001 - without this thread no other notice is heard
                _log.exception("a notice of leases was not understood: %r", message["data"])
