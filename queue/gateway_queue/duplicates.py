"""Whether a category takes a second release of a name."""

from __future__ import annotations

from sqlalchemy import Connection

from gateway.errors import ImportFailed
from gateway.library.catalogue import Library
from gateway_queue.category import CategoryRules, Duplicates
from gateway_queue.item import Item


def refuse_duplicate(
    library: Library, rules: CategoryRules, item: Item, tx: Connection | None = None
) -> None:
    """Raise ImportFailed if *rules* want no second release of this name, and there is one.

    Asked before the work and again, within *tx*, when it is published: the item may have been
    queued twice.
    """
    if rules.duplicates is Duplicates.FAIL and library.is_taken(rules.folder, item.name, tx):
        raise ImportFailed(
            f'"{rules.folder}" has a release called "{item.name}" already: remove it first, or set '
            f"GATEWAY_CATEGORIES__{rules.name.upper()}__DUPLICATES=increment"
        )
