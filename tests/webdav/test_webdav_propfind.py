"""PROPFIND as the clients send it, and what each must find in the answer."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import FileEntry, Folder, Release, Removed
from gateway.library.schema import links
from gateway.streams.layout import Layout
from gateway_webdav.links import id_path
from gateway_webdav.listing import BadRequest, Wanted, parse, property_xml

NAME = "Größe & Tücke; 100% +1 (2026)"
FOLDER = "/content/movies/" + quote(NAME, safe="()")
FILM = f"{FOLDER}/film.mkv"

DAVFS2 = (
    '<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop>'
    '<getetag xmlns="DAV:"/><resourcetype xmlns="DAV:"/><getcontentlength xmlns="DAV:"/>'
    '<getlastmodified xmlns="DAV:"/><executable xmlns="http://apache.org/dav/props/"/>'
    "</prop></propfind>"
)
FINDER = (
    '<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop>'
    "<D:getlastmodified/><D:getcontentlength/><D:creationdate/><D:resourcetype/>"
    "</D:prop></D:propfind>"
)
FINDER_QUOTA = (
    '<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop>'
    "<D:quota-available-bytes/><D:quota-used-bytes/><D:quota/><D:quotaused/>"
    "</D:prop></D:propfind>"
)
INFUSE = (
    '<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop>'
    "<D:displayname/><D:getcontentlength/><D:getlastmodified/><D:iscollection/>"
    "<D:resourcetype/></D:prop></D:propfind>"
)
OWNCLOUD = (
    '<?xml version="1.0"?><d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns"><d:prop>'
    "<d:displayname/><d:getlastmodified/><d:getcontentlength/><d:resourcetype/>"
    "<d:getcontenttype/><oc:checksums/><oc:permissions/></d:prop></d:propfind>"
)
ALLPROP = '<D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>'
PROPNAME = '<D:propfind xmlns:D="DAV:"><D:propname/></D:propfind>'


@pytest.mark.parametrize("body", [None, "", ALLPROP])
def test_all_properties_of_a_file(gateway: Any, body: str | None) -> None:
    answer = gateway.ask("PROPFIND", FILM, body, Depth="0")
    assert answer.headers["Content-Type"] == "application/xml; charset=utf-8"
    (href, found), *others = answer.found().items()
    assert others == []
    assert href == f"/dav{FILM}"
    texts = {tag: prop.text for tag, prop in found.items()}
    etag = gateway.ask("HEAD", FILM).headers["ETag"]
    assert texts == {
        "{DAV:}resourcetype": None,
        "{DAV:}displayname": "film.mkv",
        "{DAV:}creationdate": "2026-09-01T12:30:15Z",
        "{DAV:}getlastmodified": "Tue, 01 Sep 2026 12:30:15 GMT",
        "{DAV:}getcontentlength": "1234567",
        "{DAV:}getcontenttype": "video/x-matroska",
        "{DAV:}getetag": etag,
        "{DAV:}iscollection": "0",
    }
    assert answer.missing()[href] == {}


def test_a_folder_is_told_from_a_file_by_whichever_property_a_client_looks_at(gateway: Any) -> None:
    found = gateway.ask("PROPFIND", FOLDER, INFUSE, Depth="0").found()[f"/dav{FOLDER}/"]
    assert found["{DAV:}iscollection"].text == "1"
    assert found["{DAV:}getcontentlength"].text == "0"
    assert found["{DAV:}resourcetype"].find("{DAV:}collection") is not None
    assert found["{DAV:}displayname"].text == NAME


def test_a_folder_lists_itself_and_its_members_with_their_slashes(gateway: Any) -> None:
    for path in (FOLDER, f"{FOLDER}/"):
        answer = gateway.ask("PROPFIND", path, Depth="1")
        assert list(answer.found()) == [
            f"/dav{FOLDER}/",
            f"/dav{FOLDER}/Extras/",
            f"/dav{FOLDER}/film.mkv",
            f"/dav{FOLDER}/film.srt",
        ]
    deeper = gateway.ask("PROPFIND", f"{FOLDER}/Extras/Deleted%20Scenes", Depth="1").found()
    assert list(deeper) == [
        f"/dav{FOLDER}/Extras/Deleted%20Scenes/",
        f"/dav{FOLDER}/Extras/Deleted%20Scenes/one%20%231.mp4",
    ]
    without = gateway.ask("PROPFIND", FOLDER, Depth="1,noroot").found()
    assert f"/dav{FOLDER}/" not in without
    assert len(without) == 3


def test_every_href_of_a_listing_leads_to_what_it_names(gateway: Any) -> None:
    todo, files = ["/dav/"], []
    releases = [one for name in ("movies", "tv") for one in gateway.library.releases(name)]
    entries = [gateway.library.entries(one, "").files for one in releases]
    ids = [f"/dav/{id_path(file.id)}" for one in entries for file in one]
    while todo:
        folder = todo.pop()
        for href, found in gateway.ask("PROPFIND", folder[4:], Depth="1").found().items():
            if href == folder:
                continue
            if href.endswith("/"):
                # Of the 4,096 folders of /.ids those that hold something.
                if not href.startswith("/dav/.ids/") or any(one.startswith(href) for one in ids):
                    todo.append(href)
            else:
                files.append(href)
                head = gateway.ask("HEAD", href[4:])
                assert head.status == 200
                assert head.headers["Content-Length"] == found["{DAV:}getcontentlength"].text
    assert set(ids) <= set(files)
    assert len([href for href in files if not href.startswith("/dav/.ids/")]) == 8


def test_empty_categories_are_there_for_who_mounts_them(gateway: Any) -> None:
    found = gateway.ask("PROPFIND", "/content", Depth="1").found()
    assert list(found) == [
        "/dav/content/",
        "/dav/content/audio/",
        "/dav/content/movies/",
        "/dav/content/tv/",
    ]
    assert list(gateway.ask("PROPFIND", "/content/audio/", Depth="1").found()) == [
        "/dav/content/audio/"
    ]


@pytest.mark.parametrize("headers", [{}, {"Depth": "infinity"}, {"Depth": "Infinity"}])
def test_all_of_the_tree_at_once_is_refused_as_the_rfc_says(
    gateway: Any, headers: dict[str, str]
) -> None:
    answer = gateway.ask("PROPFIND", "/", **headers)
    assert answer.status == 403
    assert answer.xml.tag == "{DAV:}error"
    assert answer.xml.find("{DAV:}propfind-finite-depth") is not None
    # on a file it means nothing more than 0
    assert list(gateway.ask("PROPFIND", FILM, **headers).found()) == [f"/dav{FILM}"]


@pytest.mark.parametrize("depth", ["2", "", "one"])
def test_a_depth_that_is_none_is_refused(gateway: Any, depth: str) -> None:
    assert gateway.ask("PROPFIND", "/", Depth=depth).status == 400


@pytest.mark.parametrize("body", [DAVFS2, FINDER, INFUSE, OWNCLOUD])
def test_what_the_clients_ask_for_by_name_is_found_for_files_and_folders(
    gateway: Any, body: str
) -> None:
    answer = gateway.ask("PROPFIND", FOLDER, body, Depth="1")
    asked = {str(prop.tag) for prop in etree.fromstring(body.encode()).iter()} - {
        "{DAV:}propfind",
        "{DAV:}prop",
    }
    for href, found in answer.found().items():
        missing = answer.missing()[href]
        assert set(found) | set(missing) == asked
        # An empty element in a 404 block is taken for a number or a date by rclone.
        assert not set(missing) & {
            "{DAV:}getcontentlength",
            "{DAV:}getlastmodified",
            "{DAV:}resourcetype",
            "{DAV:}displayname",
            "{DAV:}creationdate",
        }


def test_the_block_of_what_is_there_comes_first(gateway: Any) -> None:
    answer = gateway.ask("PROPFIND", FOLDER, OWNCLOUD, Depth="1")
    for response in answer.xml.findall("{DAV:}response"):
        assert "200" in (response.findtext("{DAV:}propstat/{DAV:}status") or "")


def test_what_is_not_there_is_404_if_it_was_asked_for_by_name(gateway: Any) -> None:
    answer = gateway.ask("PROPFIND", "/", FINDER_QUOTA, Depth="0")
    assert set(answer.missing()["/dav/"]) == {
        "{DAV:}quota-available-bytes",
        "{DAV:}quota-used-bytes",
        "{DAV:}quota",
        "{DAV:}quotaused",
    }
    assert b"200 OK" not in answer.body
    minimal = gateway.ask("PROPFIND", "/", OWNCLOUD, Depth="0", Prefer="return=minimal")
    assert b"404" not in minimal.body


def test_nobody_holds_a_lock_on_the_library(gateway: Any) -> None:
    body = (
        '<D:propfind xmlns:D="DAV:"><D:prop><D:lockdiscovery/><D:supportedlock/></D:prop>'
        "</D:propfind>"
    )
    found = gateway.ask("PROPFIND", FILM, body, Depth="0").found()[f"/dav{FILM}"]
    assert [(tag, len(prop)) for tag, prop in found.items()] == [
        ("{DAV:}lockdiscovery", 0),
        ("{DAV:}supportedlock", 0),
    ]


def test_the_names_of_the_properties_without_their_values(gateway: Any) -> None:
    found = gateway.ask("PROPFIND", FILM, PROPNAME, Depth="0").found()[f"/dav{FILM}"]
    assert "{DAV:}getetag" in found
    assert all(prop.text is None and len(prop) == 0 for prop in found.values())


@pytest.mark.parametrize(
    "body",
    [
        "not XML",
        '<D:propfind xmlns:D="DAV:">',
        '<D:propfind xmlns:D="DAV:"/>',
        '<D:propfind xmlns:D="DAV:"><D:allprop/><D:propname/></D:propfind>',
        '<D:propertyupdate xmlns:D="DAV:"/>',
        "<propfind><allprop/></propfind>",
        (
            '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
            '<D:propfind xmlns:D="DAV:"><D:prop><D:a>&e;</D:a></D:prop></D:propfind>'
        ),
    ],
)
def test_a_body_that_is_no_propfind_is_400(gateway: Any, body: str) -> None:
    answer = gateway.ask("PROPFIND", "/", body, Depth="0")
    assert answer.status == 400
    assert b"root:" not in answer.body
    assert answer.body.count(b"\n") == 1


def test_a_body_that_is_too_long_is_413(gateway: Any) -> None:
    assert gateway.ask("PROPFIND", "/", " " * 1_100_000, Depth="0").status == 413


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_no_body_breaks_the_parser(body: bytes) -> None:
    with suppress(BadRequest):
        assert isinstance(parse(body), Wanted)


@given(st.text(max_size=30))
def test_any_name_makes_well_formed_xml(name: str) -> None:
    text = property_xml("{DAV:}displayname", name).replace("D:", "")
    element = etree.fromstring(text)
    if name.isprintable():
        assert (element.text or "") == name
    other = property_xml("{urn:a&b}x", name)
    assert etree.fromstring(other).tag == "{urn:a&b}x"


class ManyReleases:
    """A library with more releases than anybody should have."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.read = 0

    def categories(self) -> Sequence[str]:
        return ["movies"]

    def releases(self, category: str) -> Iterator[Release]:
        for number in range(self.number):
            self.read += 1
            yield Release(number, category, f"Some.Film.{number:06}.2026.1080p.WEB.x264", 1.0)

    def release(self, category: str, name: str) -> Release | None:
        return None

    def entries(self, release: Release, folder: str = "") -> Folder:
        return Folder((), ())

    def file(self, category: str, release: str, path: str) -> FileEntry | None:
        return None

    def remove_files(self, release: Release, path: str = "") -> Removed:
        return Removed(0, 0)

    def layout(self, file_id: str) -> Layout:
        raise AssertionError("a listing needs no layout")


