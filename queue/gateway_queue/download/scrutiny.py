"""Whether an article that came is the one that was wanted: what it says, held against the others.

Providers are known to give another article under an id that they were asked for, and its CRC-32 is
right. So of each article

    its name    may not be that of another file of the post
    its size    is that of the file, which most of the file's articles state, not the first one
    its place   is where one in its position lies, if parts have one size, or else where its
                neighbours leave room

What goes against that is not written. What only looks odd is written, and remembered (`oddity`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice

from gateway.errors import ArticleDamaged
from gateway.nzb.document import NzbFile
from gateway.nzb.names import subject_name
from gateway.usenet.articles import Body
from gateway_queue.download.journal import Journal, Posted

# sabctools refuses larger parts; a size beyond is a lie that would be a file of that size.
_LARGEST_PART = 10 << 20
# So many articles that agree on a file's size are believed before any that says otherwise.
_AGREED = 2
# So often a file may get another size: articles of two sizes would take turns for ever.
_TURNS = 3
_LOOKED_AT = 16  # articles that may tell the size of all


class Unfit(ArticleDamaged):
    """The article is sound in itself, and does not fit its file."""


class Scrutiny:
    """Looks at the articles of *posted* before they are written. For one thread."""

    def __init__(self, posted: Sequence[NzbFile], journal: Journal) -> None:
        self._posted = posted
        self._journal = journal
        self._subjects = [subject_name(file.subject) for file in posted]
        self._times = Counter(self._subjects)
        # By file and size: the parts whose articles state it, where that is not the file's.
        self._others: dict[tuple[int, int], set[int]] = {}
        self._turned = Counter[int]()

    def size(self, number: int) -> int | None:
        """Return the size of a file as far as it is certain."""
        posted = self._journal.posted(number)
        return posted.size if len(posted.spans) >= _AGREED else None

    def place(self, number: int, part: int) -> tuple[int, int] | None:
        """Return where *part* begins and ends if all parts have one size, and that is known."""
        posted, parts = self._journal.posted(number), self._posted[number].parts
        length = _part_size(posted, parts)
        if length is None or posted.size is None:
            return None
        return part * length, min(posted.size, (part + 1) * length)

    def look(self, number: int, part: int, body: Body) -> list[int]:
        """Return the parts that are not to be believed any more, now that *body* has come.

        None, as a rule; those beside it, if it is in its place and they are not; all that were
        written, where more articles than these state another size of the file. Raises Unfit for
        what is not to be written.
        """
        own = self._subjects[number]
        if body.name and body.name != own and self._times[body.name] == 1:
            raise self._unfit(number, part, body, f'is of "{body.name}"')
        posted, parts = self._journal.posted(number), self._posted[number].parts
        if (
            (body.begin == 0) != (part == 0)
            or (body.end == body.size and part != parts - 1)
            or body.size > parts * _LARGEST_PART
        ):
            raise self._misplaced(number, part, body)
        if posted.size is None:
            return []
        if body.size != posted.size:
            votes = self._others.setdefault((number, body.size), set())
            votes.add(part)
            if len(votes) <= len(posted.spans) or self._turned[number] == _TURNS:
                raise self._unfit(number, part, body, f"is of a file of {body.size:,} bytes")
            self._turned[number] += 1
            return [*posted.spans]
        return self._look_around(posted, number, part, body)

    def _look_around(self, posted: Posted, number: int, part: int, body: Body) -> list[int]:
        place, here = self.place(number, part), (body.begin, body.end)
        before, after = posted.spans.get(part - 1), posted.spans.get(part + 1)
        disagree = []
        if before is not None and before.end != body.begin:
            disagree.append(part - 1)
        if after is not None and after.begin != body.end:
            disagree.append(part + 1)
        if place == here:
            # It is they who are in the wrong place.
            return disagree
        # Sizes may be one by chance: between its neighbours, an article is in its place all the
        # same. With none, and no size that they all have, there must be nothing there yet.
        if (
            disagree
            or (place is not None and before is None and after is None)
            or (before is None and after is None and _is_taken(posted, body))
        ):
            raise self._misplaced(number, part, body)
        return []

    def oddity(self, number: int, body: Body) -> tuple[str, bool]:
        """Return the name of *body* if it is not the file's, "" otherwise, and if it has a sum."""
        name = self._journal.posted(number).name
        return body.name if body.name != name else "", body.crc is not None

    def _misplaced(self, number: int, part: int, body: Body) -> Unfit:
        where = f"carries bytes {body.begin}-{body.end} of {body.size}"
        return self._unfit(number, part, body, f"{where}, which do not fit its neighbours")

    def _unfit(self, number: int, part: int, body: Body, fault: str) -> Unfit:
        name = self._subjects[number] or self._journal.posted(number).name
        parts = self._posted[number].parts
        return Unfit(f'"{name}": segment {part + 1} of {parts} from {body.provider} {fault}')


def _part_size(posted: Posted, parts: int) -> int | None:
    """Return the size of all parts but the last, None if it is not known or they have several."""
    if posted.size is None:
        return None
    for part, span in islice(posted.spans.items(), _LOOKED_AT):
        is_regular = span.begin == part * span.length and -(-posted.size // span.length) == parts
        if part < parts - 1 and is_regular:
            return span.length
    return None


def _is_taken(posted: Posted, body: Body) -> bool:
    return any(span.begin < body.end and body.begin < span.end for span in posted.spans.values())


def doubted(files: Mapping[int, Posted], number: int) -> set[int]:
    """Return the parts of a file that are written, and look so odd that only par2 can prove them.

    Those that bear another name than most of the file's, and those without a checksum in a post
    whose articles have one.
    """
    posted = files.get(number)
    if posted is None:
        return set()
    found: set[int] = set()
    if any(len(one.unsummed) < len(one.spans) for one in files.values()):
        found |= posted.unsummed & posted.spans.keys()
    names = Counter(posted.names.get(part, posted.name) for part in posted.spans)
    for name, times in names.most_common(1):
        if times >= _AGREED and 2 * times > len(posted.spans):
            found |= {part for part in posted.spans if posted.names.get(part, posted.name) != name}
    return found
