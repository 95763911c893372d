"""`nzb-gateway library`, as somebody types it, against a gateway that runs."""

from __future__ import annotations

import errno
import gzip
import http.client
import io
import json
import os
import random
import re
import socket
import sqlite3
from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from gateway.api_client import ApiClient
from gateway.app import Gateway
from gateway.cli import main
from gateway.demo import NewsServer, make_bulk_post
from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import LinkKind, NewFile, NewPosted, NewRelease, Release
from gateway.library_command import remove
from gateway.nzb.extents import PartTable, Run
from gateway.settings import load
from gateway_queue.telling import Ended

NZB = b'<?xml version="1.0"?>\r\n<nzb>' + b"<!-- as it came -->" * 50 + b"</nzb>\n"

Run_ = Callable[..., tuple[int, list[str], list[str]]]
Publish = Callable[..., Release]


pytestmark = pytest.mark.usefixtures("own_settings")


@pytest.fixture
def library(gateway: Gateway) -> Iterator[tuple[Database, Library]]:
    database = Database(load().database)
    library = Library(database)
    yield database, library
    library.close()
    database.close()


@pytest.fixture
def publish(library: tuple[Database, Library]) -> Publish:
    """Publish a film of 25 bytes on Usenet, or one that lies in the folder *disk*."""

    def publish(
        name: str,
        category: str = "movies",
        *,
        nzb: bytes = NZB,
        disk: Path | None = None,
        content: bytes = b"x" * 25,
    ) -> Release:
        table = PartTable.regular([b"a@x", b"b@x", b"c@x"], 25, 10)
        file = NewFile("film.mkv", 25, (Run(0, 0, 25),))
        if disk is not None:
            disk.mkdir(parents=True)
            (disk / "film.mkv").write_bytes(content)
            file = NewFile("film.mkv", len(content), disk=disk / "film.mkv")
        new = NewRelease(
            category,
            name,
            1_700_040_000.0,  # noon, or near enough, wherever the tests run
            nzb,
            () if disk else (NewPosted("film.mkv", table),),
            (file,),
            "hunter2",
            LinkKind.SYMLINK,
        )
        with library[0].begin() as tx:
            return library[1].publish(tx, new)

    return publish


@pytest.fixture
def run(command: Run_) -> Run_:
    """Run one of its commands; return its exit code, and the lines that it printed."""
    return partial(command, "library")


# list ------------------------------------------------------------------------------------------


def test_releases_are_listed_as_a_table(publish: Publish, run: Run_, tmp_path: Path) -> None:
    publish("Film (2020)")
    publish("Other", disk=tmp_path / "complete" / "movies" / "Other")
    publish("Series S01", "tv")
    assert run("list") == (
        0,
        [
            "ADDED       FILES     SIZE  HEALTH    LINKS    LAST READ   RELEASE",
            "2023-11-15      1     25 B  UNKNOWN   waiting  -           movies/Film (2020)",
            "2023-11-15      1     25 B  UNKNOWN   waiting  -           movies/Other (on the disk)",
            "2023-11-15      1     25 B  UNKNOWN   waiting  -           tv/Series S01",
            "3 releases, 75 B",
        ],
        [],
    )
    assert run("list", "film")[1][-1] == "1 release, 25 B"
    assert run("list", "--category", "tv", "--sort", "added")[1][-1] == "1 release, 25 B"
    assert run("list", "--unlinked", "--unread-for", "1d", "--health", "failed")[1][1:] == [
        "0 releases, 0 B"
    ]


def test_an_array_with_a_line_for_each_release_is_for_scripts(publish: Publish, run: Run_) -> None:
    assert json.loads("\n".join(run("list", "--json")[1])) == []
    publish("B")
    publish("A")
    code, out, _ = run("list", "--json", "--sort", "size")
    assert (code, len(out)) == (0, 4)
    found = json.loads("\n".join(out))
    assert [one["name"] for one in found] == ["A", "B"]
    assert found[0]["password"] is True
    assert "hunter2" not in str(out)


