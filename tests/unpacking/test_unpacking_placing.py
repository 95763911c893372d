"""A finished folder put where people see it."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from gateway.errors import StorageError, StorageFull
from gateway_queue.unpacking.placing import place


def job(tmp_path: Path, text: str = "film") -> Path:
    folder = tmp_path / f"job of {text}"
    (folder / "Subs").mkdir(parents=True)
    (folder / "film.mkv").write_text(text)
    (folder / "Subs" / "film.srt").write_text("subtitles")
    return folder


def test_a_folder_appears_whole_under_a_safe_name(tmp_path: Path) -> None:
    folder = job(tmp_path)

    place(folder, tmp_path / "movies", '../Some: "Film"')

    (placed,) = (tmp_path / "movies").iterdir()
    assert placed.name == ".._Some_ _Film_"
    assert (placed / "film.mkv").read_text() == "film"
    assert (placed / "Subs" / "film.srt").read_text() == "subtitles"
    assert not folder.exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    movies = tmp_path / "movies"
    movies.mkdir()
    (movies / "Film (2)").write_text("a file")
    (movies / "Film (3)").mkdir()  # empty: as good as nothing

    places = [place(job(tmp_path, text), movies, "Film") for text in ("one", "two")]

    assert [path.name for path in places] == ["Film", "Film (3)"]
    assert (movies / "Film" / "film.mkv").read_text() == "one"
    assert (movies / "Film (2)").read_text() == "a file"
    assert (movies / "Film (3)" / "film.mkv").read_text() == "two"


def test_of_two_downloads_of_one_name_none_takes_the_place_of_the_other(tmp_path: Path) -> None:
    jobs = [job(tmp_path, f"film {n}") for n in range(8)]
    barrier = threading.Barrier(len(jobs))

    def run(folder: Path) -> None:
        barrier.wait()
        place(folder, tmp_path / "movies", "Film")

    threads = [threading.Thread(target=run, args=(folder,)) for folder in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    placed = sorted((tmp_path / "movies").iterdir())
    assert len(placed) == len(jobs)
    assert {(path / "film.mkv").read_text() for path in placed} == {f"film {n}" for n in range(8)}


def test_everything_is_synced_before_it_appears_and_its_place_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, done = job(tmp_path), []
    fsync, rename = os.fsync, Path.rename

    def synced(handle: int) -> None:
        done.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    def renamed(self: Path, target: Path) -> Path:
        done.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)

    place(folder, tmp_path / "movies", "Film")

    assert sorted(done[:4]) == sorted(["film.srt", "Subs", "film.mkv", "job of film"])
    assert done[4:] == ["rename", "movies"]


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (errno.ENOSPC, StorageFull, "is full"),
        (errno.EXDEV, StorageError, "two file systems"),
        (errno.EACCES, StorageError, "Permission denied"),
    ],
)
def test_what_the_disk_refuses_is_said_in_words(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    error: type[Exception],
    words: str,
) -> None:
    folder = job(tmp_path)

    def refused(self: Path, target: Path) -> Path:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "rename", refused)

    with pytest.raises(error, match=words):
        place(folder, tmp_path / "movies", "Film")

    assert (folder / "film.mkv").exists()
