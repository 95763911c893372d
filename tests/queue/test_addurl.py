"""NZBs fetched from addresses: what is fetched, what never is, and what becomes of the item."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import trustme

from gateway.demo import Post
from gateway_queue.addresses import AddressRefused, address
from gateway_queue.fetching import Fetcher, NotNow, NotThere
from gateway_queue.grabber import Grabber
from gateway_queue.grabs import Grabs
from gateway_queue.intake import Queue
from gateway_queue.item import Item, State
from gateway_queue.processor import Processor
from gateway_queue.store import JobStore

LOOPBACK = ("127.0.0.0/8",)
Find = Callable[[str], Item]
WaitUntil = Callable[[Callable[[], object]], None]


@dataclass
class Indexer:
    """An HTTP server that answers by path, and keeps what it was asked."""

    port: int = 0
    scheme: str = "http"
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"


def serve(indexer: Indexer, tls: ssl.SSLContext | None = None) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            indexer.asked.append((self.path, headers))
            status, said, body = indexer.answers.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **said}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        indexer.scheme = "https"
    server.daemon_threads = True
    indexer.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


@pytest.fixture
def indexer() -> Iterator[Indexer]:
    indexer = Indexer()
    server = serve(indexer)
    yield indexer
    server.shutdown()
    server.server_close()


@pytest.fixture
def fetcher() -> Fetcher:
    return Fetcher(allowed=LOOPBACK, connect_s=5, silence_s=5)


# What is fetched -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        ('attachment; filename="A.Film.nzb"', "A.Film.nzb"),
        ("attachment; filename*=UTF-8''Caf%C3%A9.nzb", "Café.nzb"),
        ("", "get"),
        ("rubbish; =;;", "get"),
    ],
)
def test_a_document_comes_with_the_name_that_the_server_gives_it(
    indexer: Indexer, fetcher: Fetcher, disposition: str, filename: str
) -> None:
    said = {"Content-Disposition": disposition} if disposition else {}
    indexer.answers["/get?id=1"] = (200, said, b"<nzb/>")
    found = fetcher.fetch(indexer.url("/get?id=1"))
    assert (found.document, found.filename) == (b"<nzb/>", filename)


def test_what_is_compressed_on_the_way_is_unpacked(indexer: Indexer, fetcher: Fetcher) -> None:
    packed = gzip.compress(b"<nzb/>")
    indexer.answers["/a.nzb"] = (200, {"Content-Encoding": "gzip"}, packed)
    assert fetcher.fetch(indexer.url("/a.nzb")).document == b"<nzb/>"


def test_a_login_in_the_address_is_for_that_server_alone(
    indexer: Indexer, fetcher: Fetcher
) -> None:
    other = Indexer()
    server = serve(other)
    indexer.answers["/a"] = (302, {"Location": "/b"}, b"")
    indexer.answers["/b"] = (302, {"Location": other.url("/c")}, b"")
    other.answers["/c"] = (200, {}, b"<nzb/>")
    fetcher.fetch(f"http://bob:s%40crt@127.0.0.1:{indexer.port}/a")
    server.shutdown()
    server.server_close()

    login = "Basic " + b64encode(b"bob:s@crt").decode()
    assert [headers.get("authorization") for _, headers in indexer.asked] == [login, login]
    assert [headers.get("authorization") for _, headers in other.asked] == [None]


def test_ten_redirects_are_followed_and_no_more(indexer: Indexer, fetcher: Fetcher) -> None:
    for number in range(11):
        indexer.answers[f"/{number}"] = (301, {"Location": f"/{number + 1}"}, b"")
    indexer.answers["/11"] = (200, {}, b"<nzb/>")
    assert fetcher.fetch(indexer.url("/1")).document == b"<nzb/>"
    with pytest.raises(NotThere, match="more than 10 redirects"):
        fetcher.fetch(indexer.url("/0"))


def test_a_name_is_asked_by_the_address_that_was_checked_and_its_certificate_is_the_names() -> None:
    authority = trustme.CA()
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("indexer.example").configure_cert(served)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    indexer = Indexer()
    server = serve(indexer, served)
    indexer.answers["/a.nzb"] = (200, {}, b"<nzb/>")
    fetcher = Fetcher(allowed=LOOPBACK, tls=trusting, resolve=lambda *_: ["127.0.0.1"])

    url = indexer.url("/a.nzb", "indexer.example")
    assert fetcher.fetch(url).document == b"<nzb/>"
    assert indexer.asked[0][1]["host"] == f"indexer.example:{indexer.port}"
    with pytest.raises(NotNow, match="no TLS with it"):
        fetcher.fetch(indexer.url("/a.nzb", "another.example"))
    server.shutdown()
    server.server_close()


# What never is ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://indexer.example/a.nzb",
        "//indexer.example/a.nzb",
        "a.nzb",
        "http://",
        "http://:80/",
        "http://host:0/",
        "http://host:99999/",
        "http://[::1/",
        "http://" + "a" * 300 + "/",
    ],
)
def test_only_addresses_of_http_and_https_are_any(url: str) -> None:
    with pytest.raises(AddressRefused):
        address(url)


@pytest.mark.parametrize(
    "ip",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:0:0:0:0:80ff:fffe",
    ],
)
def test_no_address_inside_of_the_network_is_asked(ip: str) -> None:
    fetcher = Fetcher(resolve=lambda *_: ["93.184.215.14", ip])
    with pytest.raises(AddressRefused, match="GATEWAY_ADDURL_PRIVATE"):
        fetcher.fetch("http://indexer.example/a.nzb")


def test_a_redirect_into_the_network_is_refused_as_the_address_is(
    indexer: Indexer,
) -> None:
    indexer.answers["/a"] = (302, {"Location": "http://inside.example/"}, b"")
    names = {"127.0.0.1": "127.0.0.1", "inside.example": "192.168.1.1"}
    fetcher = Fetcher(allowed=LOOPBACK, resolve=lambda host, _: [names[host]])
    with pytest.raises(AddressRefused, match=r"inside\.example is inside the network"):
        fetcher.fetch(indexer.url("/a"))
    indexer.answers["/a"] = (302, {"Location": "file:///etc/passwd"}, b"")
    with pytest.raises(AddressRefused, match="http://"):
        fetcher.fetch(indexer.url("/a"))


def test_a_name_that_means_another_machine_a_moment_later_changes_nothing(
    indexer: Indexer,
) -> None:
    indexer.answers["/a"] = (200, {}, b"<nzb/>")
    resolved = iter([["127.0.0.1"], ["192.168.1.1"]])
    fetcher = Fetcher(allowed=LOOPBACK, resolve=lambda *_: next(resolved))
    assert fetcher.fetch(indexer.url("/a", "indexer.example")).document == b"<nzb/>"
    with pytest.raises(AddressRefused):
        fetcher.fetch(indexer.url("/a", "indexer.example"))


def test_what_is_too_large_is_refused_packed_or_not(indexer: Indexer) -> None:
    fetcher = Fetcher(allowed=LOOPBACK, limit=100_000)
    bomb = gzip.compress(bytes(10_000_000))
    indexer.answers["/large"] = (200, {}, bytes(100_001))
    indexer.answers["/bomb"] = (200, {"Content-Encoding": "gzip"}, bomb)
    for path in ("/large", "/bomb"):
        with pytest.raises(NotThere, match="more than 100,000 bytes"):
            fetcher.fetch(indexer.url(path))


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, b"", NotThere),
        (403, b"", NotThere),
        (204, b"", NotThere),
        (304, b"", NotThere),
        (429, b"", NotNow),
        (500, b"", NotNow),
        (503, b"", NotNow),
        (200, b'<error code="500" description="Request limit reached"/>', NotNow),
        (302, b"", NotThere),
    ],
)
def test_a_refusal_is_for_now_or_for_good(
    indexer: Indexer, fetcher: Fetcher, status: int, body: bytes, error: type[Exception]
) -> None:
    indexer.answers["/a?apikey=secret"] = (status, {}, body)
    with pytest.raises(error) as caught:
        fetcher.fetch(f"http://bob:hidden@127.0.0.1:{indexer.port}/a?apikey=secret")
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("answers", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n<nzb"])
def test_a_server_that_sends_a_byte_now_and_then_is_cut_when_its_time_is_over(
    answers: bytes,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        gone = threading.Event()

        def drip() -> None:
            link, _ = server.accept()
            with link, suppress(OSError):
                link.sendall(answers)
                while not gone.wait(0.02):
                    link.sendall(b"x")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        fetcher = Fetcher(allowed=LOOPBACK, longest_s=0.3)
        with pytest.raises(NotNow, match=r"too slow|does not answer"):
            fetcher.fetch(f"http://127.0.0.1:{server.getsockname()[1]}/a.nzb")
        gone.set()
        thread.join()


def test_nobody_who_answers_is_for_now(indexer: Indexer) -> None:
    fetcher = Fetcher(allowed=LOOPBACK, connect_s=1)
    with pytest.raises(NotNow, match="cannot be reached"):
        fetcher.fetch("http://127.0.0.1:1/a.nzb")
    nameless = Fetcher(resolve=lambda *_: [])
    with pytest.raises(NotNow, match="no address for that name"):
        nameless.fetch("http://indexer.example/a.nzb")
    # One address of several is enough.
    indexer.answers["/a"] = (200, {}, b"<nzb/>")
    several = Fetcher(allowed=LOOPBACK, resolve=lambda *_: ["127.0.0.2", "127.0.0.1"])
    assert several.fetch(indexer.url("/a", "indexer.example")).document == b"<nzb/>"


# The item --------------------------------------------------------------------------------------


@pytest.fixture
def grabber(
    store: JobStore, processor: Processor, fetcher: Fetcher, clock: Any
) -> Iterator[Grabber]:
    grabber = Grabber(Grabs(store), fetcher, processor.wake, clock=clock)
    yield grabber
    assert grabber.stop(20)


@pytest.fixture
def queue(store: JobStore, processor: Processor, grabber: Grabber) -> Queue:
    return Queue(store, processor, grab=grabber.wake)


def test_an_item_is_grabbed_queued_and_imported_under_the_name_that_came(
    queue: Queue,
    grabber: Grabber,
    processor: Processor,
    indexer: Indexer,
    show: Post,
    find: Find,
    wait_until: WaitUntil,
) -> None:
    said = {"Content-Disposition": "attachment; filename=My.Show.S01E01.nzb"}
    indexer.answers["/get"] = (200, said, show.nzb)
    nzo_id = queue.add_url(indexer.url("/get"), category="tv", priority=1)
    named = queue.add_url(indexer.url("/get"), category="tv", name="Another.Name")
    assert (find(nzo_id).state, find(nzo_id).name) == (State.GRABBING, "get")
    assert list(queue.pending("tv")) == []

    processor.start()
    grabber.start()
    wait_until(lambda: find(nzo_id).state is find(named).state is State.COMPLETED)
    assert (find(nzo_id).name, find(named).name) == ("My.Show.S01E01", "Another.Name")
    assert find(nzo_id).nzb_bytes == len(show.nzb)


def test_what_is_not_there_fails_into_the_history_in_words_and_can_be_retried(
    queue: Queue,
    grabber: Grabber,
    store: JobStore,
    indexer: Indexer,
    show: Post,
    find: Find,
    wait_until: WaitUntil,
) -> None:
    grabber.start()
    gone = queue.add_url(indexer.url("/gone"), category="tv")
    inside = queue.add_url("http://10.0.0.1/a.nzb", category="tv")
    indexer.answers["/junk"] = (200, {}, b"no such id")
    junk = queue.add_url(indexer.url("/junk"), category="tv")
    wait_until(lambda: {find(one).state for one in (gone, inside, junk)} == {State.FAILED})
    origin = f"http://127.0.0.1:{indexer.port}"
    assert find(gone).failure == f"the NZB was not fetched: {origin} answers HTTP 404"
    assert "http://10.0.0.1 is inside the network" in find(inside).failure
    assert "not an NZB: begins with 'no such id'" in find(junk).failure

    indexer.answers["/gone"] = (200, {}, show.nzb)
    (again,) = queue.retry([gone]).values()
    wait_until(lambda: find(again).state is State.QUEUED)
    assert store.document(again) == show.nzb


def test_a_server_that_is_down_is_asked_again_later_and_after_a_day_a_person_is(
    queue: Queue,
    grabber: Grabber,
    indexer: Indexer,
    show: Post,
    find: Find,
    wait_until: WaitUntil,
    clock: Any,
) -> None:
    indexer.answers["/a.nzb"] = (503, {}, b"")
    grabber.start()
    nzo_id = queue.add_url(indexer.url("/a.nzb"), category="tv")
    wait_until(lambda: find(nzo_id).attempts == 1)
    assert (find(nzo_id).state, find(nzo_id).not_before) == (State.GRABBING, clock.now + 60)
    assert find(nzo_id).note.endswith("answers HTTP 503")

    def has_changed(tried: int) -> bool:
        return find(nzo_id).attempts > tried or find(nzo_id).state is State.PAUSED

    while find(nzo_id).state is State.GRABBING:
        tried = find(nzo_id).attempts
        clock.now = find(nzo_id).not_before
        grabber.wake()
        wait_until(partial(has_changed, tried))
    assert "paused after 24 hours without an answer" in find(nzo_id).note

    indexer.answers["/a.nzb"] = (200, {}, show.nzb)
    assert queue.resume([nzo_id]) == [nzo_id]
    wait_until(lambda: find(nzo_id).state is State.QUEUED)


def test_an_item_that_waits_for_its_nzb_can_be_paused_resumed_renamed_and_deleted(
    queue: Queue,
    grabber: Grabber,
    store: JobStore,
    indexer: Indexer,
    show: Post,
    find: Find,
    wait_until: WaitUntil,
) -> None:
    indexer.answers["/a.nzb"] = (200, {}, show.nzb)
    kept, gone, paused = (
        queue.add_url(indexer.url("/a.nzb"), category="tv", priority=number)
        for number in (0, 0, -2)
    )
    assert queue.pause([kept]) == [kept]
    assert queue.rename(kept, "Another.Name")
    assert queue.remove_all([gone]) == [gone]
    assert queue.resume([kept]) == [kept]
    assert find(kept).state is State.GRABBING
    grabber.start()
    wait_until(lambda: find(kept).state is State.QUEUED)
    assert find(kept).name == "Another.Name"
    assert find(paused).state is State.PAUSED
    assert [item.id for item in store.queue().items] == [kept, paused]


def test_what_was_to_be_fetched_is_so_after_a_restart(
    queue: Queue, store: JobStore, indexer: Indexer, show: Post, find: Find, wait_until: WaitUntil,
    fetcher: Fetcher, grabber: Grabber,
) -> None:  # fmt: skip
    indexer.answers["/a.nzb"] = (200, {}, show.nzb)
    nzo_id = queue.add_url(indexer.url("/a.nzb"), category="tv")
    later = Grabber(Grabs(JobStore(store.database)), fetcher, lambda: None)
    later.start()
    wait_until(lambda: find(nzo_id).state is State.QUEUED)
    assert later.stop(20)
