"""Settings read again while the program runs: limits change at once, the rest is named."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from pydantic import BaseModel

from gateway.settings import Settings, section
from gateway.settings_file import PREFIX
from gateway.usenet.rules import Rules, Sharing

_LIVE = frozenset(
    {
        "reservation_policy",
        "max_queue_connections",
        "stream_guarantee",
        "queue_guarantee",
        "health_guarantee",
        "health_cap",
        "max_connections_per_stream",
        "permit_aging",
    }
)
# Of the entries of a section.
_LIVE_OF_ENTRIES = {"providers": frozenset({"connections"})}


def rules_of(settings: Settings) -> Rules:
    """Return how *settings* want connections to be shared."""
    return Rules(
        policy=settings.reservation_policy,
        stream_guarantee=settings.stream_guarantee,
        queue_guarantee=settings.queue_guarantee,
        health_guarantee=settings.health_guarantee,
        max_queue_connections=settings.max_queue_connections,
        health_cap=settings.health_cap,
        max_connections_per_stream=settings.max_connections_per_stream,
        permit_aging_s=settings.permit_aging,
    )


def put_in_force(started: Settings, settings: Settings, sharing: Sharing) -> list[str]:
    """Share as *settings* say from now on, whatever was in force; return what wants a restart.

    Those are the names of the settings that differ from *started*, which the program was built
    from. Raises ConfigurationError, and changes nothing, if the limits cannot be met.
    """
    configured = sharing.connections()
    connections = {
        name: provider.connections
        for name, provider in settings.providers.items()
        if name in configured and configured[name] != provider.connections
    }
    sharing.change(lambda _: rules_of(settings), connections)
    names = _differing(started, settings, _LIVE | Settings.SECTIONS.keys(), "")
    for name in Settings.SECTIONS:
        names += _entries(name, section(started, name), section(settings, name))
    return [f"{PREFIX}{name}".upper() for name in names]


def _entries(
    within: str, before: Mapping[str, BaseModel], after: Mapping[str, BaseModel]
) -> list[str]:
    names = []
    for entry in sorted(before.keys() | after.keys()):
        name = f"{within}__{entry}"
        if entry not in before or entry not in after:
            names.append(name)
            continue
        live = {f"{name}__{field}" for field in _LIVE_OF_ENTRIES.get(within, ())}
        names += _differing(before[entry], after[entry], live, f"{name}__")
    return names


def _differing(
    before: BaseModel, after: BaseModel, but: AbstractSet[str], within: str
) -> list[str]:
    names = []
    for field in type(before).model_fields:
        name, old, new = f"{within}{field}", getattr(before, field), getattr(after, field)
        if name in but or old == new:
            continue
        names += _differing(old, new, but, f"{name}__") if isinstance(old, BaseModel) else [name]
    return names
