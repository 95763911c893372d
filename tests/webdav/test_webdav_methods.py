"""What each method answers where: the library is read-only, the queue takes NZBs."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

FOLDER = "/content/movies/" + quote("Größe & Tücke; 100% +1 (2026)")
FILM = f"{FOLDER}/film.mkv"
NZB = b'<?xml version="1.0"?><nzb xmlns="http://www.newzbin.com/DTD/2003/nzb"/>'
LOCK = (
    '<?xml version="1.0" encoding="utf-8"?><D:lockinfo xmlns:D="DAV:"><D:lockscope>'
    "<D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype>"
    "<D:owner><D:href>http://www.apple.com/webdav_fs/</D:href></D:owner></D:lockinfo>"
)
PROPPATCH = (
    '<D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:schemas-microsoft-com:"><D:set><D:prop>'
    "<Z:Win32LastModifiedTime>Tue, 01 Sep 2026 12:30:15 GMT</Z:Win32LastModifiedTime>"
    "</D:prop></D:set></D:propertyupdate>"
)
CHANGES = ["PUT", "DELETE", "MKCOL", "COPY", "MOVE", "PROPPATCH", "LOCK", "UNLOCK"]


@pytest.mark.parametrize("method", CHANGES)
@pytest.mark.parametrize(
    "path", [FILM, f"{FOLDER}/new.mkv", f"{FOLDER}/", "/content/movies/", "/content", "/", "/nzbs"]
)
def test_the_library_is_read_only(gateway: Any, method: str, path: str) -> None:
    body = {"PROPPATCH": PROPPATCH, "LOCK": LOCK, "PUT": "x"}.get(method)
    answer = gateway.ask(method, path, body, Destination="/dav/nzbs/movies/x.nzb")
    assert answer.status == 403
    in_release = path.startswith(f"{FOLDER}/")
    words = "GATEWAY_ALLOW_CONTENT_DELETE=true has it removed from here"
    if method != "DELETE" or not in_release:
        words = "only /nzbs takes NZBs"
    assert answer.body.decode() == f"the library is read-only: {words}\n"
    assert gateway.ask("HEAD", FILM).status == 200
    assert gateway.intake.added == []


@pytest.mark.parametrize("method", ["POST", "PATCH", "REPORT", "SEARCH", "TRACE", "MKCALENDAR"])
@pytest.mark.parametrize("path", [FILM, "/", "/nzbs/movies/x.nzb"])
def test_a_method_that_means_nothing_here_is_405(gateway: Any, method: str, path: str) -> None:
    answer = gateway.ask(method, path)
    assert answer.status == 405
    assert answer.headers["Allow"] == "OPTIONS, GET, HEAD, PROPFIND"


@pytest.mark.parametrize(
    ("path", "compliance"),
    [
        (FILM, "1"),
        (FOLDER, "1"),
        ("/content/", "1"),
        ("/completed-symlinks/movies/", "1"),
        ("/.ids/", "1"),
        ("/", "1,2"),  # Finder mounts it for writing only if it is told so here
        ("/nzbs/movies/", "1,2"),
        ("/nzbs/movies/new.nzb", "1,2"),
    ],
)
def test_options_say_where_writing_and_locking_are_possible(
    gateway: Any, path: str, compliance: str
) -> None:
    answer = gateway.ask("OPTIONS", path)
    assert answer.status == 200
    assert answer.headers["DAV"] == compliance
    if compliance == "1":
        assert answer.headers["Allow"] == "OPTIONS, GET, HEAD, PROPFIND"


def test_an_nzb_put_into_a_category_is_queued(gateway: Any) -> None:
    answer = gateway.ask("PUT", "/nzbs/movies/Some%20Film%20%282026%29.nzb", NZB)
    assert answer.status == 201
    assert gateway.intake.added == [("movies", "Some Film (2026).nzb", NZB)]
    found = gateway.ask("PROPFIND", "/nzbs/movies", Depth="1").found()
    assert list(found) == ["/dav/nzbs/movies/", "/dav/nzbs/movies/Some%20Film%20(2026).nzb"]
    entry = found["/dav/nzbs/movies/Some%20Film%20(2026).nzb"]
    assert entry["{DAV:}getcontentlength"].text == str(len(NZB))
    assert entry["{DAV:}getcontenttype"].text == "application/x-nzb"


def test_an_upload_may_come_in_chunks(gateway: Any) -> None:
    sock = gateway.raw("PUT /dav/nzbs/tv/a.nzb HTTP/1.1", "Transfer-Encoding: chunked")
    sock.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(NZB), NZB))
    assert sock.recv(100).startswith(b"HTTP/1.1 201")
    sock.close()
    assert gateway.intake.added == [("tv", "a.nzb", NZB)]


def test_an_uploaded_nzb_can_be_looked_at_even_once_it_has_left_the_queue(gateway: Any) -> None:
    gateway.ask("PUT", "/nzbs/movies/a.nzb", NZB)
    gateway.intake.waiting.clear()  # imported meanwhile
    head = gateway.ask("HEAD", "/nzbs/movies/a.nzb")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(NZB)))


def test_the_same_upload_again_is_queued_once_and_another_takes_its_place(gateway: Any) -> None:
    answer = gateway.ask("PUT", "/nzbs/movies/a.nzb", NZB)
    assert (answer.status, answer.body) == (201, b"created\n")
    assert gateway.ask("PUT", "/nzbs/movies/a.nzb", NZB).status == 204
    assert len(gateway.intake.added) == 1
    assert gateway.ask("PUT", "/nzbs/movies/a.nzb", NZB + b"<!-- better -->").status == 204
    assert len(gateway.intake.added) == 2
    assert list(gateway.intake.waiting) == ["nzo_2"]


def test_deleting_takes_an_nzb_out_of_the_queue(gateway: Any) -> None:
    gateway.intake.add(NZB, filename="other.nzb", category="movies")
    gateway.ask("PUT", "/nzbs/movies/a.nzb", NZB)
    for name in ("a.nzb", "other.nzb"):
        assert gateway.ask("DELETE", f"/nzbs/movies/{name}").status == 204
        assert gateway.ask("DELETE", f"/nzbs/movies/{name}").status == 404
    assert gateway.intake.waiting == {}
    assert len(gateway.ask("PROPFIND", "/nzbs/movies", Depth="1").found()) == 1


def test_what_is_queued_from_elsewhere_is_listed_too(gateway: Any) -> None:
    gateway.intake.add(NZB, filename="from sonarr.nzb", category="tv")
    assert (
        "/dav/nzbs/tv/from%20sonarr.nzb" in gateway.ask("PROPFIND", "/nzbs/tv", Depth="1").found()
    )
    head = gateway.ask("HEAD", "/nzbs/tv/from%20sonarr.nzb")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(NZB)))
    assert gateway.ask("GET", "/nzbs/tv/from%20sonarr.nzb").body == NZB
    assert gateway.ask("GET", "/nzbs/tv/from%20sonarr.nzb", Range="bytes=2-4").body == NZB[2:5]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/nzbs/movies/a.nzb", b"hello", 400, b"not XML"),
        ("/nzbs/movies/a.txt", NZB, 403, b"is no NZB"),
        ("/nzbs/movies/film.mkv", b"x", 403, b"is no NZB"),
        ("/nzbs/movies/big.nzb", b"<" * 1_000_001, 413, b"1000000"),
        ("/nzbs/movies/._a.nzb", b"x" * 70_000, 413, b"70000"),
        ("/nzbs/none/a.nzb", NZB, 409, b"those in /nzbs are the categories"),
        ("/nzbs/movies/deeper/a.nzb", NZB, 409, b"those in /nzbs are the categories"),
        ("/nzbs/a.nzb", NZB, 403, b"belongs into a category"),
    ],
)
def test_what_cannot_be_queued_is_refused_in_one_line(
    gateway: Any, path: str, body: bytes, status: int, words: bytes
) -> None:
    answer = gateway.ask("PUT", path, body)
    assert answer.status == status
    assert words in answer.body
    assert answer.body.count(b"\n") == 1
    assert gateway.ask("HEAD", path).status == 404
    assert gateway.intake.added == []


def test_an_upload_that_is_cut_short_queues_nothing(gateway: Any) -> None:
    sock = gateway.raw("PUT /dav/nzbs/movies/a.nzb HTTP/1.1", "Content-Length: 1000")
    sock.sendall(NZB)
    sock.close()
    gateway.server.stop(5)
    assert gateway.intake.added == []


def test_what_was_put_can_be_read_back_until_it_leaves_the_queue(gateway: Any) -> None:
    gateway.ask("PUT", "/nzbs/movies/a.nzb", NZB)
    assert gateway.ask("GET", "/nzbs/movies/a.nzb").body == NZB
    gateway.intake.waiting.clear()
    answer = gateway.ask("GET", "/nzbs/movies/a.nzb")
    assert answer.status == 404
    assert answer.body == b"'a.nzb' has left the queue: the history says what became of it\n"


def moved(gateway: Any, path: str, onto: str, **headers: str) -> Any:
    destination = f"http://127.0.0.1:{gateway.server.port}/dav{onto}"
    return gateway.ask("MOVE", path, Destination=destination, **headers)


def test_moving_an_nzb_changes_its_category(gateway: Any) -> None:
    gateway.ask("PUT", "/nzbs/movies/A%20%231.nzb", NZB)
    gateway.intake.add(NZB, filename="b.nzb", category="movies")
    assert moved(gateway, "/nzbs/movies/A%20%231.nzb", "/nzbs/tv/A%20%231.nzb").status == 204
    assert moved(gateway, "/nzbs/movies/b.nzb", "/nzbs/audio/b.nzb").status == 204
    places = {(one.category, one.name) for one in gateway.intake.waiting.values()}
    assert places == {("tv", "A #1.nzb"), ("audio", "b.nzb")}
    assert len(gateway.ask("PROPFIND", "/nzbs/movies", Depth="1").found()) == 1
    assert gateway.ask("GET", "/nzbs/tv/A%20%231.nzb").body == NZB


def test_an_nzb_moved_onto_another_takes_its_place(gateway: Any) -> None:
    gateway.ask("PUT", "/nzbs/movies/a.nzb", NZB)
    gateway.intake.add(NZB + b"<!-- 2 -->", filename="a.nzb", category="tv")
    answer = moved(gateway, "/nzbs/movies/a.nzb", "/nzbs/tv/a.nzb", Overwrite="F")
    assert answer.status == 412
    assert moved(gateway, "/nzbs/movies/a.nzb", "/nzbs/tv/a.nzb").status == 204
    assert list(gateway.intake.waiting) == ["nzo_1"]
    assert gateway.ask("GET", "/nzbs/tv/a.nzb").body == NZB


@pytest.mark.parametrize(
    ("onto", "status", "words"),
    [
        ("/nzbs/tv/other.nzb", 403, b"keeps its name"),
        ("/nzbs/movies/other.nzb", 403, b"keeps its name"),
        ("/content/tv/a.nzb", 403, b"to another category in /nzbs"),
        ("/completed-symlinks/tv/a.nzb", 403, b"to another category in /nzbs"),
        ("/nzbs/none/a.nzb", 409, b""),
        ("/nzbs/a.nzb", 403, b"to another category in /nzbs"),
    ],
)
def test_what_is_queued_stays_in_the_queue(
    gateway: Any, onto: str, status: int, words: bytes
) -> None:
    gateway.ask("PUT", "/nzbs/movies/a.nzb", NZB)
    answer = moved(gateway, "/nzbs/movies/a.nzb", onto)
    assert answer.status == status
    assert words in answer.body
    assert b"wsgidav" not in answer.body.lower()
    assert gateway.intake.waiting["nzo_1"].category == "movies"
    copied = gateway.ask("COPY", "/nzbs/movies/a.nzb", Destination="/dav/nzbs/tv/b.nzb")
    assert copied.status == 403


def test_what_has_left_the_queue_is_moved_no_more(gateway: Any) -> None:
    gateway.ask("PUT", "/nzbs/movies/a.nzb", NZB)
    gateway.intake.waiting.clear()
    answer = moved(gateway, "/nzbs/movies/a.nzb", "/nzbs/tv/a.nzb")
    assert answer.status == 404
    assert answer.body == b"'a.nzb' has left the queue: the history says what became of it\n"


def test_no_category_is_made_or_deleted_here(gateway: Any) -> None:
    assert gateway.ask("MKCOL", "/nzbs/movies/sub").status == 403
    assert gateway.ask("MKCOL", "/nzbs/new").status == 403
    answer = gateway.ask("DELETE", "/nzbs/movies")
    assert answer.status == 403
    assert answer.body == b"a category cannot be deleted here: it stands in the settings\n"
    assert gateway.ask("PROPFIND", "/nzbs/movies", Depth="0").status == 207


def test_finder_puts_an_nzb(gateway: Any) -> None:
    """An empty file first, a lock, the document, its properties; and a `._` file beside it."""
    path = "/nzbs/movies/a.nzb"
    assert gateway.ask("PROPFIND", path, Depth="0").status == 404
    assert gateway.ask("PUT", path, b"").status == 201
    assert gateway.intake.added == []
    locked = gateway.ask("LOCK", path, LOCK, Timeout="Second-600")
    assert locked.status == 200
    token = locked.headers["Lock-Token"]
    assert gateway.ask("PUT", path, NZB).status == 423  # by whoever does not hold the lock
    assert gateway.ask("PUT", path, NZB, If=f"({token})").status == 204
    assert gateway.ask("PROPPATCH", path, PROPPATCH, If=f"({token})").status == 207
    beside = "/nzbs/movies/._a.nzb"
    assert gateway.ask("PROPFIND", beside, Depth="0").status == 404
    assert gateway.ask("PUT", beside, b"\0\5\x16\7" + bytes(100)).status == 201
    assert gateway.ask("GET", beside).body[:4] == b"\0\5\x16\7"
    assert gateway.ask("UNLOCK", path, Lock_Token=token).status == 204
    assert gateway.ask("DELETE", beside).status == 204
    assert gateway.intake.added == [("movies", "a.nzb", NZB)]


def test_davfs2_locks_what_is_not_there_yet(gateway: Any) -> None:
    path = "/nzbs/movies/a.nzb"
    locked = gateway.ask("LOCK", path, LOCK, Timeout="Second-300", Depth="0")
    assert locked.status == 201
    token = locked.headers["Lock-Token"]
    found = gateway.ask("PROPFIND", path, Depth="0").found()[f"/dav{path}"]
    assert found["{DAV:}getcontentlength"].text == "0"
    assert found["{DAV:}lockdiscovery"].findtext(".//{DAV:}locktoken/{DAV:}href") == token[1:-1]
    assert gateway.ask("PUT", path, NZB, If=f"({token})").status == 204
    assert gateway.ask("UNLOCK", path, Lock_Token=token).status == 204
    assert gateway.intake.added == [("movies", "a.nzb", NZB)]


def test_windows_sets_its_times_and_is_content(gateway: Any) -> None:
    gateway.ask("PUT", "/nzbs/movies/a.nzb", NZB)
    answer = gateway.ask("PROPPATCH", "/nzbs/movies/a.nzb", PROPPATCH)
    assert b"200 OK" in answer.body
    assert b"403" not in answer.body


def test_a_document_of_properties_cannot_fill_the_memory(gateway: Any) -> None:
    sock = gateway.raw("PROPPATCH /dav/nzbs/movies/a.nzb HTTP/1.1", "Content-Length: 2000000000")
    assert sock.recv(100).startswith(b"HTTP/1.1 413")
    sock.close()


def test_without_a_queue_there_is_no_nzbs(gateway: Any, serving: Any, make_app: Any) -> None:
    gateway.server = serving(make_app(gateway.library, gateway.streams, None))
    assert list(gateway.ask("PROPFIND", "/", Depth="1").found()) == [
        "/dav/",
        "/dav/content/",
        "/dav/completed-symlinks/",
        "/dav/.ids/",
    ]
    assert gateway.ask("PUT", "/nzbs/movies/a.nzb", NZB).status == 403


def test_a_category_has_the_folder_that_it_was_given(
    gateway: Any, serving: Any, make_app: Any
) -> None:
    folders = {"sonarr": "tv", "radarr": "movies"}
    app = make_app(gateway.library, gateway.streams, gateway.intake, categories=folders)
    gateway.server = serving(app)
    for tree in ("/dav/content/", "/dav/completed-symlinks/"):
        assert set(gateway.ask("PROPFIND", tree[4:], Depth="1").found()) == {
            tree,
            f"{tree}tv/",
            f"{tree}movies/",
        }
    assert gateway.ask("PUT", "/nzbs/sonarr/a.nzb", NZB).status == 201
    assert gateway.intake.added == [("sonarr", "a.nzb", NZB)]
    assert gateway.ask("PUT", "/nzbs/tv/a.nzb", NZB).status == 409
