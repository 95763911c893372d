"""SABnzbd's ways to add: `addfile`, `addurl`, `addlocalfile`; and `retry` of what has failed."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from gateway.errors import NotXml
from gateway.nzb.unwrapping import LIMIT
from gateway_queue.intake import Queue
from gateway_queue.sab_call import Call, Mode, Refused
from gateway_queue.sab_config import Setup
from gateway_queue.sab_values import NO_FILE, NO_ITEM, NO_PATH, NO_VALUE, Answer, Json, done

log = logging.getLogger(__name__)

_SUFFIXES = frozenset({".nzb", ".gz", ".bz2", ".zip"})


class Adding:
    """The modes that add to *jobs*; files of this machine are read below *drop_dir* only."""

    def __init__(self, jobs: Queue, setup: Setup, drop_dir: Path | None) -> None:
        self._jobs = jobs
        self._setup = setup
        self._drop_dir = drop_dir
        self.modes: dict[str, Mode] = {
            "addfile": self._add_file,
            "addlocalfile": self._add_local_file,
            "addurl": self._add_url,
            "retry": self._retry,
            "retry_all": self._retry_all,
        }

    def _add_file(self, call: Call) -> Answer:
        file = call.file("name", "nzbfile")
        if file is None:
            raise Refused(NO_VALUE)
        return self._add(call, file.stream.read(), file.filename or "")

    def _add_local_file(self, call: Call) -> Answer:
        name = call.text("name")
        if not name:
            raise Refused(NO_VALUE)
        if self._drop_dir is None:
            raise Refused("files of this machine are read from GATEWAY_DROP_DIR, which is not set")
        return self._add(call, _read_below(self._drop_dir, name), Path(name).name)

    def _add(self, call: Call, document: bytes, filename: str) -> Answer:
        try:
            nzo_id = self._jobs.add(
                document,
                filename=filename,
                category=self._setup.category(call.text("cat")),
                priority=call.number("priority"),
                password=call.text("password") or None,
                name=call.text("nzbname") or None,
            )
        except NotXml as exc:
            log.warning("refused %r: %s", filename, exc)
            return done([])
        return done([nzo_id])

    def _add_url(self, call: Call) -> Answer:
        url = call.text("name")
        if not url:
            raise Refused(NO_VALUE)
        nzo_id = self._jobs.add_url(
            url,
            category=self._setup.category(call.text("cat")),
            priority=call.number("priority"),
            password=call.text("password") or None,
            name=call.text("nzbname") or None,
        )
        return done([nzo_id])

    def _retry(self, call: Call) -> Answer:
        nzo_id, file = call.text("value"), call.file("nzbfile", "name")
        try:
            retried = self._jobs.retry(
                [nzo_id],
                document=None if file is None else file.stream.read(),
                filename=file.filename or "" if file is not None else "",
                password=call.text("password") or None,
            )
        except NotXml as exc:
            raise Refused(str(exc)) from exc
        if nzo_id not in retried:
            raise Refused(NO_ITEM)
        return {"status": True, "nzo_id": retried[nzo_id]}

    def _retry_all(self, _call: Call) -> Answer:
        retried: list[Json] = list(self._jobs.retry(None).values())
        return {"status": retried}


def _read_below(folder: Path, name: str) -> bytes:
    """Return the file *name*, if it lies below *folder* wherever its links lead."""
    try:
        root = folder.resolve()
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise Refused(NO_PATH)
        if path.suffix.lower() not in _SUFFIXES:
            raise Refused(NO_FILE)
        # A pipe must not hold the request up, and what is resolved is no link any more.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise Refused(NO_PATH)
            document = file.read(LIMIT + 1)
    except (OSError, ValueError, RuntimeError) as exc:
        raise Refused(NO_PATH) from exc
    if len(document) > LIMIT:
        raise Refused(f"the file has more than {LIMIT:,} bytes")
    return document