def test_only_what_nobody_links_to_in_the_folders_is_listed(
    publish: Publish, run: Run_, library: tuple[Database, Library], tmp_path: Path
) -> None:
    media = tmp_path / "media"
    media.mkdir()
    releases = [publish(name) for name in ("Linked", "Waiting", "Gone")]
    (entry,) = library[1].entries(releases[0]).files
    place = "/".join((*entry.id[:3], entry.id))
    (media / "film.mkv").symlink_to(f"/mnt/nzb-gateway/.ids/{place}")
    (media / "old.mkv").symlink_to(f"/mnt/nzb-gateway/.ids/0/0/0/{'0' * 32}")
    with sqlite3.connect(tmp_path / "data" / "library.sqlite") as raw:
        # As an *arr leaves it: the links were moved into its library, years ago.
        raw.execute("DELETE FROM links WHERE folder NOT LIKE 'Waiting%'")
        raw.execute("UPDATE left_links SET gone_at = 1.0")
    raw.close()
    code, out, err = run("list", "--roots", str(media))
    assert (code, err) == (0, [])
    assert [line.split()[-1] for line in out[1:-3]] == ["movies/Gone"]
    waiting = "not listed: 1 release whose links still wait to be imported (in completed-symlinks)"
    assert out[-2] == waiting
    assert out[-1] == "2 links into the library found in 1 folder, 1 of them to nothing"
    (media / "elsewhere").symlink_to("/usr")
    code, out, err = run("list", "--json", "--roots", str(media))
    assert (code, [one["name"] for one in json.loads("\n".join(out))]) == (4, ["Gone"])
    assert 'name "/usr" too' in err[0]
    assert err[1:] == [f"nzb-gateway: {waiting}"]
    code, out, err = run("list", "--roots", str(media), str(tmp_path / "none"))
    assert (code, out) == (1, [])
    assert "cannot be looked into (No such file or directory)" in err[0]


def test_what_was_imported_during_the_look_is_not_called_unlinked(
    publish: Publish, run: Run_, tmp_path: Path
) -> None:
    publish("Film")
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "x").touch()
    with sqlite3.connect(tmp_path / "data" / "library.sqlite") as raw:
        raw.execute("DELETE FROM links")
        raw.execute("UPDATE left_links SET gone_at = 9e9")
    raw.close()
    code, out, err = run("list", "--roots", "media")
    assert (code, out[1]) == (4, "0 releases, 0 B")
    assert out[2] == "not listed: 1 release added or imported during the look"
    assert err == [
        'nzb-gateway: "media" has no link into the library: leave it out if that is right'
    ]


def test_what_an_arr_takes_out_of_the_mount_is_unlinked_and_what_is_read_is_known(
    gateway: Gateway, publish: Publish, run: Run_, tmp_path: Path
) -> None:
    publish("Film", disk=tmp_path / "complete" / "movies" / "Film")
    link = "/dav/completed-symlinks/movies/Film/film.mkv.rclonelink"
    assert run("list", "--unlinked")[1][-1] == "0 releases, 0 B"
    assert ask_dav(gateway, "DELETE", link) == (204, b"")
    (release,) = json.loads("\n".join(run("list", "--unlinked", "--json")[1]))
    assert (release["links"], release["last_read"]) == ("gone", None)
    assert release["links_gone_at"] > release["added"]
    assert ask_dav(gateway, "GET", "/dav/content/movies/Film/film.mkv") == (200, b"x" * 25)
    (release,) = json.loads("\n".join(run("list", "--unlinked", "--json")[1]))
    assert release["last_read"] >= release["links_gone_at"]
    shown = run("show", "Film")[1]
    assert any(line.startswith("  links      all taken away, the last one ") for line in shown)
    assert run("list", "--unlinked", "--unread-for", "1d")[1][-1] == "0 releases, 0 B"


def ask_dav(gateway: Gateway, method: str, path: str) -> tuple[int, bytes]:
    link = http.client.HTTPConnection("127.0.0.1", gateway.server.port, timeout=30)
    login = f"{gateway.keys.webdav_user}:{gateway.keys.webdav_password}".encode()
    try:
        link.request(method, path, headers={"Authorization": f"Basic {b64encode(login).decode()}"})
        response = link.getresponse()
        return response.status, response.read()
    finally:
        link.close()


