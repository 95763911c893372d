"""What an NZB says at first sight, as the queue shows it while it waits (`Reading`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.errors import InvalidNzb, NotXml
from gateway.nzb.names import filename_password, job_name, safe_name
from gateway_queue.just_read import just_read


@dataclass(frozen=True, slots=True)
class Reading:
    """What an NZB says: *name* and *filename* are safe for a path, *posted* is its oldest date.

    *size* and *articles* are 0 where it cannot be read: its words about that belong into the
    history, where an *arr finds them.
    """

    name: str
    filename: str
    size: int = 0
    articles: int = 0
    posted: float | None = None
    password: str | None = field(default=None, repr=False)


def read(document: bytes, *, filename: str, name: str | None = None) -> Reading:
    """Return what *document* says, that came as *filename* and is to be called *name*.

    Raises NotXml if it is no XML at all.
    """
    named = Reading(
        job_name(name or filename),
        safe_name(filename),
        password=filename_password(name or ""),
    )
    try:
        parsed = just_read.read(document, filename=named.filename)  # as its item has it
    except NotXml:
        raise
    except InvalidNzb:
        return named
    dates = [file.date for file in parsed.files if file.date]
    return Reading(
        named.name,
        named.filename,
        parsed.size,
        parsed.parts,
        float(min(dates)) if dates else None,
        named.password,
    )
