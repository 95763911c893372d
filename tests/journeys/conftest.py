"""A gateway in front of a news server: the demo's, and INN2."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gateway_process import GatewayProcess, provider_settings, running_gateway
from inn2 import running_inn

from gateway.demo import NewsServer, Post, make_posts

FILM = "Some.Film.2026.mp4"


@pytest.fixture(scope="session")
def film() -> bytes:
    """A clip that players play, grown to many articles by bytes that they pass over."""
    clip = Path(__file__).parents[2] / "gateway/demo/clip.mp4"
    # An MP4 ends with whatever boxes it likes: one of type "free" is skipped by everybody.
    filling = random.Random(1).randbytes(24 << 20)
    box = (8 + len(filling)).to_bytes(4, "big") + b"free" + filling
    return clip.read_bytes() + box


@pytest.fixture(scope="session")
def post(film: bytes) -> Post:
    return make_posts({FILM: film, "Some.Film.2026.srt": b"1\r\n"}, part_size=700_000)


@contextmanager
def news_server(kind: str, post: Post) -> Iterator[tuple[str, int]]:
    if kind == "demo":
        with NewsServer() as server:
            server.add(post)
            yield server.host, server.port
        return
    # pytest's own folders are closed to the user that INN runs as.
    root = Path(tempfile.mkdtemp(prefix="inn2-"))
    root.chmod(0o755)
    try:
        with running_inn(root / "inn") as inn:
            inn.feed([post])
            yield inn.host, inn.port
    finally:
        shutil.rmtree(root)


@pytest.fixture(
    scope="module",
    params=["demo", pytest.param("inn2", marks=pytest.mark.system("innd", "nnrpd"))],
)
def gateway(
    request: pytest.FixtureRequest, post: Post, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway whose library holds the film, imported over the API."""
    data_dir = tmp_path_factory.mktemp("gateway") / "data"
    with (
        news_server(request.param, post) as (host, port),
        running_gateway(data_dir, provider_settings(host, port)) as gateway,
    ):
        answer = gateway.ask("PUT", "/dav/nzbs/movies/Some.Film.2026.nzb", post.nzb)
        assert answer.status == 201, answer
        queue_or_history = gateway.api("queue")["queue"]["slots"]
        history = gateway.api("history")["history"]["slots"]
        slot = gateway.wait_for_history((queue_or_history or history)[0]["nzo_id"])
        assert slot["status"] == "Completed", slot["fail_message"]
        yield gateway
