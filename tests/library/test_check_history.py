"""The history of the checks of a file: what each came to, and no more of it than is of use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.library.catalogue import Library
from gateway.library.check_history import KEPT, Checked
from gateway.library.check_records import CheckRecords
from gateway.library.database import Database
from gateway.library.entries import Release
from gateway.library.health import FileHealth, Findings, Health, Hole
from gateway.library.schema import check_history

Publish = Callable[..., Release]

HEALTHY = Findings(100)
DEGRADED = Findings(100, 3, 0, (Hole(0, 12, 13), Hole(1, 0, 0)))
SILENCE = Findings(100, 0, 100, (), "the provider did not answer")


@pytest.fixture
def records(database: Database) -> CheckRecords:
    return CheckRecords(database)


@pytest.fixture
def check(records: CheckRecords) -> Callable[[Release, Findings, float], None]:
    def check(release: Release, findings: Findings, at: float) -> None:
        (known,) = records.of_releases([release.id])
        assert records.record(known, findings, at, took_s=0.5) is not None

    return check


Check = Callable[[Release, Findings, float], None]


def of(records: CheckRecords, known: FileHealth) -> list[Checked]:
    return records.histories([known.file.id])[known.file.id]


def test_every_check_is_kept_with_its_own_outcome(
    records: CheckRecords, publish: Publish, check: Check
) -> None:
    release = publish()
    for at, findings in enumerate((HEALTHY, SILENCE, DEGRADED), start=1):
        check(release, findings, float(at))
    (known,) = records.of_releases([release.id])
    kept = of(records, known)
    assert [(one.at, one.health, one.missing, one.unknown, one.took_s) for one in kept] == [
        (3.0, Health.DEGRADED, 3, 0, 0.5),
        (2.0, Health.UNKNOWN, 0, 100, 0.5),
        (1.0, Health.HEALTHY, 0, 0, 0.5),
    ]
    assert kept[1].reason == "the provider did not answer"


def test_the_last_checks_are_kept_and_of_those_before_the_changes(
    records: CheckRecords, publish: Publish, check: Check
) -> None:
    release = publish()
    for at in range(20):
        check(release, DEGRADED if at == 10 else HEALTHY, float(at))
    for at in range(20, 20 + KEPT):
        check(release, HEALTHY, float(at))
    (known,) = records.of_releases([release.id])
    kept = [one.at for one in of(records, known)]
    assert kept[:KEPT] == [float(at) for at in range(20 + KEPT - 1, 19, -1)]
    assert kept[KEPT:] == [11.0, 10.0, 0.0]


def test_a_file_whose_health_never_rests_has_a_bounded_history_too(
    records: CheckRecords, publish: Publish, check: Check
) -> None:
    release, other = publish(name="one"), publish(name="other")
    check(other, HEALTHY, 1.0)
    for at in range(3 * KEPT):
        check(release, HEALTHY if at % 2 else DEGRADED, float(at))
    (known,) = records.of_releases([release.id])
    kept = of(records, known)
    assert [one.at for one in kept] == [float(at) for at in range(3 * KEPT - 1, KEPT - 1, -1)]
    (known,) = records.of_releases([other.id])
    assert len(of(records, known)) == 1


def test_the_history_goes_with_its_file(
    database: Database, library: Library, publish: Publish, check: Check
) -> None:
    release = publish()
    check(release, HEALTHY, 1.0)
    library.remove_files(release)
    with database.read() as tx:
        assert tx.scalar(sa.select(sa.func.count()).select_from(check_history)) == 0


def test_histories_of_many_files_take_one_statement(
    database: Database, records: CheckRecords, publish: Publish, check: Check
) -> None:
    ids = []
    for number in range(30):
        release = publish(name=f"Film {number}")
        if number:
            check(release, HEALTHY, float(number))
        ids += [known.file.id for known in records.of_releases([release.id])]
    statements: list[str] = []

    def count(*event: Any) -> None:
        if event[2].startswith("SELECT"):
            statements.append(event[2])

    sa.event.listen(database.engine, "before_cursor_execute", count)
    found = records.histories(ids)
    sa.event.remove(database.engine, "before_cursor_execute", count)
    assert [[one.at for one in found[file_id]] for file_id in ids] == [
        [],
        *([float(number)] for number in range(1, 30)),
    ]
    assert len(statements) == 1
