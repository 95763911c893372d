"""SABnzbd's `queue`: what waits and what is worked on."""

from __future__ import annotations

import time
from collections.abc import Sequence

from gateway_queue.item import Item, State
from gateway_queue.listing import QueuePage, Wanted
from gateway_queue.sab_config import Setup, header
from gateway_queue.sab_values import (
    PRIORITY_WORDS,
    STATUS_WORDS,
    Answer,
    Json,
    clock,
    megabytes,
    units,
)


def queue(setup: Setup, page: QueuePage, wanted: Wanted, paused: bool) -> Answer:
    """Answer the queue: *page* is what was *wanted* of it."""
    now = time.time()
    status = "Paused" if paused else "Downloading" if page.working else "Idle"
    return {
        "queue": {
            **header(setup, paused=paused),
            "kbpersec": "0.00",
            "speed": "0",
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
    wait = max(0.0, item.not_before - now) if item.state is State.QUEUED else 0.0
    labels: list[Json] = [f"WAIT {wait:.0f} sec"] if wait else []
    if item.note:
        labels.append(item.note)
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
        "mbleft": megabytes(item.size),
        "mb": megabytes(item.size),
        "size": units(item.size, "B"),
        "sizeleft": units(item.size, "B"),
        "percentage": "0",
        "mbmissing": "0.00",
        "direct_unpack": None,
        "status": STATUS_WORDS[item.state],
        # Nothing is downloaded whose end could be foretold; the next attempt can.
        "timeleft": clock(wait),
        "avg_age": "-",
        "time_added": int(item.added),
    }
