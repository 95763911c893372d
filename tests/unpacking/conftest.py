"""A folder with a post in it, in a folder in which nothing else may ever appear."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """What lies around the folders of a test: unchanged at its end, whatever was unpacked."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("not to be read")
    (folder / "mine").mkdir()
    yield folder
    assert sorted(path.name for path in folder.iterdir()) == ["mine", "secret"]
    assert (folder / "secret").read_text() == "not to be read"
    assert (folder / "secret").stat().st_nlink == 1
    assert {path.name for path in (folder / "mine").iterdir()} <= {"post", "done"}
    assert not [*folder.rglob(".*")]


@pytest.fixture
def post(outside: Path) -> Path:
    folder = outside / "mine" / "post"
    folder.mkdir()
    return folder


@pytest.fixture
def done(outside: Path) -> Path:
    return outside / "mine" / "done"
