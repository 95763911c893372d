"""Which par2 files of a post are fetched, and when (`Par2Fetching`).

Of each set first the smallest, which tells what the files were; recovery volumes once it is known
how many blocks are lacking, and no more than give so many.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from gateway.words import counted
from gateway_queue.download.meter import Meter
from gateway_queue.download.post import Par2File, PostFiles, smallest_of_sets
from gateway_queue.download.transfer import Ahead, Transfer
from gateway_queue.ticket import Ticket
from gateway_queue.unpacking.volumes import RecoveryVolume, blocks_of, choose

log = logging.getLogger(__name__)


class Par2Fetching:
    """Fetches par2 files of *posted*, which belong to the item *name*.

    *put_in_place* is given the numbers of files that have come. For one thread.
    """

    def __init__(
        self,
        posted: PostFiles,
        transfer: Transfer,
        meter: Meter,
        name: str,
        put_in_place: Callable[[Sequence[int]], object],
    ) -> None:
        self._posted = posted
        self._transfer = transfer
        self._meter = meter
        self._name = name
        self._put_in_place = put_in_place

    def fetch(self, numbers: Iterable[int], ticket: Ticket, ahead: Ahead = lambda: None) -> None:
        """Fetch these files. See `Transfer.fetch` for *ahead*, and for what it raises."""
        wanted = [one for number in numbers for one in self._posted.parts(number)]
        self._transfer.fetch(wanted, ticket, ahead)

    def tell(self, par2s: Sequence[Par2File], ticket: Ticket, ahead: Ahead) -> list[int]:
        """Have of each set a file that tells all of it; return the files that it took.

        Where the smallest does not come whole the next is fetched, and so on. Those that are
        there already are not fetched again. *ahead*: see `Transfer.fetch`.
        """
        fetched: list[int] = []
        wanted = smallest_of_sets(par2s)
        while wanted:
            self.fetch(wanted, ticket, ahead)
            fetched += wanted
            broken = [one for one in par2s if one.number in wanted and not self._is_whole(one)]
            left = [one for one in par2s if one.number not in fetched]
            wanted = smallest_of_sets([one for one in left if _is_related(one, broken)])
        return fetched

    def more(
        self,
        par2s: Sequence[Par2File],
        fetched: set[int],
        set_id: bytes,
        blocks: int,
        ticket: Ticket,
    ) -> int:
        """Fetch par2 files of a set with so many *blocks*, if there are; return how many came.

        They are added to those that were *fetched* before.
        """
        stems = {one.stem for one in par2s if one.set_id == set_id}
        left = [one for one in par2s if one.number not in fetched]
        own = [
            one for one in left if one.set_id == set_id or (not one.set_id and one.stem in stems)
        ]
        candidates = own or [one for one in left if not one.set_id]
        volumes = [
            # Where no name tells, each is worth a try, the smallest first.
            RecoveryVolume(one.number, blocks_of(one.name, one.size, 0) or 1, one.size)
            for one in candidates
        ]
        chosen = choose(volumes, blocks)
        if not chosen:
            return 0
        numbers = [one.key for one in chosen]
        self._meter.aim(*self._posted.weight([*fetched, *numbers]))
        self.fetch(numbers, ticket)
        self._put_in_place(numbers)
        fetched.update(numbers)
        log.info(
            "[Queue] '%s': fetched %s for %s",
            self._name,
            counted(len(numbers), "par2 file"),
            counted(blocks, "block"),
        )
        return sum(one.blocks for one in chosen)

    def _is_whole(self, one: Par2File) -> bool:
        return self._posted.is_whole(one.number)


def _is_related(one: Par2File, others: Iterable[Par2File]) -> bool:
    return any(
        one.stem == other.stem or (one.set_id != b"" and one.set_id == other.set_id)
        for other in others
    )