# show ------------------------------------------------------------------------------------------


def test_all_that_is_known_of_a_release_is_shown_but_its_password(
    publish: Publish, run: Run_, tmp_path: Path
) -> None:
    disk = tmp_path / "complete" / "movies" / "Film"
    publish("Film", disk=disk)
    code, out, err = run("show", "movies/Film")
    assert (code, err) == (0, [])
    assert re.fullmatch(r"  added      2023-11-15 \d\d:\d\d", out.pop(1))
    assert out[:2] == [
        "movies/Film",
        "  contents   1 file, 25 B, on the disk",
    ]
    assert "  links      1 link to be imported" in out
    assert "             completed-symlinks/movies/Film/film.mkv.rclonelink" in out
    assert "  password   known" in out
    assert any(line.startswith(f"  NZB        {len(NZB):,} bytes, ") for line in out)
    assert f"    on the disk: {disk}/film.mkv" in out
    assert "    25 bytes, UNKNOWN: never checked" in out
    assert "hunter2" not in str(out) + str(run("show", "Film", "--json")[1])


def test_an_unknown_release_is_told_with_names_like_it(publish: Publish, run: Run_) -> None:
    publish("Film (2020)")
    for command in ("show", "rm", "export"):
        assert run(command, "Flim (2020)") == (
            1,
            [],
            ["nzb-gateway: no release is called 'Flim (2020)': perhaps 'Film (2020)'"],
        )


# rm --------------------------------------------------------------------------------------------


