"""A VOD service (Xtream) on this machine, with the manners and the faults of real ones."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from http.server import ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from gateway.demo.xtream.answering import Answering
from gateway.demo.xtream.content import Content
from gateway.demo.xtream.faults import Rule, Trouble
from gateway.demo.xtream.panel import Movie, Panel, Series
from gateway.demo.xtream.site import Account, Asked, Counts, Site


class XtreamServer:
    """Serves films and series while it is open; all methods are thread-safe.

    *accounts*: name → (password, streams at once; 0: any number). A stream above that is refused
    with *full_status* and counted as an offence. The control door (`/_demo/report` and, by POST
    with a JSON object of keywords, `/_demo/fail`, `/_demo/heal`, `/_demo/release`) does what the
    methods of these names do.

        with XtreamServer({"bob": ("secret", 1)}) as server:
            server.add(Movie(4711, size=1_500_636_194))
            get(server.movie_url("bob", 4711))
            assert server.counts("bob").most == 1
    """

    def __init__(
        self,
        accounts: Mapping[str, tuple[str, int]],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        full_status: int = 403,
    ) -> None:
        self.site = Site({name: Account(name, *rest) for name, rest in accounts.items()})
        self.full_status = full_status
        self.tokens: dict[str, tuple[str, str]] = {}
        handler = type("Handler", (Answering,), {"demo": self})
        self._listener = _Listener((host, port), handler)
        self.host: str = self._listener.socket.getsockname()[0]
        self.port: int = self._listener.socket.getsockname()[1]
        self.url = f"http://{self.host}:{self.port}"
        self.panel = Panel(self.url)
        self._thread = threading.Thread(
            target=self._listener.serve_forever, args=(0.02,), name="xtream", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Close everything; returns when all threads have ended."""
        self.site.stop()
        self._listener.shutdown()
        self._listener.hang_up()
        self._listener.server_close()
        self._thread.join()

    # What there is.

    def add(self, *items: Movie | Series) -> None:
        """Serve these, in place of what has the same id."""
        self.panel.add(items)

    def content(self, item: int) -> Content:
        """Return what plays under this id. Raises KeyError."""
        return self.panel.contents[item][1]

    def movie_url(self, account: str, item: int, extension: str = "mkv") -> str:
        return self._url("movie", account, item, extension)

    def episode_url(self, account: str, item: int, extension: str = "mkv") -> str:
        return self._url("series", account, item, extension)

    def _url(self, kind: str, account: str, item: int, extension: str) -> str:
        password = self.site.accounts[account].password
        return f"{self.url}/{kind}/{account}/{password}/{item}.{extension}"

    def answer(self, account: Account, query: dict[str, str]) -> bytes:
        """Return player_api.php's answer to *query*."""
        return self.panel.answer(account, self.site.counts(account.name).open, query)

    # What goes wrong.

    def fail(self, trouble: Trouble, **how: Any) -> None:
        """From now on do *trouble*; *how* are the fields of `Rule`."""
        with self.site.changed:
            self.site.plan.add(Rule(trouble, **how))

    def heal(self) -> None:
        """Forget all troubles, and let go on what they hold back."""
        with self.site.changed:
            self.site.plan.clear()
            self.site.release()

    def release(self) -> None:
        """Let go on what a SILENCE or a STALL holds back now."""
        self.site.release()

    # What happened.

    @property
    def requests(self) -> list[Asked]:
        """All requests, as they are now, in the order in which they came."""
        return self.site.requests()

    @property
    def held(self) -> int:
        """How many answers a SILENCE or a STALL holds back now."""
        return self.site.held

    def counts(self, account: str) -> Counts:
        """Return the account's figures; a client that has closed is not among the open."""
        return self.site.counts(account)

    def wait_for(
        self, predicate: Callable[[XtreamServer], object], timeout_s: float = 10.0
    ) -> None:
        """Wait until *predicate* holds. It is asked under the server's lock and must be quick.

        Raises TimeoutError.
        """
        self.site.wait_for(lambda: predicate(self), timeout_s)

    def report(self) -> dict[str, Any]:
        """Return the figures of every account, and this process's CPU seconds."""
        return {
            "cpu_s": time.process_time(),
            "held": self.held,
            "requests": len(self.requests),
            "accounts": {name: asdict(self.counts(name)) for name in self.site.accounts},
        }


class _Listener(ThreadingHTTPServer):
    """Keeps the connections, to close them at the end; waits for all of its threads then."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], handler: type[Answering]) -> None:
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # The base's asks for the host's name, which may take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over clients that leave in the middle of a request."""

    def hang_up(self) -> None:
        """Wake all threads that wait for a client."""
        with self._lock:
            for each in self._open:
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:  # gone already
                    continue
