"""Removing releases through /content, where GATEWAY_ALLOW_CONTENT_DELETE has it so."""

from __future__ import annotations

import logging
import threading
from typing import Any
from urllib.parse import quote

import pytest

NAME = "Größe & Tücke; 100% +1 (2026)"
RELEASE = f"/content/movies/{quote(NAME)}"
JOB = f"/completed-symlinks/movies/{quote(NAME)}"
FILM = f"{RELEASE}/film.mkv"


def test_a_release_goes_with_its_links_and_ids_and_the_log_says_so(
    deleting: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [
        deleting.library.file("movies", NAME, path).id
        for path in ("film.mkv", "Extras/Deleted Scenes/one #1.mp4")
    ]
    with caplog.at_level(logging.WARNING):
        assert deleting.ask("DELETE", f"{RELEASE}/").status == 204
    for gone in (RELEASE, FILM, JOB, f"{JOB}/film.mkv.rclonelink"):
        assert deleting.ask("PROPFIND", gone, Depth="0").status == 404
    for id_ in ids:
        assert deleting.ask("HEAD", f"/.ids/{id_[0]}/{id_[1]}/{id_[2]}/{id_}").status == 404
    assert deleting.ask("DELETE", RELEASE).status == 404
    words = f"removed by WebDAV: 'movies/{NAME}' (files: 3, bytes: 1484567), and all links to it"
    assert [record.message for record in caplog.records] == [f"[Library] {words}"]
    assert deleting.ask("HEAD", "/content/tv/Show.S01E01/show.s01e01.mkv").status == 200


def test_a_file_goes_alone(deleting: Any) -> None:
    assert deleting.ask("DELETE", f"{RELEASE}/film.srt").status == 204
    assert deleting.ask("HEAD", f"{RELEASE}/film.srt").status == 404
    assert deleting.ask("HEAD", f"{JOB}/film.srt.rclonelink").status == 404
    assert deleting.ask("HEAD", FILM).status == 200
    assert deleting.ask("HEAD", f"{JOB}/film.mkv.rclonelink").status == 200


def test_a_mount_removes_one_by_one_and_folders_last(deleting: Any) -> None:
    inside = f"{RELEASE}/Extras/Deleted%20Scenes"
    for path in (f"{inside}/one%20%231.mp4", inside, f"{RELEASE}/Extras"):
        assert deleting.ask("PROPFIND", path, Depth="1").status == 207
        assert deleting.ask("DELETE", path).status == 204
        assert deleting.ask("PROPFIND", path, Depth="1").status == 404
    for path in (FILM, f"{RELEASE}/film.srt", RELEASE):
        assert deleting.ask("PROPFIND", path, Depth="1").status == 207
        assert deleting.ask("DELETE", path).status == 204
    assert deleting.ask("PROPFIND", RELEASE, Depth="1").status == 404
    assert deleting.library.release("movies", NAME) is None


@pytest.mark.parametrize("path", ["/content", "/content/movies", "/content/audio", "/", "/.ids"])
def test_nothing_above_a_release_can_be_removed(deleting: Any, path: str) -> None:
    assert deleting.ask("DELETE", path).status == 403
    assert deleting.ask("HEAD", FILM).status == 200


@pytest.mark.parametrize("method", ["PUT", "MKCOL", "COPY", "MOVE", "PROPPATCH", "LOCK"])
def test_nothing_else_can_be_done_to_it(deleting: Any, method: str) -> None:
    answer = deleting.ask(method, FILM, Destination="/dav/content/movies/x")
    assert answer.status == 403
    assert answer.body == b"the library is read-only: only /nzbs takes NZBs\n"


def test_who_is_watching_goes_on_to_the_end(deleting: Any, bytes_of: Any) -> None:
    reading, removed = threading.Event(), threading.Event()

    def wait(stream: Any) -> None:
        if stream.position:
            reading.set()
            assert removed.wait(20)

    deleting.streams.before_read = wait
    answers: list[Any] = []
    viewer = threading.Thread(target=lambda: answers.append(deleting.ask("GET", FILM)))
    viewer.start()
    assert reading.wait(20)
    assert deleting.ask("DELETE", RELEASE).status == 204
    removed.set()
    viewer.join(20)
    assert answers[0].body == bytes_of(1_234_567)
