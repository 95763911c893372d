"""What Prometheus is told of viewers."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse

from prometheus_client import CollectorRegistry

from gateway.http.scope import RequestScope, scope_of
from gateway.http.streaming import StreamingBodies
from gateway.http.viewer_metrics import ViewerFigures
from gateway.http.wire import Timeouts
from gateway.http.wsgi import Chunk, Environ


def test_streams_pauses_refusals_and_hang_ups_are_told(servers: Any) -> None:
    streaming = StreamingBodies(1)
    suspended, ended = threading.Event(), threading.Event()

    class Film:
        def close(self) -> None:
            ended.set()

        def hang(self) -> None:
            assert ended.wait(20)
            raise ValueError("it is closed")

    def endless() -> Iterator[Chunk]:
        while True:
            yield bytes(1 << 18)

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        scope = scope_of(environ)
        scope.stream(suspended.set)
        film = scope.own(Film())
        if environ["PATH_INFO"] == "/hangs":
            film.hang()
        start_response("200 OK", [("Content-Length", str(1 << 40))])
        return endless()

    timeouts = Timeouts(suspend_s=0.1, pause_s=600)
    server = servers.serve(RequestScope(app, streaming), timeouts=timeouts)
    registry = CollectorRegistry()
    registry.register(ViewerFigures(streaming, lambda: server.watchdog))

    def seen(name: str) -> float | None:
        return registry.get_sample_value(f"nzb_gateway_http_{name}")

    def wait_for(name: str, value: float) -> None:
        pause = threading.Event()
        for _ in range(2000):
            if seen(name) == value:
                return
            pause.wait(0.005)
        raise AssertionError(f"{name} is {seen(name)}")

    # This one's thread waits for the film, so nobody but the watchdog can notice.
    hanging = servers.connect(server)
    hanging.get("/hangs")
    wait_for("streams", 1)
    hanging.reset()
    wait_for("hang_ups_total", 1)
    wait_for("streams", 0)
    ended.clear()
    viewer = servers.connect(server)
    viewer.get()
    assert suspended.wait(10)
    wait_for("streams_suspended", 1)
    other = servers.connect(server)
    other.get()
    assert other.response().status == 503
    assert [seen(name) for name in ("streams", "streams_limit")] == [1, 1]
    assert seen("streams_refused_total") == 1
    # Where threads wait for a processor, a pause may be seen in what is a slow beginning.
    assert (seen("suspensions_total") or 0) >= 1
    viewer.reset()
    wait_for("streams", 0)
    assert ended.is_set()
    assert seen("streams_abandoned_total") == 0
