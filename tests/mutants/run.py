"""Make the program worse on purpose, one change at a time, and see that a test notices.

Every mutant of `mutants.toml` is applied to a copy of the tree, never to the checkout; the test
that it names must pass in the unchanged copy and fail in the changed one. Exits with 1 when a
mutant survives, cannot be applied, or its test does not pass to begin with.
"""

# ruff: noqa: T201 - a program of its own, which prints a table

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = Path(__file__).with_name("mutants.toml")

# What the tests need of the tree.
COPIED = ("gateway", "webdav", "queue", "tests", "bench", "pyproject.toml", "settings.example.env")
PACKAGES = (".", "webdav", "queue")
TEST_S = 60
FAILED = 1  # pytest: tests were run, and some failed


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: *old*, which occurs once in *file*, becomes *new*, and *test* must fail."""

    name: str
    file: str
    old: str
    new: str
    test: str


def load() -> list[Mutant]:
    """Return the catalogue."""
    with CATALOGUE.open("rb") as file:
        return [Mutant(**entry) for entry in tomllib.load(file)["mutant"]]


class Copy:
    """A copy of the tree in *folder*, whose modules are the ones imported by its tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ignored = shutil.ignore_patterns("__pycache__", ".*_cache", ".hypothesis", "results")
        for name in COPIED:
            source, target = ROOT / name, folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=ignored)
            else:
                shutil.copy2(source, target)
        # No bytecode: two mutants of one length, made within a second, would share theirs.
        path = os.pathsep.join(str(folder / package) for package in PACKAGES)
        self._environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        found = self._run("-c", "import gateway; print(gateway.__file__)").stdout.strip()
        if Path(found).parent != folder / "gateway":
            raise SystemExit(f"the tests of the copy would import {found}")

    def test(self, *tests: str) -> subprocess.CompletedProcess[str]:
        options = ("-q", "-x", "-p", "no:cacheprovider", f"--timeout={TEST_S}")
        return self._run("-m", "pytest", *options, *tests)

    def outcome(self, mutant: Mutant) -> str:
        """Apply *mutant*, run its test and put the file back; return what to say of it."""
        path = self.folder / mutant.file
        text = path.read_text()
        if (count := text.count(mutant.old)) != 1:
            return f"NOT APPLIED: its text occurs {count} times"
        path.write_text(text.replace(mutant.old, mutant.new))
        try:
            done = self.test(mutant.test)
        finally:
            path.write_text(text)
        if done.returncode == 0:
            return "SURVIVED"
        if done.returncode != FAILED:
            return f"NOT RUN: pytest ended with {done.returncode}\n{done.stdout}{done.stderr}"
        return "killed"

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self._environment,
            check=False,
            capture_output=True,
            text=True,
        )


def main() -> int:
    """Try every mutant, or those whose names contain the first argument; print a table."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    mutants = [mutant for mutant in load() if wanted in mutant.name]
    with tempfile.TemporaryDirectory(prefix="nzb-gateway-mutants-") as folder:
        copy = Copy(Path(folder).resolve())
        unchanged = copy.test(*sorted({mutant.test for mutant in mutants}))
        if unchanged.returncode:
            print(unchanged.stdout, unchanged.stderr, "the unchanged copy fails", sep="\n")
            return 1
        escaped = 0
        for mutant in mutants:
            began = time.monotonic()
            outcome = copy.outcome(mutant)
            escaped += outcome != "killed"
            took = f"{time.monotonic() - began:4.1f} s"
            print(f"{outcome:<8}  {took}  {mutant.name}\n{'':18}{mutant.test}", flush=True)
    print(f"{len(mutants) - escaped} of {len(mutants)} mutants killed")
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
