"""How the jobs stand, for whoever looks on: the library's `JobsView` port."""

from __future__ import annotations

from gateway.library.ports import EndedJob, HistoryListing, QueuedJob, QueueListing
from gateway_queue.download.meter import Progress
from gateway_queue.intake import Queue
from gateway_queue.item import Item
from gateway_queue.listing import Wanted


class Showing:
    """Shows *jobs*; see `gateway.library.ports.JobsView`."""

    def __init__(self, jobs: Queue) -> None:
        self._jobs = jobs

    def queue(self, start: int, limit: int) -> QueueListing:
        """Return jobs of the queue in the order in which they are worked on."""
        page = self._jobs.page(Wanted(start=start, limit=limit))
        known = [(item, self._jobs.progress(item.id)) for item in page.items]
        running = [one for _, one in known if one is not None]
        done = sum(item.size - (one.total - one.done) for item, one in known if one is not None)
        return QueueListing(
            [_queued(item, one) for item, one in known],
            page.total,
            page.size,
            max(0, page.size - done),
            sum(one.speed for one in running),
            self._jobs.paused,
            self._jobs.pause_left_s,
        )

    def history(self, start: int, limit: int) -> HistoryListing:
        """Return jobs of the history."""
        page = self._jobs.history(Wanted(start=start, limit=limit))
        return HistoryListing([_ended(item) for item in page.items], page.found)


def _queued(item: Item, progress: Progress | None) -> QueuedJob:
    return QueuedJob(
        item.id,
        item.name,
        item.category,
        item.state.value,
        item.priority.name.lower(),
        item.size,
        item.added,
        item.attempts,
        item.note,
        item.not_before,
        None if progress is None else progress.done,
        None if progress is None else progress.total,
        None if progress is None else progress.missing,
        None if progress is None else progress.speed,
        None if progress is None else progress.left_s,
        None if progress is None else progress.step,
    )


def _ended(item: Item) -> EndedJob:
    return EndedJob(
        item.id,
        item.name,
        item.category,
        item.state.value,
        item.size,
        item.added,
        item.completed or 0.0,
        item.took_s,
        item.failure,
    )
