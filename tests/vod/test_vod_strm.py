"""`nzb-gateway vod strm DIR` writes what Jellyfin reads, and touches nothing else."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api_client import Refused, Unreachable
from gateway.cli import main
from gateway.demo.xtream import Episode, Movie, Series, Trouble, XtreamServer
from gateway.errors import ConfigurationError
from gateway.nzb.names import safe_name
from gateway.settings import load
from gateway.vod import strm
from gateway.vod.strm import Entry, Folder, FolderUnusable, Names
from gateway.vod_command import write_strm

EVE = {"GATEWAY_VOD__USERS__EVE__PASSWORD": "her pässword"}
BASE = "http://tv.example:8080"


def files(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text()
        for path in sorted(root.rglob("*.strm"))
        if path.is_file()
    }


def run(environ: dict[str, str], folder: Path) -> int:
    """Run the command on *folder* with nothing but settings."""
    settings, out = load(environ=environ), io.StringIO()
    return write_strm(settings, folder, user=None, url=None, prune=False, out=out, shown=str)


# Paths ---------------------------------------------------------------------------------------


def test_paths_are_what_jellyfin_expects() -> None:
    names = Names()
    assert names.movie("A.Film.2001.1080p", 1) == "Movies/A Film (2001)/A Film (2001).strm"
    assert names.movie("A Film (2001)", 2) == "Movies/A Film (2001)/A Film (2001) - 2.strm"
    assert names.movie("a film (2001)", 3) == "Movies/a film (2001)/a film (2001) - 3.strm"
    assert names.movie("Film", 4) == "Movies/Film/Film.strm"
    assert names.movie("Film - 5", 6) == "Movies/Film - 5/Film - 5.strm"
    assert [names.movie("Film", 5) for _ in range(2)] == [
        "Movies/Film/Film - 5.strm",
        "Movies/Film/Film - 5 (2).strm",
    ]
    assert names.episode("Show (2005)", 1, 2, 5) == "Series/Show (2005)/Season 01/Show S01E02.strm"
    assert names.episode("Show", 12, 103, 6) == "Series/Show/Season 12/Show S12E103.strm"


@given(st.lists(st.text(), max_size=6), st.text())
def test_any_name_makes_a_safe_path_of_its_own(titles: list[str], show: str) -> None:
    names = Names()
    paths = [names.movie(title, number) for number, title in enumerate(titles)]
    paths += [names.episode(show, 1, 1, number) for number in range(2)]
    assert len({path.lower() for path in paths}) == len(paths)
    for path in paths:
        for part in path.split("/"):
            assert part == safe_name(part)
            assert not part.startswith(".")


# The folder ----------------------------------------------------------------------------------


def test_only_what_has_changed_is_written(tmp_path: Path) -> None:
    entries = [Entry("Movies/a/a.strm", "http://x/1"), Entry("Movies/b/b.strm", "http://x/2")]
    assert Folder(tmp_path).write(entries).written == 2
    before = {name: (tmp_path / name).stat() for name in files(tmp_path)}
    entries[1] = Entry("Movies/b/b.strm", "http://x/3")
    report = Folder(tmp_path).write(entries)
    assert (report.written, report.unchanged) == (1, 1)
    after = {name: (tmp_path / name).stat() for name in files(tmp_path)}
    assert before["Movies/a/a.strm"].st_mtime_ns == after["Movies/a/a.strm"].st_mtime_ns
    assert before["Movies/a/a.strm"].st_ino == after["Movies/a/a.strm"].st_ino
    assert before["Movies/b/b.strm"].st_ino != after["Movies/b/b.strm"].st_ino  # replaced whole
    assert files(tmp_path)["Movies/b/b.strm"] == "http://x/3\n"
    assert not list(tmp_path.rglob("*.tmp"))


def test_what_has_gone_is_told_and_removed_when_asked_for(tmp_path: Path) -> None:
    Folder(tmp_path).write(
        [
            Entry("Movies/a/a.strm", "http://x/1"),
            Entry("Movies/b/b.strm", "http://x/2"),
            Entry("Series/s/Season 01/s S01E01.strm", "http://x/3"),
        ]
    )
    (tmp_path / "Movies/b/poster.jpg").write_bytes(b"theirs")
    folder = Folder(tmp_path)
    report = folder.write([Entry("Movies/a/a.strm", "http://x/1")])
    assert report.stale == ["Movies/b/b.strm", "Series/s/Season 01/s S01E01.strm"]
    assert len(files(tmp_path)) == 3
    assert Folder(tmp_path).write([Entry("Movies/a/a.strm", "http://x/1")]).stale == report.stale
    assert folder.prune(report.stale) == 2
    assert list(files(tmp_path)) == ["Movies/a/a.strm"]
    assert (tmp_path / "Movies/b/poster.jpg").exists()
    assert not (tmp_path / "Series").exists()
    assert Folder(tmp_path).write([Entry("Movies/a/a.strm", "http://x/1")]).stale == []


def test_files_of_others_are_neither_overwritten_nor_removed(tmp_path: Path) -> None:
    theirs = tmp_path / "Movies/a/a.strm"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("http://elsewhere/\n")
    (tmp_path / "Movies/z.strm").write_text("http://elsewhere/\n")
    folder = Folder(tmp_path)
    report = folder.write([Entry("Movies/a/a.strm", "http://x/1")])
    assert (report.foreign, report.written, report.stale) == (["Movies/a/a.strm"], 0, [])
    assert folder.prune(["Movies/a/a.strm", "Movies/z.strm"]) == 0
    assert theirs.read_text() == "http://elsewhere/\n"


def test_a_file_that_became_something_else_is_not_removed(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write([Entry("Movies/a/a.strm", "http://x/1")])
    (tmp_path / "Movies/a/a.strm").write_text("my notes\n")
    report = folder.write([])
    assert folder.prune(report.stale) == 0
    assert (tmp_path / "Movies/a/a.strm").exists()


def test_no_link_and_no_list_leads_out_of_the_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "b").mkdir(parents=True)
    (outside / "b/b.strm").write_text("http://x/2\n")
    root = tmp_path / "root"
    root.mkdir()
    (root / "Movies").symlink_to(outside)
    evil = ["../outside/b/b.strm", "Movies/b/b.strm", str(outside / "b/b.strm"), "x.strm", 7]
    (root / strm.LIST).write_text(json.dumps({"files": evil}))
    folder = Folder(root)
    report = folder.write([Entry("Movies/a/a.strm", "http://x/1")])
    assert (report.foreign, report.stale) == (["Movies/a/a.strm"], [])
    assert folder.prune([str(path) for path in evil]) == 0
    assert sorted(path.name for path in outside.rglob("*")) == ["b", "b.strm"]


def test_a_list_that_is_damaged_stops_everything(tmp_path: Path) -> None:
    (tmp_path / strm.LIST).write_text("{")
    with pytest.raises(FolderUnusable, match="is no list of files"):
        Folder(tmp_path)


# The command -----------------------------------------------------------------------------------

Write = Callable[..., tuple[int, str]]


@pytest.fixture
def write(doors: Any, tmp_path: Path) -> Write:
    """A function that runs the command on tmp_path/tv: write(prune=False) → code, output."""

    def write(**how: Any) -> tuple[int, str]:
        settings = load(environ={"GATEWAY_PORT": str(doors.port), **EVE})
        out = io.StringIO()
        given = {"user": None, "url": BASE, "prune": False, **how}
        code = write_strm(settings, tmp_path / "tv", out=out, shown=str, **given)
        return code, out.getvalue()

    return write


def test_the_catalogue_becomes_files(
    write: Write, provider: XtreamServer, publish: Callable[..., None], tmp_path: Path
) -> None:
    provider.add(Movie(4711, "A Film (2001)"), Movie(12, 'EN: "Ä/Ö" <1>'))
    provider.add(Series(7, "Show (2005)", (Episode(71, 1, 2), Episode(72, 2, 1))))
    publish("movies", "Ours.2020.1080p", "ours.mp4")
    login = "eve/her%20p%C3%A4ssword"
    code, said = write()
    assert (code, said) == (0, "5 written, 0 unchanged, 0 removed\n")
    assert files(tmp_path / "tv") == {
        "Movies/A Film (2001)/A Film (2001).strm": f"{BASE}/movie/{login}/4711.mkv\n",
        "Movies/EN_ _Ä_Ö_ _1_/EN_ _Ä_Ö_ _1_.strm": f"{BASE}/movie/{login}/12.mkv\n",
        "Movies/Ours (2020)/Ours (2020).strm": f"{BASE}/movie/{login}/1000000001.mp4\n",
        "Series/Show (2005)/Season 01/Show S01E02.strm": f"{BASE}/series/{login}/71.mkv\n",
        "Series/Show (2005)/Season 02/Show S02E01.strm": f"{BASE}/series/{login}/72.mkv\n",
    }
    assert write() == (0, "0 written, 5 unchanged, 0 removed\n")


def test_what_has_left_the_catalogue_is_listed_then_pruned(
    write: Write, provider: XtreamServer, clock: Any, tmp_path: Path
) -> None:
    provider.add(Movie(1, "One"), Movie(2, "Two"))
    write()
    gone = [{"stream_id": 2, "name": "Two", "container_extension": "mkv"}]
    provider.fail(
        Trouble.ANSWER, api=True, target="get_vod_streams", body=json.dumps(gone).encode()
    )
    clock.now += 10_000
    code, said = write()
    assert code == 0
    assert "no longer in the catalogue: Movies/One/One.strm\n" in said
    assert "--prune" in said
    assert len(files(tmp_path / "tv")) == 2
    assert write(prune=True)[1] == "0 written, 1 unchanged, 1 removed\n"
    assert list(files(tmp_path / "tv")) == ["Movies/Two/Two.strm"]
    provider.heal()
    provider.fail(Trouble.ANSWER, api=True, target="get_vod_streams", body=b"[]")
    clock.now += 10_000
    with pytest.raises(Refused, match="nothing was removed: the catalogue is empty"):
        write(prune=True)
    assert list(files(tmp_path / "tv")) == ["Movies/Two/Two.strm"]


def test_a_provider_that_is_down_changes_no_file(
    write: Write, provider: XtreamServer, tmp_path: Path
) -> None:
    provider.fail(Trouble.REFUSE, api=True)
    with pytest.raises(Refused, match="profile 'bob' answered with HTTP status 503"):
        write(prune=True)
    assert not (tmp_path / "tv").exists()


def test_a_series_that_cannot_be_listed_keeps_its_files(
    write: Write, provider: XtreamServer, clock: Any, tmp_path: Path
) -> None:
    provider.add(Movie(1, "One"))
    provider.add(Series(7, "Show", (Episode(71),)), Series(8, "Other", (Episode(81),)))
    assert write()[0] == 0
    clock.now += 10_000
    changed = [
        {"series_id": 7, "name": "Show", "last_modified": "1700000001"},
        {"series_id": 9, "name": "New"},
    ]
    provider.fail(Trouble.ANSWER, api=True, target="get_series", body=json.dumps(changed).encode())
    # Series 7 has changed, and both profiles fail to say how; the new one has no episodes yet.
    provider.fail(Trouble.ANSWER, api=True, target="get_series_info", body=b"<html>", times=2)
    code, said = write(prune=True)
    assert code == 1
    assert "could not be listed, left as it is: Series/Show\n" in said
    assert list(files(tmp_path / "tv")) == [
        "Movies/One/One.strm",
        "Series/Show/Season 01/Show S01E01.strm",
    ]


def test_settings_that_do_not_fit_are_told(write: Write, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--user=bob does not exist: write eve"):
        write(user="bob")
    for url in (
        "tv.example",
        "ftp://x",
        "http://u:p@x",
        "http://x?y",
        "http://[",
        "http://x:99999",
    ):
        with pytest.raises(ConfigurationError, match="is no address of a gateway"):
            write(url=url)
    several = {**EVE, "GATEWAY_VOD__USERS__BOB__PASSWORD": "x"}
    for environ, words in [({}, "no VOD user is configured"), (several, "add --user, ")]:
        with pytest.raises(ConfigurationError, match=words):
            run(environ, tmp_path)


def test_a_gateway_with_other_settings_refuses(doors: Any, tmp_path: Path) -> None:
    environ = {"GATEWAY_PORT": str(doors.port), "GATEWAY_VOD__USERS__EVE__PASSWORD": "other"}
    with pytest.raises(Refused, match="refused the VOD user 'eve'"):
        run(environ, tmp_path)


def test_the_command_says_in_one_sentence_what_is_wrong(
    doors: Any,
    provider: XtreamServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["vod", "strm", "tv"]) == 2
    assert "no VOD user is configured" in capsys.readouterr().err
    monkeypatch.setenv("GATEWAY_VOD__USERS__EVE__PASSWORD", "her pässword")
    monkeypatch.setenv("GATEWAY_PORT", str(doors.port))
    provider.add(Movie(1, "One"))
    assert main(["vod", "strm", "tv", "--user", "EVE"]) == 0
    assert capsys.readouterr().out == "1 written, 0 unchanged, 0 removed\n"
    address = (tmp_path / "tv/Movies/One/One.strm").read_text()
    assert address == f"http://127.0.0.1:{doors.port}/movie/eve/her%20p%C3%A4ssword/1.mkv\n"
    (tmp_path / "file").write_text("")
    assert main(["vod", "strm", "file"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setenv("GATEWAY_PORT", "1")
    assert main(["vod", "strm", "tv"]) == 1
    assert "nothing listens on 127.0.0.1:1" in capsys.readouterr().err


def test_an_unreachable_gateway_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        run({"GATEWAY_PORT": "1", **EVE}, tmp_path)
