"""Whether the providers are well, by files that should be there (`Witnesses`)."""

from __future__ import annotations

from gateway.errors import NotInLibrary
from gateway.library.catalogue import Library
from gateway.library.check_agenda import CheckAgenda
from gateway.words import counted
from gateway_queue.health import Examiner
from gateway_queue.ticket import Ticket

# So many files are asked for, the last that were found HEALTHY: one may be gone since.
_ASKED = 3


class Witnesses:
    """Files of *library* that were HEALTHY when *examiner* last asked for them."""

    def __init__(self, agenda: CheckAgenda, library: Library, examiner: Examiner) -> None:
        self._agenda = agenda
        self._library = library
        self._examiner = examiner

    def doubt(self, ticket: Ticket) -> str:
        """Return why providers that lack all of a file are not to be believed, empty if they are.

        Where no file of the library has anything there is no telling: they are believed. Raises
        LetGo, StorageError.
        """
        witnesses = self._agenda.witnesses(_ASKED)
        for known in witnesses:
            try:
                if self._examiner.has_any(self._library.layout(known.file.id), ticket):
                    return ""
            except NotInLibrary:
                continue  # it was removed meanwhile
        if not witnesses:
            return ""
        were = "was" if len(witnesses) == 1 else "were"
        return (
            f"nothing is there of {counted(len(witnesses), 'file')} that {were} "
            f"{witnesses[0].verdict.upper()}: a provider is ill, rather than the library"
        )