def test_removing_says_what_goes_and_takes_it_from_the_disk(
    gateway: Gateway,
    publish: Publish,
    run: Run_,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[Ended] = []
    monkeypatch.setattr(gateway.teller, "ended", told.append)
    disk = tmp_path / "complete" / "movies" / "Film"
    publish("Film", disk=disk)
    publish("Other")
    code, out, _ = run("rm", "--yes", "Film", "Other", "movies/Film")
    assert (code, out) == (
        0,
        [
            "movies/Film",
            "  added 2023-11-15, 1 file, 25 B, and the NZB",
            f"  film.mkv, 25 B, on the disk: {disk}/film.mkv",
            "  link completed-symlinks/movies/Film/film.mkv.rclonelink",
            "movies/Other",
            "  added 2023-11-15, 1 file, 25 B, and the NZB",
            "  film.mkv, 25 B",
            "  link completed-symlinks/movies/Other/film.mkv.rclonelink",
            "removed movies/Film: 1 file, 25 B",
            "removed movies/Other: 1 file, 25 B",
        ],
    )
    assert not disk.exists()
    assert run("list")[1][-1] == "0 releases, 0 B"
    assert [(one.folder, one.name, one.removed) for one in told] == [
        ("movies", "Film", True),
        ("movies", "Other", True),
    ]


def test_nobody_to_ask_or_a_name_of_two_removes_nothing(
    publish: Publish, run: Run_, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("Film")
    publish("Film", "tv")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    code, _, err = run("rm", "tv/Film")
    assert (code, "Add --yes" in err[0]) == (1, True)
    code, out, err = run("rm", "--yes", "Film")
    assert (code, out) == (1, [])
    assert err[0].endswith("2 releases are called 'Film': write 'movies/Film' or 'tv/Film'")
    assert run("list")[1][-1] == "2 releases, 50 B"


def test_who_reads_a_release_that_is_removed_reads_on(
    gateway: Gateway, publish: Publish, run: Run_, tmp_path: Path
) -> None:
    disk = tmp_path / "complete" / "movies" / "Film"
    content = random.Random(1).randbytes(16 << 20)  # more than sockets hold
    publish("Film", disk=disk, content=content)
    link = http.client.HTTPConnection("127.0.0.1", gateway.server.port, timeout=30)
    login = f"{gateway.keys.webdav_user}:{gateway.keys.webdav_password}".encode()
    head = {"Authorization": f"Basic {b64encode(login).decode()}"}
    link.request("GET", "/dav/content/movies/Film/film.mkv", headers=head)
    response = link.getresponse()
    first = response.read(1000)
    assert run("rm", "--yes", "Film")[0] == 0
    assert not disk.exists()
    assert first + response.read() == content
    link.close()


def test_somebody_at_a_terminal_is_asked(publish: Publish, run: Run_) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    publish("Film")
    client = ApiClient.of(load())
    for answer, code, left in (("\n", 1, 1), ("no\n", 1, 1), ("", 1, 1), ("Y\n", 0, 0)):
        out = io.StringIO()
        assert remove(client, ["Film"], yes=False, answers=Terminal(answer), out=out) == code
        assert "Remove 1 release for good? [y/N] " in out.getvalue()
        assert run("list")[1][-1].startswith(f"{left} release")


# export ----------------------------------------------------------------------------------------


def test_an_nzb_is_kept_compressed_and_exported_as_it_came(
    publish: Publish, run: Run_, tmp_path: Path
) -> None:
    publish("Film (2020)")
    packed = gzip.compress(NZB)
    publish("Packed", nzb=packed)
    with sqlite3.connect(tmp_path / "data" / "library.sqlite") as raw:
        (kept,) = raw.execute("SELECT nzb FROM releases WHERE name = 'Film (2020)'").fetchone()
    raw.close()
    assert len(kept) < len(NZB) / 5
    assert run("export", "Film (2020)", "Packed", "--to", "out") == (
        0,
        ["out/Film (2020).nzb", "out/Packed.nzb.gz"],
        [],
    )
    assert (tmp_path / "out" / "Film (2020).nzb").read_bytes() == NZB
    assert (tmp_path / "out" / "Packed.nzb.gz").read_bytes() == packed


def test_what_was_added_is_what_is_exported(
    run: Run_, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    post = make_bulk_post("film.mkv", 20_000, part_size=1000)
    packed = gzip.compress(post.nzb)
    (tmp_path / "Film.nzb").write_bytes(post.nzb)
    (tmp_path / "Packed.nzb.gz").write_bytes(packed)
    with NewsServer() as server:
        server.add(post)
        monkeypatch.setenv("GATEWAY_PROVIDERS__MAIN__HOST", server.host)
        monkeypatch.setenv("GATEWAY_PROVIDERS__MAIN__PORT", str(server.port))
        monkeypatch.setenv("GATEWAY_PROVIDERS__MAIN__TLS", "false")
        with Gateway(load()) as gateway:
            monkeypatch.setenv("GATEWAY_PORT", str(gateway.server.port))
            assert main(["add", "Film.nzb", "Packed.nzb.gz"]) == 0
            client = ApiClient.of(load())
            for _ in range(600):
                ended = client.history()["jobs"]
                if len(ended) == 2:
                    break
                Event().wait(0.05)
            assert [job["state"] for job in ended] == ["completed"] * 2
            assert run("export", "--all", "--to", "out")[1][-1] == "2 NZBs written to out"
    assert (tmp_path / "out/uncategorized/Film.nzb").read_bytes() == post.nzb
    assert (tmp_path / "out/uncategorized/Packed.nzb.gz").read_bytes() == packed


def test_what_is_there_already_is_overwritten_only_by_force(
    publish: Publish, run: Run_, tmp_path: Path
) -> None:
    publish("Film")
    publish("Film", "tv", nzb=b"<nzb/>")
    (tmp_path / "Film.nzb").write_bytes(b"mine")
    assert run("export", "movies/Film") == (
        1,
        [],
        ['nzb-gateway: "Film.nzb" is there and differs: --force overwrites it'],
    )
    assert (tmp_path / "Film.nzb").read_bytes() == b"mine"
    # Not even by force does one of two of the same name overwrite the other.
    assert run("export", "--force", "movies/Film", "tv/Film")[0] == 1
    assert (tmp_path / "Film.nzb").read_bytes() == NZB
    assert run("export", "movies/Film")[1] == ["0 NZBs written to ., 1 were there"]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["Film.nzb"]


def test_everything_is_exported_by_category_and_gone_on_with(
    publish: Publish, run: Run_, tmp_path: Path
) -> None:
    publish("Film")
    publish("Film", "tv")
    publish("x" * 255, "tv")
    assert run("export", "--all", "--to", "all")[1] == ["3 NZBs written to all"]
    found = sorted(path.relative_to(tmp_path) for path in (tmp_path / "all").rglob("*.nzb"))
    assert found == [
        Path("all/movies/Film.nzb"),
        Path("all/tv/Film.nzb"),
        Path(f"all/tv/{'x' * 251}.nzb"),
    ]
    (tmp_path / "all" / "tv" / "Film.nzb").unlink()
    assert run("export", "--all", "--to", "all")[1] == ["1 NZB written to all, 2 were there"]


def test_everything_is_exported_over_one_connection_and_over_another_after_a_restart(
    publish: Publish, run: Run_, monkeypatch: pytest.MonkeyPatch, gateway: Gateway
) -> None:
    made: list[http.client.HTTPConnection] = []
    connect, nzb = http.client.HTTPConnection.connect, ApiClient.nzb

    def counted(self: http.client.HTTPConnection) -> None:
        made.append(self)
        connect(self)

    def cut(self: ApiClient, release_id: int) -> bytes:
        made[-1].sock.shutdown(socket.SHUT_RDWR)
        return nzb(self, release_id)

    monkeypatch.setattr(http.client.HTTPConnection, "connect", counted)
    for name in "ABC":
        publish(name)
    assert run("export", "--all", "--to", "one")[1] == ["3 NZBs written to one"]
    assert len(made) == 1
    monkeypatch.setattr(ApiClient, "nzb", cut)
    assert run("export", "--all", "--to", "two")[1] == ["3 NZBs written to two"]
    assert len(made) == 1 + 1 + 3


def test_an_export_that_is_ended_half_way_leaves_no_half_file(
    publish: Publish, run: Run_, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[list[str]] = []

    def interrupt(source: object, target: object, **_: object) -> None:
        seen.append([path.name for path in (tmp_path / "all/movies").iterdir()])
        raise KeyboardInterrupt

    publish("Film")
    with monkeypatch.context() as patched:
        patched.setattr(os, "link", interrupt)
        assert run("export", "--all", "--to", "all") == (130, [], [])
    assert all(name.startswith(".") for names in seen for name in names)
    assert list((tmp_path / "all/movies").iterdir()) == []
    assert run("export", "--all", "--to", "all")[1] == ["1 NZB written to all"]
    assert (tmp_path / "all/movies/Film.nzb").read_bytes() == NZB


def test_one_goes_to_the_standard_output(
    publish: Publish, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    publish("Film")
    assert main(["library", "export", "Film", "--to", "-"]) == 0
    assert capfdbinary.readouterr().out == NZB
    for arguments in (["--all", "--to", "-"], ["a", "b", "--to", "-"], [], ["--all", "a"]):
        assert main(["library", "export", *arguments]) == 1


def test_where_no_gateway_runs_one_sentence_says_so_and_the_code_is_1(
    run: Run_, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GATEWAY_API_KEY", "k")
    monkeypatch.setenv("GATEWAY_PORT", "1")
    (tmp_path / "a file").touch()
    for arguments in (
        ["list"],
        ["list", "--json"],
        ["list", "--sort", "size"],
        ["list", "--roots", "."],
        ["show", "x"],
        ["rm", "x"],
        ["export", "x"],
        ["export", "--all"],
    ):
        code, out, (complaint,) = run(*arguments)
        assert (code, out) == (1, [])
        assert complaint.startswith("nzb-gateway: nothing listens on 127.0.0.1:1: ")


def test_nzbs_are_exported_to_a_disk_without_hard_links(
    publish: Publish, run: Run_, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: object, target: object, **_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(source))

    monkeypatch.setattr(os, "link", refuse)
    publish("Film (2020)")
    publish("Other")
    (tmp_path / "Other.nzb").write_bytes(b"mine")
    code, out, err = run("export", "Film (2020)", "Other")
    assert (code, out) == (1, ["Film (2020).nzb"])
    assert "is there and differs" in err[0]
    assert (tmp_path / "Film (2020).nzb").read_bytes() == NZB
    assert (tmp_path / "Other.nzb").read_bytes() == b"mine"
    assert list(tmp_path.glob(".*.part")) == []
