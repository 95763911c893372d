"""One item on its way to the disk: fetched, repaired, unpacked, and put in its place (`Job`).

Its folder, in INCOMPLETE_DIR under the item's id:

    journal     what is on the disk, and which steps were reached
    parts/      files under their numbers, while articles come
    post/       files as posted, under their names, once all that could be had of them is here
    unpacked/   what is in them

Each step may be begun again whenever the one before was killed: it goes on, or does it anew.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.errors import ArticleDamaged, ImportFailed, IncompletePost, StorageFull
from gateway.nzb.extents import Part
from gateway.streams.source import Articles
from gateway.usenet.articles import Verdict
from gateway.usenet.workload import carry
from gateway.words import are
from gateway_queue.analysis import part_of
from gateway_queue.contents import Kind, kind_of
from gateway_queue.download.disk import PartialFiles, free_bytes, sync_folder, translated
from gateway_queue.download.journal import Journal, Span
from gateway_queue.download.meter import Meter
from gateway_queue.download.par2_fetching import Par2Fetching
from gateway_queue.download.post import PostFiles, smallest_of_sets
from gateway_queue.download.transfer import RESERVE, Transfer
from gateway_queue.download.unpacker import Unpack
from gateway_queue.download.wholeness import Wholeness
from gateway_queue.item import Item
from gateway_queue.ticket import Ticket
from gateway_queue.unpacking.placing import sync
from gateway_queue.unpacking.quick import Piece
from gateway_queue.unpacking.repair import repair
from gateway_queue.unpacking.workroom import remove
from gateway_queue.verifier import exceeds, sample

log = logging.getLogger(__name__)

_STATS = 1000  # articles asked for in one go
_STAT_S = 60.0

UNPACKED = "unpacked"


class Job:
    """The download of *item*. For one thread; to be left as a context manager."""

    def __init__(
        self,
        item: Item,
        nzb: bytes,
        folder: Path,
        source: Articles,
        meter: Meter,
        unpack: Unpack,
        *,
        providers: int,
        connections: Callable[[], int],
        patience_s: float,
        reserve: int = RESERVE,
    ) -> None:
        """Raises InvalidNzb, ImportFailed, StorageFull, StorageError."""
        self.item = item
        self.folder = folder
        self.meter = meter
        self._source = source
        self._unpack = unpack
        self._whom = "the provider" if providers == 1 else f"all {providers} providers"
        self._reserve = reserve
        self._post = folder / "post"
        self.unpacked = folder / UNPACKED
        with translated(folder):
            folder.mkdir(exist_ok=True)
            self._post.mkdir(exist_ok=True)
        self._files = PartialFiles(folder / "parts")
        self.journal = Journal(
            folder / "journal", hashlib.sha256(nzb).hexdigest(), self._is_on_disk
        )
        try:
            self._posted = PostFiles(nzb, item.filename, self.journal, self._files)
        except BaseException:
            self._close_files()
            raise
        meter.aim(*self._posted.weight(range(len(self._posted.listed))))
        self._ahead = self._posted.ahead()
        self._transfer = Transfer(
            source,
            self._posted.listed,
            self._files,
            self.journal,
            meter,
            connections=connections,
            patience_s=patience_s,
            reserve=reserve,
        )
        self._par2 = Par2Fetching(
            self._posted, self._transfer, meter, item.name, self._put_in_place
        )
        self._wholeness = Wholeness(self._posted, self.journal, self._transfer.damaged, self._whom)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._transfer.close()
        self._close_files()

    @property
    def passwords(self) -> list[str]:
        """Return the passwords that are known, the likeliest first."""
        return [*dict.fromkeys(filter(None, (self.item.password, *self._posted.passwords)))]

    # The steps -------------------------------------------------------------------------------

    def analyse(self, ticket: Ticket) -> None:
        """Find out what the files of the post are, by the first article of each.

        Raises IncompletePost or ArticleDamaged where none is left, as `Transfer.fetch` does, and
        ImportFailed.
        """
        if "downloaded" in self.journal.reached:
            return
        openings = self._posted.openings()
        self._transfer.fetch(openings, ticket, self._ahead)
        if openings and not any(self.journal.posted(one.number).spans for one in openings):
            files = "the one file" if len(openings) == 1 else f"all {len(openings):,} files"
            if self._transfer.damaged:
                raise ArticleDamaged(
                    f"the first articles of {files} are damaged or missing from {self._whom}"
                )
            raise IncompletePost(f"the first articles of {files} are missing from {self._whom}")
        self._posted.split()

    def verify(self, ticket: Ticket) -> None:
        """Ask for a sample of the articles: a post that is beyond repair is not downloaded.

        Raises IncompletePost, with the numbers.
        """
        if {"verified", "downloaded"} & self.journal.reached.keys():
            return
        data, par2s = self._posted.split()
        asked = [
            (number, part_of(self._posted.listed[number], at))
            for number in data
            for at in sample(len(self._posted.listed[number].segments))
        ]
        missing = self._missing([part for _, part in asked], ticket)
        gaps = sum(self._posted.listed[number].gaps for number in data)
        total = sum(self._posted.listed[number].parts for number in data)
        blocks = sum(one.size for one in par2s) / sum(self._posted.weight(data)[1:2])
        words = (
            f"{missing:,} of {len(asked):,} articles checked (of {total:,}) {are(missing)} missing "
            f"from {self._whom}"
        )
        if exceeds(blocks, missing, len(asked), total):
            raise IncompletePost(words if not par2s else f"{words}, more than par2 can replace")
        if gaps and not par2s:
            raise IncompletePost(
                f"{gaps:,} of {total:,} articles {are(gaps)} not listed in the NZB"
            )
        self.journal.reach("verified")

    def download(self, ticket: Ticket) -> None:
        """Fetch the data files, and of each par2 set the file that tells of it.

        Raises as `Transfer.fetch` does, and IncompletePost or ArticleDamaged where something is
        missing and there is no par2 to make it.
        """
        if "downloaded" not in self.journal.reached:
            data, par2s = self._posted.split()
            done, total, missing = self._posted.weight([*smallest_of_sets(par2s), *data])
            self.meter.aim(done, total, missing)
            self._check_room(total - done, data)
            told = self._par2.tell(par2s, ticket, self._ahead)
            self._files.unread = {n for n in data if kind_of(self._posted.names(n)) is Kind.PLAIN}
            self._par2.fetch(data, ticket)
            if not par2s:
                self._wholeness.check(data)
            self._posted.safe_names([*told, *data])
            self.journal.reach("downloaded")
        named = [int(number) for number in self.journal.reached["names"]]
        self.meter.aim(*self._posted.weight(named))
        self._put_in_place(named)

    def repair(self, ticket: Ticket) -> None:
        """Make the files what par2 says, with as many more of its volumes as it takes.

        Raises IncompletePost, ArticleDamaged, as `repair` and `Transfer.fetch` do, and LetGo.
        """
        if "repaired" in self.journal.reached:
            return
        data, par2s = self._posted.split()
        names = self._posted.safe_names(data)
        # What an earlier run may have repaired is no longer what its articles were.
        pieces = {} if "repairing" in self.journal.reached else self._pieces(names)
        self.journal.reach("repairing")
        fetched: set[int] = {int(number) for number in self.journal.reached["names"]}

        def fetch_more(set_id: bytes, blocks: int) -> int:
            return self._par2.more(par2s, fetched, set_id, blocks, ticket)

        done = repair(
            self._post,
            pieces=pieces,
            fetch_more=fetch_more,
            progress=self._progressing(ticket),
        )
        for words in done.ignored:
            log.warning("[Queue] '%s': par2 set left aside: %s", self.item.name, words)
        self._wholeness.check_repaired(self._post, names, done)
        with translated(self._post):
            sync(self._post)
        self.journal.reach("repaired")

    def unpack(self, ticket: Ticket) -> None:
        """Put what the files hold into `unpacked`: on the disk, when it is done.

        Raises ImportFailed, StorageFull, and LetGo.
        """
        if "unpacked" in self.journal.reached:
            return
        with translated(self.unpacked):
            remove(self.unpacked)
            self.unpacked.mkdir()
        found = self._unpack(
            self._post,
            self.unpacked,
            passwords=self.passwords,
            places=self._posted.places(),
            progress=self._progressing(ticket),
        )
        if not found:
            raise ImportFailed("the archives of the post hold no files")
        with translated(self.unpacked):
            sync(self.unpacked)
        self.journal.reach("unpacked")

    # What they need --------------------------------------------------------------------------

    def _missing(self, parts: Sequence[Part], ticket: Ticket) -> int:
        """Say how many are missing. What comes next is fetched while the provider is asked."""
        over = threading.Event()

        def ask() -> int:
            missing = 0
            for start in range(0, len(parts), _STATS):
                some = parts[start : start + _STATS]
                found = self._source.exists(some, timeout_s=_STAT_S, given_up=over.is_set)
                missing += found.count(Verdict.MISSING)
                if over.is_set():
                    break
            return missing

        with ThreadPoolExecutor(1, thread_name_prefix="download-verify") as thread:
            asking = thread.submit(carry(ask))
            try:
                self._transfer.fetch((), ticket, self._ahead, asking)
            finally:
                over.set()
            return asking.result()

    def _progressing(self, ticket: Ticket) -> Callable[[float], None]:
        """Begin a step; return what it is to tell how far it is. That raises LetGo."""
        self.meter.begin_step()

        def progress(part: float) -> None:
            ticket.check()
            self.meter.go_on(part)

        return progress

    def _pieces(self, names: Mapping[int, str]) -> dict[str, list[Piece]]:
        return {
            name: [Piece(*span) for span in self.journal.posted(number).spans.values()]
            for number, name in names.items()
        }

    def _close_files(self) -> None:
        self.journal.close()
        self._files.close()

    def _put_in_place(self, numbers: Sequence[int]) -> None:
        """Have files lie in `post` under their names. May be called again."""
        self._files.close()
        with translated(self._post):
            for number, name in self._posted.safe_names(numbers).items():
                path = self._files.path(number)
                if path.exists():
                    path.replace(self._post / name)
            sync_folder(self._post)

    def _check_room(self, left: int, data: Sequence[int]) -> None:
        """Raise StorageFull unless there is room for *left* bytes, and for what is in them."""
        packed = [n for n in data if kind_of(self._posted.names(n)) is not Kind.PLAIN]
        wanted = left + self._posted.weight(packed)[1] + self._reserve
        free = free_bytes(self.folder)
        if free < wanted:
            raise StorageFull(
                f"a download and what is in it take {wanted / 1e6:,.0f} MB, and "
                f"{free / 1e6:,.0f} MB are free: make room, or set GATEWAY_INCOMPLETE_DIR and "
                "GATEWAY_COMPLETE_DIR to another disk"
            )

    def _is_on_disk(self, number: int, span: Span) -> bool:
        return self._files.checksum(number, span.begin, span.length) == span.crc
