"""The tests' own writer of RAR archives: what 7z and libarchive take out is what went in."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import seven_zip
from rar_writer import Entry, Options, rar4, rar5

NOISE = bytes((number * number + 7 * number) % 253 for number in range(9000))
ENTRIES = [
    Entry("film/film.mkv", NOISE[:5003]),
    Entry("film/empty.nfo"),
    Entry("film/subs/ünïcödé €.srt", NOISE[:77]),
    Entry("film/subs", is_directory=True),
    Entry("film/sixteen.bin", NOISE[:16]),
    Entry("film/extra.mkv", NOISE[1:2001]),
]
VOLUMES = [
    Options(),
    Options(volume_size=1500),
    Options(volume_size=1500, old_names=True),
    Options(volume_size=1500, comment=b"posted by nobody"),
    Options(comment=b"posted by nobody"),
]
LOCKED = [
    Options(volume_size=size, password="geheim", encrypt_headers=headers)
    for size, headers in itertools.product((None, 1500), (False, True))
]

Writer = Callable[[Sequence[Entry], Options], list[tuple[str, bytes]]]
both_formats = pytest.mark.parametrize("write", [rar4, rar5], ids=["RAR 4", "RAR 5"])


def extracted(folder: Path) -> dict[str, bytes | None]:
    """Return what lies in *folder*, by path; None for a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


EXPECTED: dict[str, bytes | None] = {
    "film": None,
    **{entry.name: None if entry.is_directory else entry.data for entry in ENTRIES},
}


@pytest.mark.system(seven_zip.RAR_NAMES)
@both_formats
@pytest.mark.parametrize("options", [*VOLUMES, *LOCKED], ids=str)
def test_7z_takes_out_what_went_in(write: Writer, options: Options, tmp_path: Path) -> None:
    volumes = write(ENTRIES, options)
    for name, volume in volumes:
        (tmp_path / name).write_bytes(volume)
    password = f"-p{options.password or ''}"
    seven_zip.run("x", password, "-oout", volumes[0][0], cwd=tmp_path, names=seven_zip.RAR_NAMES)
    assert extracted(tmp_path / "out") == EXPECTED


@pytest.mark.system("bsdtar")
@both_formats
@pytest.mark.parametrize("options", VOLUMES, ids=str)
def test_libarchive_takes_out_what_went_in(write: Writer, options: Options, tmp_path: Path) -> None:
    joined = b"".join(volume for _, volume in write(ENTRIES, options))
    command = ["bsdtar", "-xf", "-", "-C", str(tmp_path)]
    done = subprocess.run(command, input=joined, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert extracted(tmp_path) == EXPECTED


@both_formats
@pytest.mark.parametrize("options", [*VOLUMES, *LOCKED], ids=str)
def test_no_volume_is_larger_than_asked(write: Writer, options: Options) -> None:
    sizes = [len(volume) for _, volume in write(ENTRIES, options)]
    if options.volume_size is None:
        assert len(sizes) == 1
    else:
        assert len(sizes) > 5
        assert max(sizes) <= options.volume_size