def test_a_folder_of_many_thousands_is_answered_as_it_is_read(make_app: Any) -> None:
    library = ManyReleases(50_000)
    app = make_app(library, None, None)
    environ = {
        "REQUEST_METHOD": "PROPFIND",
        "SCRIPT_NAME": "/dav",
        "PATH_INFO": "/content/movies",
        "HTTP_DEPTH": "1",
        "wsgi.input": BytesIO(),
    }
    status: list[str] = []

    def start_response(line: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        status.append(line)

    tracemalloc.start()
    try:
        pieces = iter(app(environ, start_response))
        first = next(pieces)
        assert status == ["207 Multi-Status"]
        assert library.read < 1000
        size = len(first)
        while size < 8_000_000:  # enough to see it grow; to trace all of it takes long
            size += len(next(pieces))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    size += sum(len(piece) for piece in pieces)
    assert library.read == 50_000
    assert size > 20_000_000
    assert peak < 2_000_000


def test_a_large_listing_arrives_whole_over_the_wire(
    gateway: Any, serving: Any, make_app: Any
) -> None:
    app = make_app(ManyReleases(10_000), gateway.streams, None)
    gateway.server = serving(app)
    answer = gateway.ask("PROPFIND", "/content/movies", Depth="1")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert len(answer.found()) == 10_001


def test_100_000_jobs_are_answered_as_they_are_read(
    make_app: Any, database: Database, library: Library
) -> None:
    release = library.release("movies", "Größe & Tücke; 100% +1 (2026)")
    assert release is not None
    columns = {"release_id": release.id, "category": "many", "folder": "", "made": 1.0}
    with database.begin() as tx:
        tx.execute(
            sa.insert(links),
            [{**columns, "name": f"Some.Film.{number:06}"} for number in range(100_000)],
        )
    environ = {
        "REQUEST_METHOD": "PROPFIND",
        "SCRIPT_NAME": "/dav",
        "PATH_INFO": "/completed-symlinks/many",
        "HTTP_DEPTH": "1",
        "wsgi.input": BytesIO(),
    }
    app = make_app(library, None, None)
    tracemalloc.start()
    try:
        pieces = iter(app(environ, lambda *_: None))
        entries = 0
        while entries < 20_000:  # enough to see it grow; to trace all of them takes long
            entries += next(pieces).count(b"<D:response>")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert entries + sum(piece.count(b"<D:response>") for piece in pieces) == 100_001
    assert peak < 5_000_000
