"""SABnzbd's `queue`: what waits and what is worked on, as it is shown."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.nzb.document import parse
from gateway.nzb.names import subject_name
from gateway_queue.download.meter import Progress
from gateway_queue.item import Item, State
from gateway_queue.listing import QueuePage, Wanted
from gateway_queue.sab_values import (
    PRIORITY_WORDS,
    STATUS_WORDS,
    Answer,
    Json,
    age,
    clock,
    megabytes,
    units,
)

_WAITING = frozenset({State.QUEUED, State.GRABBING})


def queue(
    header: Answer,
    page: QueuePage,
    wanted: Wanted,
    speed: float,
    progress: Callable[[str], Progress | None],
) -> Answer:
    """Answer the queue: *page* is what was *wanted* of it; *speed* in bytes a second.

    *progress* says how far an item is by its id.
    """
    now = time.time()
    known = [(item, progress(item.id)) for item in page.items]
    # Of what is downloaded there may be less left than was posted: not all par2 files are fetched.
    left = page.size - sum(
        item.size - (one.total - one.done) for item, one in known if one is not None
    )
    waits = [one.left_s for _, one in known if one is not None and one.left_s is not None]
    status = "Paused" if header["paused"] else "Downloading" if page.working else "Idle"
    return {
        "queue": {
            **header,
            "kbpersec": f"{speed / 1024:.2f}",
            "speed": units(speed),
            "mbleft": megabytes(left),
            "mb": megabytes(page.size),
            "sizeleft": units(left, "B"),
            "size": units(page.size, "B"),
            "noofslots_total": page.total,
            "noofslots": page.found,
            "start": wanted.start,
            "limit": wanted.limit,
            "finish": wanted.start + wanted.limit,
            "status": status,
            "timeleft": clock(max(waits, default=0.0)),
            "slots": [
                _slot(item, index, now, one)
                for index, (item, one) in enumerate(known, wanted.start)
            ],
        }
    }


def _slot(item: Item, index: int, now: float, progress: Progress | None) -> Json:
    wait = max(0.0, item.not_before - now) if item.state in _WAITING else 0.0
    labels: list[Json] = [f"WAIT {wait:.0f} sec"] if wait else []
    if item.note:
        labels.append(item.note)
    done = Progress(0, item.size, 0, 0.0) if progress is None else progress
    left = done.total - done.done
    # Only what is downloaded has an end that can be foretold; of the rest the next attempt has.
    time_left = wait if progress is None or progress.left_s is None else progress.left_s
    return {
        "index": index,
        "nzo_id": item.id,
        "unpackopts": "3",
        "priority": PRIORITY_WORDS[item.priority],
        "script": "None",
        "filename": item.name,
        "labels": labels,
        "password": "",
        "cat": item.category,
        "mbleft": megabytes(left),
        "mb": megabytes(done.total),
        "size": units(done.total, "B"),
        "sizeleft": units(left, "B"),
        "percentage": f"{100 * done.done // (done.total or 1)}",
        "mbmissing": megabytes(done.missing),
        "direct_unpack": None,
        "status": STATUS_WORDS[item.state],
        "timeleft": clock(time_left),
        "avg_age": "-" if item.posted is None else age(now - item.posted),
        "time_added": int(item.added),
    }


def files(document: bytes) -> list[Json]:
    """Answer get_files: what *document* lists. Raises InvalidNzb."""
    now = time.time()
    return [
        {
            "filename": subject_name(file.subject) or file.subject[:255],
            "mbleft": megabytes(file.size),
            "mb": megabytes(file.size),
            "bytes": f"{file.size:.2f}",
            "age": "-" if file.date is None else age(now - file.date),
            "nzf_id": f"SABnzbd_nzf_{number}",
            "status": "active",
        }
        for number, file in enumerate(parse(document).files, start=1)
    ]
