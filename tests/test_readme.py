"""What the README and the pages beside it name exists, under that name."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from bench.throughput import suites
from gateway.cli import main
from gateway.settings import names
from gateway.settings_file import FILE_VARIABLE, Given

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def section(heading: str) -> str:
    """Return what stands in the README below *heading*."""
    found = re.search(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE
    )
    assert found is not None, f"the README has no section {heading!r}"
    return found[1]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of *page*."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_two_commands_stand_at_the_beginning() -> None:
    assert re.findall(r"^    (.*)$", section("Try it"), re.MULTILINE) == ["make demo", "make test"]


@each_page
def test_every_target_of_make_that_it_names_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    named = re.findall(r"(?:^    |`)(?:\w+=\w+ )?make ([\w-]+)(?:`|$)", text, re.MULTILINE)
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert set(named) <= set(targets)
    assert page.name != "README.md" or {"demo", "test", "lint", "bench"} <= set(named)


@each_page
def test_every_command_of_the_gateway_that_it_names_exists(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = page.read_text("utf-8")
    pattern = r"bin/nzb-gateway(?: --settings \S+)? (\w+)|`nzb-gateway (\w+)"
    for first, second in set(re.findall(pattern, text)):
        with pytest.raises(SystemExit) as ended:
            main([first or second, "--help"])
        assert ended.value.code == 0, first or second
    capsys.readouterr()


@each_page
def test_every_setting_that_it_names_exists(page: Path) -> None:
    known = names()
    for name in set(re.findall(r"GATEWAY_[A-Z0-9_]+", page.read_text("utf-8"))):
        if name in {FILE_VARIABLE, "GATEWAY_REQUIRE_SYSTEM"}:
            continue
        assert known.problem(Given(name, "", page.name)) is None


def test_the_fields_of_a_provider_are_all_named() -> None:
    (row,) = re.findall(r"^\| providers \|.*$", section("Settings"), re.MULTILINE)
    fields = {name.rpartition("__")[2] for name in re.findall(r"`([A-Z_]+)`", row)} - {"MAIN"}
    assert fields == names().sections["PROVIDERS"]


@each_page
def test_every_file_that_it_links_exists(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    assert page.name != "README.md" or "docs/overview.svg" in targets
    for target in targets:
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.is_relative_to(ROOT), target
        assert linked.is_file(), target
        assert not anchor or anchor in anchors(linked), target


def test_every_dependency_has_its_reason_and_no_other_is_named() -> None:
    rows = re.findall(r"^\| ([\w-]+) \| (.+) \|$", section("Dependencies"), re.MULTILINE)
    reasons = {name: reason for name, reason in rows if name != "package"}
    pinned = [re.split(r"[=<>~!\[; ]", one)[0] for one in PYPROJECT["project"]["dependencies"]]
    assert sorted(reasons) == sorted(pinned)
    assert all(len(reason) > 15 for reason in reasons.values())


def test_the_python_that_it_asks_for_is_that_of_the_package() -> None:
    (asked,) = re.findall(r"Python (\d\.\d+) or newer", section("Try it"))
    assert PYPROJECT["project"]["requires-python"] == f">={asked}"


def test_every_suite_of_the_bench_that_it_names_exists() -> None:
    (named,) = re.findall(r"python -m bench ([\w ]+)$", section("Working on it"), re.MULTILINE)
    assert set(named.split()) <= set(suites(1, 1))
