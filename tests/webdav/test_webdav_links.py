"""What an import leaves behind: links that lead to files by their ids, over WebDAV and rclone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import LinkKind, NewFile, NewPosted, NewRelease
from gateway.library.links import Links
from gateway.nzb.extents import PartTable, Run
from gateway_webdav.face import make_webdav_app
from gateway_webdav.links import Linked, id_path

SIZE = 250_000
MOUNT = PurePosixPath("/mnt/gateway")
ROOT = "/completed-symlinks"


@dataclass
class Imports:
    """A library with links; `run` imports a release of files of one size."""

    database: Database
    library: Library

    def run(
        self, name: str, *paths: str, category: str = "movies", kind: LinkKind = LinkKind.SYMLINK
    ) -> dict[str, str]:
        """Return the ids of the files by their *paths*."""
        posted, files = [], []
        for number, path in enumerate(paths):
            ids = [f"{name}-{number}-{part}".encode() for part in range(3)]
            folder, _, file = path.rpartition("/")
            posted.append(NewPosted(file, PartTable.regular(ids, SIZE, 100_000)))
            files.append(NewFile(file, SIZE, (Run(number, 0, SIZE),), folder))
        new = NewRelease(category, name, 1.0, b"<nzb/>", tuple(posted), tuple(files), links=kind)
        with self.database.begin() as tx:
            self.library.publish(tx, new)
        found = [self.library.file(category, name, path) for path in paths]
        return {file.path: file.id for file in found if file is not None}


@pytest.fixture
def imports(tmp_path: Path) -> Iterator[Imports]:
    database = Database(f"sqlite:///{tmp_path / 'links.sqlite'}")
    library = Library(database)
    yield Imports(database, library)
    library.close()
    database.close()


@pytest.fixture
def linked(gateway: Any, serving: Any, imports: Imports) -> Any:
    """The door of a gateway that shows links. (`gateway` lends its client and its streams.)"""
    app = make_webdav_app(
        imports.library,
        gateway.streams,
        None,
        categories={"movies": "movies", "tv": "tv"},
        nzb_limit=1,
        linked=Linked(
            Links(imports.database), imports.library, MOUNT, lambda: "http://u:p%40w@nas:81/dav"
        ),
    )
    return type(gateway)(serving(app), imports.library, gateway.streams, gateway.intake)


@pytest.fixture
def names(linked: Any) -> Callable[[str], list[str]]:
    """Return the names of what lies in a folder."""

    def names(path: str) -> list[str]:
        answer = linked.ask("PROPFIND", path, depth="1")
        return [href.removeprefix(f"/dav{path}/").rstrip("/") for href in answer.found()][1:]

    return names


def test_a_category_is_there_before_anything_was_imported(
    names: Callable[[str], list[str]], linked: Any
) -> None:
    assert names(ROOT) == ["movies", "tv"]
    assert names(f"{ROOT}/movies") == []
    assert linked.ask("PROPFIND", f"{ROOT}/books", depth="0").status == 404


def test_every_file_has_a_link_that_leads_to_it_by_its_id(
    imports: Imports, linked: Any, names: Callable[[str], list[str]], bytes_of: Any
) -> None:
    ids = imports.run("A.Film", "film.mkv", "Subs/film.en.srt")
    assert names(f"{ROOT}/movies") == ["A.Film"]
    assert names(f"{ROOT}/movies/A.Film") == ["Subs", "film.mkv.rclonelink"]
    assert names(f"{ROOT}/movies/A.Film/Subs") == ["film.en.srt.rclonelink"]
    for path, file_id in ids.items():
        answer = linked.ask("GET", f"{ROOT}/movies/A.Film/{path}.rclonelink")
        assert answer.body.decode() == f"/mnt/gateway/{id_path(file_id)}"
        led = linked.ask("GET", answer.body.decode().removeprefix("/mnt/gateway"))
        assert led.body == bytes_of(SIZE)


def test_a_link_can_be_read_in_parts_and_has_a_tag_of_its_own(
    imports: Imports, linked: Any
) -> None:
    imports.run("A.Film", "film.mkv")
    path = f"{ROOT}/movies/A.Film/film.mkv.rclonelink"
    whole = linked.ask("GET", path)
    part = linked.ask("GET", path, range="bytes=5-11")
    assert (part.status, part.body) == (206, b"gateway")
    assert linked.ask("GET", path, if_none_match=whole.headers["ETag"]).status == 304
    head = linked.ask("HEAD", path)
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(whole.body)))


def test_a_strm_holds_an_address_that_plays(
    imports: Imports, linked: Any, names: Callable[[str], list[str]], bytes_of: Any
) -> None:
    ids = imports.run("A.Film", "film.mkv", kind=LinkKind.STRM)
    (file_id,) = ids.values()
    assert names(f"{ROOT}/movies/A.Film") == ["film.strm"]
    text = linked.ask("GET", f"{ROOT}/movies/A.Film/film.strm").body.decode()
    inside = f"/{id_path(file_id)}.mkv"
    assert text == f"http://u:p%40w@nas:81/dav{inside}\n"
    played = linked.ask("GET", inside)
    assert (played.status, played.body) == (200, bytes_of(SIZE))
    assert played.headers["Content-Type"] == "video/x-matroska"


def test_a_link_goes_with_its_release(imports: Imports, names: Callable[[str], list[str]]) -> None:
    imports.run("A.Film", "film.mkv", category="old")
    release = imports.library.release("old", "A.Film")
    assert release is not None
    assert names(ROOT) == ["movies", "old", "tv"]
    imports.library.remove_files(release)
    assert names(ROOT) == ["movies", "tv"]
