"""Every mutant can still be applied, and names a test that exists. `make mutants` tries them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CATALOGUE = tomllib.loads(Path(__file__).with_name("mutants.toml").read_text())["mutant"]


@pytest.mark.parametrize("mutant", CATALOGUE, ids=lambda mutant: mutant["name"])
def test_the_text_that_a_mutant_changes_occurs_once(mutant: dict[str, str]) -> None:
    assert (ROOT / mutant["file"]).read_text().count(mutant["old"]) == 1
    assert mutant["old"] != mutant["new"]


@pytest.mark.parametrize("mutant", CATALOGUE, ids=lambda mutant: mutant["name"])
def test_the_test_that_must_notice_a_mutant_exists(mutant: dict[str, str]) -> None:
    file, name = mutant["test"].split("::")
    assert f"\ndef {name}(" in (ROOT / file).read_text()


def test_no_two_mutants_have_one_name() -> None:
    names = [mutant["name"] for mutant in CATALOGUE]
    assert len(set(names)) == len(names)
