"""Archives by RARLAB's programs, of rarfile's tests: what is stored and 7z takes out is mapped."""

from __future__ import annotations

import io
import re
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import rarfile
import seven_zip

from gateway.errors import UnsupportedArchive, WrongPassword
from gateway.nzb import rar
from gateway.nzb.archive import Volume
from gateway.nzb.nesting import view

ARCHIVES = Path(__file__).parents[1] / "peers" / "rarfile_archives"
PASSWORD = "password"
LEFT_OUT = re.compile(r"^\[VER\]/|;\d+$|_link$|^up$")  # older versions, links


def archives() -> dict[str, list[Path]]:
    """Return the volumes of each archive, the first one first, by what their names share."""
    found: dict[str, list[Path]] = defaultdict(list)
    paths = sorted(ARCHIVES.glob("*.r*"), key=lambda path: (path.suffix != ".rar", path.name))
    for path in paths:
        found[re.sub(r"(\.part\d+)?\.r\w\w$", "", path.name)].append(path)
    return found


each_archive = pytest.mark.parametrize("paths", archives().values(), ids=archives())


def contents(paths: Sequence[Path]) -> dict[str, bytes]:
    volumes = [Volume(one.name, one.stat().st_size, io.BytesIO(one.read_bytes())) for one in paths]
    return {inner.name: view(inner, volumes).read() for inner in rar.read(volumes, PASSWORD)}


def methods(listing: str) -> dict[str, str]:
    """Return the method of each file that 7z lists: "m0" is stored."""
    found = {}
    for block in listing.split("\n\n"):
        fields = dict(re.findall(r"^(\w+) = (.*)$", block, re.MULTILINE))
        if fields.get("Folder") == "-" and int(fields.get("Size") or 0):
            found[fields["Path"]] = fields["Method"]
    return found


@pytest.mark.system(seven_zip.RAR_NAMES)
@each_archive
def test_what_is_stored_is_mapped_as_7z_takes_it_out(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password, names = f"-p{PASSWORD}", seven_zip.RAR_NAMES
    listed = methods(seven_zip.run("l", "-slt", password, paths[0], cwd=tmp_path, names=names))
    stored = {name for name, method in listed.items() if re.search(r"(^|:)m0\b", method)}
    if stored < listed.keys():
        with pytest.raises(UnsupportedArchive, match=r"is compressed .*\(method m[1-5]"):
            contents(paths)
        monkeypatch.setattr(rar, "_refuse_compressed", lambda files: None)
    # It fails at compressed files, and at links that lead out, and takes out the rest.
    command = ["7z", "x", "-y", password, "-oout", str(paths[0])]
    subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    taken_out = {
        path.relative_to(tmp_path / "out").as_posix(): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    expected = {
        name: data
        for name, data in taken_out.items()
        if (name in stored if data else name not in listed) and not LEFT_OUT.search(name)
    }
    found = contents(paths)
    assert expected.items() <= found.items()
    assert found.keys() - expected.keys() <= {"up/pwned.txt"}  # a file "in" such a link


@each_archive
def test_no_program_is_started_for_a_comment(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("a program was started, or a file made")

    for name in ("Popen", "mkstemp"):
        monkeypatch.setattr(rarfile, name, never)
    with suppress(UnsupportedArchive):
        contents(paths)


def test_a_listing_has_what_is_compressed_encrypted_or_a_link_too() -> None:
    def listed(name: str, password: str | None = None) -> list[tuple[object, ...]]:
        data = (ARCHIVES / name).read_bytes()
        volume = Volume(name, len(data), io.BytesIO(data))
        return [tuple(one) for one in rar.contents([volume], password)]

    assert listed("rar5-psw.rar") == [
        ("stest1.txt", 2048, False, True, False),
        ("stest2.txt", 2048, True, True, False),
    ]
    assert ("data_link", None, True, False, True) in listed("rar3-symlink-unix.rar")
    with pytest.raises(WrongPassword):
        listed("rar5-hpsw.rar")
    assert len(listed("rar5-hpsw.rar", "password")) == 2
