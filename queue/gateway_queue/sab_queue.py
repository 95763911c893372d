"""SABnzbd's `queue`: what waits and what is worked on, as it is shown."""

from __future__ import annotations

import time
from collections.abc import Sequence

from gateway.nzb.document import parse
from gateway.nzb.names import subject_name
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


def queue(header: Answer, page: QueuePage, wanted: Wanted, speed: float) -> Answer:
    """Answer the queue: *page* is what was *wanted* of it; *speed* in bytes a second."""
    now = time.time()
    status = "Paused" if header["paused"] else "Downloading" if page.working else "Idle"
    return {
        "queue": {
            **header,
            "kbpersec": f"{speed / 1024:.2f}",
            "speed": units(speed),
            "mbleft": megabytes(page.size),
            "mb": megabytes(page.size),
            "sizeleft": units(page.size, "B"),
            "size": units(page.size, "B"),
            "noofslots_total": page.total,
            "noofslots": page.found,
            "start": wanted.start,
            "limit": wanted.limit,
            "finish": wanted.start + wanted.limit,
            "status": status,
            "timeleft": "0:00:00",
            "slots": _slots(page.items, wanted.start, now),
        }
    }


def _slots(items: Sequence[Item], start: int, now: float) -> list[Json]:
    return [_slot(item, index, now) for index, item in enumerate(items, start)]


def _slot(item: Item, index: int, now: float) -> Json:
    wait = max(0.0, item.not_before - now) if item.state in _WAITING else 0.0
    labels: list[Json] = [f"WAIT {wait:.0f} sec"] if wait else []
    if item.note:
        labels.append(item.note)
    size, whole = megabytes(item.size), units(item.size, "B")
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
        "mbleft": size,
        "mb": size,
        "size": whole,
        "sizeleft": whole,
        "percentage": "0",
        "mbmissing": "0.00",
        "direct_unpack": None,
        "status": STATUS_WORDS[item.state],
        # Nothing is downloaded whose end could be foretold; the next attempt can.
        "timeleft": clock(wait),
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
