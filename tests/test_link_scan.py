"""Which releases the links in folders of media lead to, and what is not known of them."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from gateway.link_scan import Reached, RootMissing, Seen, check_roots, scan

MOUNT = PurePosixPath("/mnt/nzb-gateway")
ID = "ab3" + "0" * 29
KEY = {"id": ID, "number": 12, "disk": "/srv/complete/movies/Film/film.mkv"}
FILM: dict[str, Any] = {"category": "movies", "name": "Film", "keys": [KEY]}


def looked(*roots: Path) -> tuple[Reached, Seen]:
    reached = Reached(MOUNT, Path("/srv/complete"))
    return reached, scan(roots, reached)


@pytest.mark.parametrize(
    "target",
    [
        f"{MOUNT}/.ids/a/b/3/{ID}",
        f"{MOUNT}/.ids/a/b/3/{ID}.mkv",
        f"/elsewhere/it/is/mounted/.ids/a/b/3/{ID}",
        f"../../mnt/nzb-gateway/.ids/a/b/3/{ID}",
        f"{MOUNT}/content/movies/Film/film.mkv",
        f"{MOUNT}/content/movies/Film",
        f"{MOUNT}/completed-symlinks/movies/Film/film.mkv",
        "/srv/complete/movies/Film/film.mkv",
        "/srv/complete/movies/Film",
    ],
)
def test_symbolic_links_lead_to_a_release(tmp_path: Path, target: str) -> None:
    (tmp_path / "Films" / "Film (2020)").mkdir(parents=True)
    (tmp_path / "Films" / "Film (2020)" / "film.mkv").symlink_to(target)
    reached, seen = looked(tmp_path)
    assert (seen.links, seen.warnings) == (1, [])
    assert reached.leads_to(FILM)
    assert reached.leads_nowhere() == 0


@pytest.mark.parametrize("begin", ["g", "_", "Z", "é"])
def test_what_only_looks_like_an_id_leads_nowhere(tmp_path: Path, begin: str) -> None:
    like = f"/.ids/{begin}/b/3/{begin}b3{ID[3:]}"
    (tmp_path / "film.mkv").symlink_to(f"{MOUNT}{like}")
    (tmp_path / "film.strm").write_text(f"http://nas/dav{like}")
    reached, seen = looked(tmp_path)
    assert seen.links == 0
    assert reached.leads_nowhere() == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.strm", f"http://gateway:secret@nas:8080/dav/.ids/a/b/3/{ID}.mkv\n"),
        ("a.STRM", "https://nas/base/dav/content/movies/Film/film%201.mkv"),
        ("a.strm", "# a comment\r\nhttp://nas/movie/bob/pw/1000000012.mkv\r\n"),
        ("a.strm", "http://nas/series/bob/pw/1000000012.mkv"),
        ("a.strm", f"{MOUNT}/.ids/a/b/3/{ID}"),
        ("a.mkv.rclonelink", f"{MOUNT}/.ids/a/b/3/{ID}"),
    ],
)
def test_files_with_addresses_lead_to_a_release(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    reached, seen = looked(tmp_path)
    assert seen.links == 1
    assert reached.leads_to(FILM)


def test_what_leads_elsewhere_is_no_link_into_the_library(tmp_path: Path) -> None:
    (tmp_path / "a.strm").write_text("http://nas/movie/bob/pw/12.mkv")  # a provider's film
    (tmp_path / "b.strm").write_bytes(b"\xff\x00http://[")
    (tmp_path / "c.mkv").symlink_to("/content/movies/Film/film.mkv")
    (tmp_path / "d.mkv").symlink_to(f"{MOUNT}/.ids/a/b/4/{ID}")
    (tmp_path / "e.mkv").write_text(f"{MOUNT}/.ids/a/b/3/{ID}")
    reached, seen = looked(tmp_path)
    assert seen.links == 0
    assert seen.warnings == [
        f'"{tmp_path}" has no link into the library: leave it out if that is right'
    ]
    assert not reached.leads_to(FILM)


def test_a_link_to_what_is_gone_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a.mkv").symlink_to(f"{MOUNT}/.ids/a/b/4/ab4{ID[3:]}")
    reached, seen = looked(tmp_path)
    assert seen.links == 1
    assert not reached.leads_to(FILM)
    assert reached.leads_nowhere() == 1


def test_a_folder_that_is_missing_or_empty_says_nothing(tmp_path: Path) -> None:
    with pytest.raises(RootMissing, match=r"No such file.*nothing is listed"):
        check_roots([tmp_path / "none"])
    with pytest.raises(RootMissing, match="is empty, as a folder is whose disk is not mounted"):
        check_roots([tmp_path])
    (tmp_path / "file").touch()
    with pytest.raises(RootMissing, match="Not a directory"):
        check_roots([tmp_path / "file"])
    check_roots([tmp_path])


def test_a_folder_that_cannot_be_looked_into_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.mkv").symlink_to(f"{MOUNT}/.ids/a/b/3/{ID}")
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith("closed"):  # who tests may be root, to whom nothing is closed
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    reached, seen = looked(tmp_path)
    assert reached.leads_to(FILM)
    (warning,) = seen.warnings
    assert warning.startswith(f'"{tmp_path}/closed" could not be looked at (Permission denied)')


def test_links_to_folders_are_told_and_not_followed(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    for folder in (root, other):
        folder.mkdir()
    (other / "a.mkv").symlink_to(f"{MOUNT}/.ids/a/b/3/{ID}")
    (root / "more").symlink_to("../other")
    (root / "loop").symlink_to(".")
    reached, seen = looked(root)
    assert not reached.leads_to(FILM)
    assert len(seen.warnings) == 3
    assert f'name "{other}" too' in " ".join(seen.warnings)
