"""Lua scripts in a Redis server, run by their digests over the connections of a client."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

Argument = str | int


class Scripts:
    """Runs the scripts of *texts*, by name, each with *key* as its only key.

    A process of redis-server has a script from the first time it is run there (a restarted one has
    none), so the first run can tell the others apart: it gets FRESH as its first argument, and
    they get SAME. Reading and writing go past `Redis.execute_command`, which takes a third of the
    time of a call for what is not used here.
    """

    FRESH, SAME = 0, 1

    def __init__(self, client: Redis, texts: Mapping[str, str], key: str) -> None:
        self._pool = client.connection_pool
        self._key = key
        self._texts = dict(texts)
        self._digests = {
            name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            for name, text in texts.items()
        }

    def run(self, name: str, arguments: Sequence[Argument]) -> Any:
        """Return what the script of that name answers. Raises RedisError.

        A connection that is lost in mid-call is made anew, and the script run once more; one that
        does not answer in time is not waited for again.
        """
        try:
            return self._call("EVALSHA", self._digests[name], self.SAME, arguments)
        except NoScriptError:
            return self._call("EVAL", self._texts[name], self.FRESH, arguments)

    def _call(self, command: str, script: str, origin: int, arguments: Sequence[Argument]) -> Any:
        try:
            return self._exchange(command, script, 1, self._key, origin, *arguments)
        except RedisConnectionError:
            return self._exchange(command, script, 1, self._key, origin, *arguments)

    def _exchange(self, *words: Argument) -> Any:
        connection: Any = self._pool.get_connection()
        try:
            connection.send_packed_command(connection.pack_command(*words))
            return connection.read_response()
        finally:
            self._pool.release(connection)
