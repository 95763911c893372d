"""A VOD service on this machine, and profiles that are accounts with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import pytest

from gateway.demo.xtream import XtreamServer
from gateway.http.clients import TrustedProxies
from gateway.http.router import Router
from gateway.http.scope import RequestScope
from gateway.http.server import Server
from gateway.http.streaming import StreamingBodies
from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import NewFile, NewPosted, NewRelease
from gateway.nzb.extents import PartTable, Run
from gateway.vod.catalogue import Catalogue
from gateway.vod.panel import Panel
from gateway.vod.playlist import Guide, Playlist
from gateway.vod.profiles import Profile
from gateway.vod.users import VodUser, VodUsers
from gateway.vod.xtream_api import PlayerApi

MakeProfile = Callable[..., Profile]
Publish = Callable[..., None]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Doors:
    """The doors of Xtream players on this machine; `ask` asks with the login of user eve."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, door: str = "player_api.php", method: str = "GET", **parameters: str) -> Answer:
        values = {"username": "eve", "password": "her pässword", **parameters}
        return self.send(method, f"/{door}?{urlencode(values)}")

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(
                answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
            )
        finally:
            connection.close()


@pytest.fixture
def provider() -> Iterator[XtreamServer]:
    """A VOD service with two accounts, one film at a time each."""
    with XtreamServer({"upstream-bob": ("upstr3am-pw", 1), "upstream-ann": ("0ther-pw", 1)}) as one:
        yield one


@pytest.fixture
def profile_of(provider: XtreamServer) -> MakeProfile:
    """A function that gives the profile of an account: profile_of("upstream-bob", **fields)."""

    def make(account: str = "upstream-bob", **fields: object) -> Profile:
        password = provider.site.accounts[account].password
        given: dict[str, object] = {"url": provider.url, "username": account, "password": password}
        return Profile(account.removeprefix("upstream-"), **(given | fields))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def empty_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of SQLite with this program's schema, made once: to be copied."""
    path = tmp_path_factory.mktemp("empty") / "library.sqlite"
    Database(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def database(empty_library: Path, tmp_path: Path) -> Iterator[Database]:
    path = shutil.copy2(empty_library, tmp_path)
    database = Database(f"sqlite:///{path}")
    yield database
    database.close()


@pytest.fixture
def library(database: Database) -> Iterator[Library]:
    library = Library(database)
    yield library
    library.close()


@pytest.fixture
def publish(database: Database, library: Library) -> Publish:
    """A function that puts a release into the library: publish("tv", "Name", "a.mkv", …)."""

    def publish(category: str, name: str, *files: str) -> None:
        posted = [NewPosted(each, PartTable.regular([b"1@x"], 25, 25)) for each in files]
        new = [NewFile(each, 25, (Run(at, 0, 25),)) for at, each in enumerate(files)]
        release = NewRelease(category, name, 1_700_000_000.5, b"<nzb/>", tuple(posted), tuple(new))
        with database.begin() as tx:
            library.publish(tx, release)

    return publish


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def read_s(request: pytest.FixtureRequest) -> float:
    """How long the provider may say nothing. To be overridden by a parameter."""
    return getattr(request, "param", 20.0)


@pytest.fixture
def catalogue(
    profile_of: MakeProfile, library: Library, clock: Clock, read_s: float
) -> Iterator[Catalogue]:
    """What the provider's two accounts and the library have."""
    panel = Panel([profile_of("upstream-bob"), profile_of("upstream-ann")], read_s=read_s)
    yield Catalogue(panel, library, clock=clock)
    panel.close()


@pytest.fixture
def watching() -> dict[str, int]:
    """How many films each user is told to watch now."""
    return {}


@pytest.fixture
def doors(catalogue: Catalogue, watching: dict[str, int]) -> Iterator[Doors]:
    users = VodUsers([(VodUser("eve", 2), "her pässword"), (VodUser("guest"), "guest")])
    router = Router(
        {
            "/player_api.php": PlayerApi(users, catalogue, lambda u: watching.get(u.name, 0), 7),
            "/get.php": Playlist(users, catalogue),
            "/xmltv.php": Guide(users),
        }
    )
    app = RequestScope(router, StreamingBodies(4))
    with Server(app, "127.0.0.1", 0, trusted_proxies=TrustedProxies(["127.0.0.1"])) as server:
        yield Doors(server.port)
