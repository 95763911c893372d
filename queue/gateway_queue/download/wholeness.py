"""Whether the files of a post are whole, by their articles and by what par2 says (`Wholeness`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from gateway.errors import ArticleDamaged, IncompletePost
from gateway.nzb.names import is_obfuscated, split_extension
from gateway.words import are
from gateway_queue.download.disk import translated
from gateway_queue.download.journal import Journal
from gateway_queue.download.post import PostFiles
from gateway_queue.unpacking.repair import Repaired


class Wholeness:
    """What is known of the files of *posted*: *damaged* are the parts that came so by now.

    *whom* says in words who was asked.
    """

    def __init__(
        self,
        posted: PostFiles,
        journal: Journal,
        damaged: Collection[tuple[int, int]],
        whom: str,
    ) -> None:
        self._posted = posted
        self._journal = journal
        self._damaged = damaged
        self._whom = whom

    def check(self, numbers: Sequence[int]) -> None:
        """Raise IncompletePost or ArticleDamaged unless these files are whole.

        What looks odd in them is to be fetched again then.
        """
        posted = self._posted
        odd = {number: posted.doubted(number) for number in numbers}
        broken = [number for number in numbers if odd[number] or not posted.is_whole(number)]
        if not broken:
            return
        total = sum(posted.listed[number].parts for number in numbers)
        doubts = sum(map(len, odd.values()))
        lacking = doubts + sum(posted.lacking(number) for number in broken)
        name = (posted.names(broken[0]) or [f"file {broken[0] + 1}"])[0]
        damaged = doubts + sum(1 for number, _ in self._damaged if number in broken)
        for number in broken:
            for part in odd[number]:
                self._journal.lost(number, part)
        if damaged == lacking:
            raise ArticleDamaged(
                f'"{name}": {damaged:,} of {total:,} articles {are(damaged)} damaged'
            )
        raise IncompletePost(
            f'"{name}": {lacking:,} of {total:,} articles {are(lacking)} missing from {self._whom}'
        )

    def check_repaired(self, post: Path, names: Mapping[int, str], done: Repaired) -> None:
        """Raise as `check` does unless every file is as par2 says, or whole where it says nothing.

        The files lie in *post*, and had these *names* there before the repair that was *done*.
        Where all else is as par2 says, a disguised file that is not whole was par2's own, and goes.
        """
        sound = {*done.whole, *done.made}
        now = {number: done.renamed.get(name, name) for number, name in names.items()}
        there = {number for number, name in now.items() if (post / name).exists()}
        proven = {number for number in there if now[number] in sound}
        came = {number for number in names if self._journal.posted(number).spans}
        # What never came is among what par2 made of nothing; what it took pieces of is gone.
        of_nothing = len(sound) - len(proven) - len(came - there)
        lost = sorted(names.keys() - came - proven)
        left = [*sorted((there & came) - proven), *lost[max(0, of_nothing) :]]
        if done.sets and all(map(self._may_be_par2, left)):
            for number in left:
                with translated(post):
                    (post / now[number]).unlink(missing_ok=True)
            return
        self.check(left)

    def _may_be_par2(self, number: int) -> bool:
        return not self._posted.is_whole(number) and all(
            is_obfuscated(name) and not split_extension(name)[1]
            for name in self._posted.names(number)
        )
