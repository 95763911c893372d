"""The links of imports and every file by its id: what is shown, and what may be done to it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

NAME = "Größe & Tücke; 100% +1 (2026)"
JOB = f"/completed-symlinks/movies/{quote(NAME)}"
LINK = f"{JOB}/film.mkv.rclonelink"


def members(gateway: Any, path: str) -> list[str]:
    """Return the names of what lies in the folder at *path*."""
    found = gateway.ask("PROPFIND", path, Depth="1").found()
    return [prop["{DAV:}displayname"].text for prop in list(found.values())[1:]]


def file_id(gateway: Any, path: str = "film.mkv") -> str:
    entry = gateway.library.file("movies", NAME, path)
    assert entry is not None
    return str(entry.id)


def by_id(id_: str) -> str:
    return f"/.ids/{id_[0]}/{id_[1]}/{id_[2]}/{id_}"


def move(gateway: Any, path: str, onto: str, **headers: str) -> Any:
    destination = f"http://127.0.0.1:{gateway.server.port}/dav{onto}"
    return gateway.ask("MOVE", path, Destination=destination, **headers)


def test_the_tree_of_links_is_nested_as_the_release_is(gateway: Any) -> None:
    assert members(gateway, "/completed-symlinks") == ["audio", "movies", "tv"]
    assert members(gateway, "/completed-symlinks/audio") == []
    assert members(gateway, "/completed-symlinks/movies") == [NAME]
    assert members(gateway, JOB) == ["Extras", "film.mkv.rclonelink", "film.srt.rclonelink"]
    assert members(gateway, f"{JOB}/Extras/Deleted%20Scenes") == ["one #1.mp4.rclonelink"]


def test_a_link_says_where_the_file_lies_by_its_id(gateway: Any, bytes_of: Any) -> None:
    answer = gateway.ask("GET", LINK)
    id_ = file_id(gateway)
    assert answer.body.decode() == f"/mnt/gäteway{by_id(id_)}"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Content-Length"] == str(len(answer.body))
    (found,) = gateway.ask("PROPFIND", LINK, Depth="0").found().values()
    assert found["{DAV:}getcontentlength"].text == str(len(answer.body))
    assert found["{DAV:}getetag"].text == answer.headers["ETag"]
    assert gateway.ask("GET", LINK, If_None_Match=answer.headers["ETag"]).status == 304
    assert gateway.ask("GET", LINK, Range="bytes=0-3").body == b"/mnt"
    assert gateway.ask("GET", by_id(id_)).body == bytes_of(1_234_567)


def test_two_links_have_two_tags(gateway: Any) -> None:
    other = f"{JOB}/film.srt.rclonelink"
    assert gateway.ask("HEAD", LINK).headers["ETag"] != gateway.ask("HEAD", other).headers["ETag"]


def test_a_category_may_have_addresses_for_players_instead(gateway: Any, bytes_of: Any) -> None:
    assert members(gateway, "/completed-symlinks/tv/Show.S01E01") == ["show.s01e01.strm"]
    answer = gateway.ask("GET", "/completed-symlinks/tv/Show.S01E01/show.s01e01.strm")
    assert answer.body.startswith(b"http://u:p%40w@nas:81/dav/.ids/")
    played = answer.body.decode().strip().removeprefix("http://u:p%40w@nas:81/dav")
    assert played.endswith(".mkv")
    assert gateway.ask("GET", played).body == bytes_of(300_000)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_file_is_found_by_its_id(gateway: Any, bytes_of: Any) -> None:
    id_ = file_id(gateway, "Extras/Deleted Scenes/one #1.mp4")
    head = gateway.ask("HEAD", by_id(id_))
    assert (head.status, head.headers["Content-Length"]) == (200, "250000")
    assert head.headers["Content-Type"] == "video/mp4"
    assert head.headers["Accept-Ranges"] == "bytes"
    by_name = f"/content/movies/{quote(NAME)}/Extras/Deleted%20Scenes/one%20%231.mp4"
    assert gateway.ask("HEAD", by_name).headers["ETag"] == head.headers["ETag"]
    answer = gateway.ask("GET", by_id(id_), Range="bytes=100-199")
    assert (answer.status, answer.body) == (206, bytes_of(250_000)[100:200])
    found = gateway.ask("PROPFIND", by_id(id_), Depth="0").found()[f"/dav{by_id(id_)}"]
    assert found["{DAV:}getcontentlength"].text == "250000"


def test_no_folder_of_ids_is_huge_and_all_are_there_at_once(gateway: Any) -> None:
    digits = list("0123456789abcdef")
    id_ = file_id(gateway)
    for depth in range(3):
        assert members(gateway, "/".join(["/.ids", *id_[:depth]])) == digits
    assert id_ in members(gateway, f"/.ids/{id_[0]}/{id_[1]}/{id_[2]}")
    empty = next(one for one in digits if one != id_[2])
    assert id_ not in members(gateway, f"/.ids/{id_[0]}/{id_[1]}/{empty}")


@pytest.mark.parametrize(
    "path",
    [
        "/.ids/g",
        "/.ids/00",
        "/.ids/A",
        "/.ids/a/b/c/d",
        "/.ids/a/b/c/" + "abc" * 10 + "ab",
        "/.ids/a/b/c/.DS_Store",
        "/completed-symlinks/none",
        "/completed-symlinks/movies/none",
        f"{JOB}/film.mkv",
        f"{LINK}/",
        f"{JOB}/._film.mkv.rclonelink",
    ],
)
def test_what_is_not_there_is_404(gateway: Any, path: str) -> None:
    assert gateway.ask("PROPFIND", path, Depth="0").status == 404
    assert gateway.ask("GET", path).status == 404


def test_an_id_is_found_in_its_own_folder_only(gateway: Any) -> None:
    id_ = file_id(gateway)
    elsewhere = "0" if id_[0] != "0" else "1"
    assert gateway.ask("HEAD", f"/.ids/{elsewhere}/{id_[1]}/{id_[2]}/{id_}").status == 404
    assert gateway.ask("HEAD", f"/.ids/{id_[0]}/{id_[1]}/{id_}").status == 404


def test_removing_links_leaves_the_release(gateway: Any, bytes_of: Any) -> None:
    id_ = file_id(gateway)
    assert gateway.ask("DELETE", LINK).status == 204
    assert gateway.ask("DELETE", LINK).status == 404
    assert members(gateway, JOB) == ["Extras", "film.srt.rclonelink"]
    assert gateway.ask("DELETE", f"{JOB}/Extras/").status == 204
    assert members(gateway, JOB) == ["film.srt.rclonelink"]
    assert gateway.ask("DELETE", JOB).status == 204
    assert members(gateway, "/completed-symlinks/movies") == []
    assert members(gateway, f"/content/movies/{quote(NAME)}") == ["Extras", "film.mkv", "film.srt"]
    assert gateway.ask("GET", by_id(id_)).body == bytes_of(1_234_567)


def test_a_folder_stays_until_it_is_removed_itself(gateway: Any) -> None:
    """Mounts remove what is in a folder one by one, and then want to remove the folder."""
    deepest = f"{JOB}/Extras/Deleted%20Scenes/one%20%231.mp4.rclonelink"
    assert gateway.ask("DELETE", deepest).status == 204
    for folder in ("Extras/Deleted%20Scenes", "Extras"):
        assert gateway.ask("PROPFIND", f"{JOB}/{folder}", Depth="1").status == 207
        assert gateway.ask("DELETE", f"{JOB}/{folder}").status == 204


def test_a_link_is_renamed_within_its_job(gateway: Any) -> None:
    said = gateway.ask("GET", LINK).body
    assert move(gateway, LINK, f"{JOB}/Extras/%C3%BCber.mkv.rclonelink").status == 204
    assert gateway.ask("GET", f"{JOB}/Extras/%C3%BCber.mkv.rclonelink").body == said
    assert gateway.ask("HEAD", LINK).status == 404
    assert move(gateway, f"{JOB}/Extras", f"{JOB}/More").status == 204
    assert members(gateway, f"{JOB}/More") == ["Deleted Scenes", "über.mkv.rclonelink"]


@pytest.mark.parametrize(
    ("path", "onto", "status"),
    [
        (LINK, "/completed-symlinks/tv/Show.S01E01/film.mkv.rclonelink", 403),
        (LINK, "/completed-symlinks/movies/film.mkv.rclonelink", 403),
        (LINK, f"{JOB}/film.mkv", 403),
        (LINK, "/content/movies/film.mkv", 403),
        (LINK, f"{JOB}/none/film.mkv.rclonelink", 409),
        (JOB, "/completed-symlinks/movies/other", 403),
        (JOB, "/completed-symlinks/tv/other", 403),
        ("/completed-symlinks/movies", "/completed-symlinks/films", 403),
    ],
)
def test_a_link_that_would_be_lost_stays_where_it_is(
    gateway: Any, path: str, onto: str, status: int
) -> None:
    answer = move(gateway, path, onto)
    assert answer.status == status
    assert b"wsgidav" not in answer.body.lower()
    assert gateway.ask("HEAD", LINK).status == 200


def test_a_link_does_not_take_the_place_of_another_unasked(gateway: Any) -> None:
    other = f"{JOB}/film.srt.rclonelink"
    assert move(gateway, LINK, other, Overwrite="F").status == 412
    said = gateway.ask("GET", LINK).body
    assert move(gateway, LINK, other).status == 204
    assert gateway.ask("GET", other).body == said


@pytest.mark.parametrize("method", ["PUT", "MKCOL", "COPY", "PROPPATCH", "LOCK", "UNLOCK"])
@pytest.mark.parametrize("path", [LINK, f"{JOB}/new", JOB, "/completed-symlinks/movies"])
def test_links_are_made_by_imports_alone(gateway: Any, method: str, path: str) -> None:
    answer = gateway.ask(method, path, "x" if method == "PUT" else None, Destination="/dav/x")
    assert answer.status == 403
    assert answer.body.startswith(b"links are made by imports: ")
    assert gateway.ask("HEAD", LINK).status == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "MKCOL", "MOVE", "PROPPATCH", "LOCK"])
def test_what_links_lead_to_cannot_be_changed(deleting: Any, method: str) -> None:
    path = by_id(file_id(deleting))
    assert deleting.ask(method, path, Destination="/dav/.ids/0").status == 403
    assert deleting.ask("HEAD", path).status == 200


def test_options_say_what_can_be_done_with_links_and_releases(deleting: Any) -> None:
    assert deleting.ask("OPTIONS", LINK).headers["Allow"].endswith("PROPFIND, DELETE, MOVE")
    film = f"/content/movies/{quote(NAME)}/film.mkv"
    assert deleting.ask("OPTIONS", film).headers["Allow"].endswith("PROPFIND, DELETE")
    assert deleting.ask("OPTIONS", "/content/movies").headers["Allow"].endswith("HEAD, PROPFIND")
