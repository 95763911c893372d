"""What a category asks of its releases: plain values, which the settings fill."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.library.entries import LinkKind


class Storage(enum.StrEnum):
    """Where the bytes of a release stay."""

    STREAM = "stream"  # with the providers: what is watched is fetched when it is watched
    DOWNLOAD = "download"  # on the disk, repaired and unpacked


class Verify(enum.StrEnum):
    """How an import makes sure that a post is whole."""

    SAMPLE = "sample"  # asks for the first, the last and 1 % of each file's articles
    ALL = "all"  # asks for every article
    DEEP = "deep"  # fetches every article once, and looks at what it says


class OnMissing(enum.StrEnum):
    """What a reader gets for articles that every provider lacks."""

    FAIL = "fail"  # an error
    PAD = "pad"  # in films, something that players skip


class Links(enum.StrEnum):
    """What an import leaves in `completed-symlinks` for each file, for an *arr to move."""

    SYMLINK = "symlink"  # a .rclonelink, which a mount shows as a symbolic link
    STRM = "strm"  # a .strm with an address, for players
    NONE = "none"

    @property
    def kind(self) -> LinkKind:
        """Return what the library makes of it."""
        return LinkKind[self.name]


class Duplicates(enum.StrEnum):
    """What becomes of a release whose name its category has already."""

    INCREMENT = "increment"  # it is called "name (2)"
    FAIL = "fail"


SAMPLES = "samples"
"""Stands in a blocklist for files that are named as samples, and are as small as one."""

BLOCKLIST = ("*.nfo", "*.par2", "*.sfv", SAMPLES)


@dataclass(frozen=True, slots=True)
class CategoryRules:
    """What is asked of the releases of the category *name*.

    *dir* is its folder, by default its own name. *blocklist* are patterns (`*.nfo`) of names that
    are left out, in any case of letters, and perhaps SAMPLES. *media_required*: a post without
    any video or audio file fails.
    """

    name: str
    dir: str = ""
    verify: Verify = Verify.SAMPLE
    links: Links = Links.SYMLINK
    duplicates: Duplicates = Duplicates.INCREMENT
    blocklist: tuple[str, ...] = BLOCKLIST
    media_required: bool = True
    storage: Storage = Storage.STREAM
    on_missing: OnMissing = OnMissing.FAIL

    @property
    def folder(self) -> str:
        """Return the folder of its releases."""
        return self.dir or self.name


def padded_folders(rules: Iterable[CategoryRules]) -> frozenset[str]:
    """Return the folders in which films are padded: all categories that share one want it."""
    by_choice: dict[bool, set[str]] = {True: set(), False: set()}
    for one in rules:
        by_choice[one.on_missing is OnMissing.PAD].add(one.folder)
    return frozenset(by_choice[True] - by_choice[False])


def rules_of(rules: Mapping[str, CategoryRules], category: str) -> CategoryRules:
    """Return the rules of *category*: one that no setting names any more has the usual ones."""
    return rules.get(category) or CategoryRules(category)
