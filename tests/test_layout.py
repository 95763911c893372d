"""The shape of the repository."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import gateway
import gateway_queue
import gateway_webdav

ROOT = Path(__file__).parents[1]


def test_no_folder_at_the_root_takes_the_place_of_a_standard_module() -> None:
    # queue/__init__.py would break cheroot and concurrent.futures for whatever starts here.
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert "gateway" in packages
    assert packages.isdisjoint(sys.stdlib_module_names)


def test_the_wheel_carries_the_three_packages_from_where_they_are_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    listed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    imported = [
        str(Path(package.__file__ or "").parent.relative_to(ROOT))
        for package in (gateway, gateway_webdav, gateway_queue)
    ]
    assert sorted(listed) == sorted(imported)


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    assert [one for one in wanted if "==" not in one] == []


def test_every_module_that_the_page_on_architecture_lists_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rooms = page.partition("## Rooms")[2].partition("### Who may import whom")[0]
    listed = set(re.findall(r"(?<![*\w])\w+\.py\b", rooms))
    there = {
        path.name
        for package in (gateway, gateway_webdav, gateway_queue)
        for path in Path(package.__file__ or "").parent.rglob("*.py")
    }
    assert len(listed) > 150
    assert listed <= there
