"""Answers held against the fields and types that a SABnzbd 5.0 has answered with."""

from __future__ import annotations

from typing import Any


def misfits(shape: Any, value: Any, where: str = "answer") -> list[str]:
    """Return where *value* has not the fields and types of *shape*."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{where} is no object"]
        missing = [f"{where}.{key} is missing" for key in shape.keys() - value.keys()]
        known = shape.keys() & value.keys()
        return missing + [
            fault for k in known for fault in misfits(shape[k], value[k], f"{where}.{k}")
        ]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{where} is no list"]
        return [fault for each in value for s in shape for fault in misfits(s, each, f"{where}[]")]
    kind = "null" if value is None else type(value).__name__
    # What was null when it was captured may be a text at another time.
    return [] if kind == shape or (shape == "null" and kind == "str") else [f"{where}: {kind}"]
