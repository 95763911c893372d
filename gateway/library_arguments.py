"""What `nzb-gateway library` takes; the commands themselves are imported when they are called."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from gateway.api_client import ApiClient
from gateway.settings import Settings
from gateway.units import parse_duration

_RELEASE = '"name" or "category/name"'


def add_library(commands: Any) -> None:
    """Add `library` and what belongs to it to *commands*, the program's subparsers."""
    library = commands.add_parser("library", help="list, show, remove and export releases")
    of_library = library.add_subparsers(metavar="COMMAND", required=True)

    listing = of_library.add_parser(
        "list",
        help="list releases, with what is known of them",
        epilog="LINKS: waiting, its links still lie in completed-symlinks; gone, all of them were "
        "taken away, into a library or for good: name the folders of your library with --roots to "
        "find out; those that are waiting are counted then, not listed. LAST READ counts whoever "
        "read, scanners too. Exit code 4: not all folders could be looked into.",
    )
    listing.add_argument(
        "pattern",
        nargs="?",
        metavar="PATTERN",
        help='part of a name, or with * and ? a whole one; with a slash: "category/name"',
    )
    listing.add_argument("--category", metavar="NAME", help="only releases of this category")
    listing.add_argument(
        "--health",
        choices=("healthy", "degraded", "failed", "unknown"),
        help="only releases whose worst file is that",
    )
    listing.add_argument(
        "--unlinked", action="store_true", help="only those whose links were all taken away"
    )
    listing.add_argument(
        "--unread-for",
        type=_duration,
        metavar="TIME",
        help="only those that were added, and last read, so long ago: 90d",
    )
    listing.add_argument(
        "--roots",
        nargs="+",
        action="extend",
        type=Path,
        metavar="DIR",
        help="only those that no symbolic link and no .strm file in these folders leads to",
    )
    listing.add_argument(
        "--sort",
        choices=("name", "added", "size", "read"),
        default="name",
        help="name (default), added: newest first, size: largest first, read: longest ago first",
    )
    listing.add_argument("--json", action="store_true", help="print what the API answers")
    listing.set_defaults(command=_list)

    show = of_library.add_parser("show", help="show all that is known of a release")
    show.add_argument("releases", nargs="+", metavar="RELEASE", help=_RELEASE)
    show.add_argument("--json", action="store_true", help="print what the API answers")
    show.set_defaults(command=_show)

    remove = of_library.add_parser(
        "rm",
        help="remove releases, their links, and what was downloaded of them",
        epilog="Links in other libraries lead nowhere from then on. Who reads a file, reads on.",
    )
    remove.add_argument("releases", nargs="+", metavar="RELEASE", help=_RELEASE)
    remove.add_argument("--yes", action="store_true", help="do not ask")
    remove.set_defaults(command=_remove)

    export = of_library.add_parser("export", help="write the NZBs of releases, as they came")
    export.add_argument("releases", nargs="*", metavar="RELEASE", help=_RELEASE)
    export.add_argument(
        "--all",
        action="store_true",
        help="all releases, each category in a folder of its own; what is there already stays",
    )
    export.add_argument(
        "--to",
        default=".",
        metavar="DIR",
        help="the folder for them (default: this one), or - for the standard output",
    )
    export.add_argument("--force", action="store_true", help="overwrite files that differ")
    export.set_defaults(command=_export)


def _duration(text: str) -> float:
    try:
        return float(str(parse_duration(text)))
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} {exc}") from None


def _list(given: argparse.Namespace, settings: Settings) -> int:
    from gateway import library_listing

    return library_listing.show_list(
        ApiClient.of(settings),
        library_listing.Asked(
            given.pattern,
            given.category,
            given.health,
            given.unlinked,
            given.unread_for,
            given.sort,
            tuple(given.roots or ()),
        ),
        mount_dir=settings.mount_dir,
        complete=settings.complete,
        as_json=given.json,
        out=sys.stdout,
        err=sys.stderr,
    )


def _show(given: argparse.Namespace, settings: Settings) -> int:
    from gateway import library_command

    client = ApiClient.of(settings)
    return library_command.show(client, given.releases, as_json=given.json, out=sys.stdout)


def _remove(given: argparse.Namespace, settings: Settings) -> int:
    from gateway import library_command

    return library_command.remove(
        ApiClient.of(settings), given.releases, yes=given.yes, answers=sys.stdin, out=sys.stdout
    )


def _export(given: argparse.Namespace, settings: Settings) -> int:
    from gateway import library_export

    return library_export.export(
        ApiClient.of(settings),
        given.releases,
        everything=given.all,
        to=given.to,
        force=given.force,
        out=sys.stdout,
        err=sys.stderr,
    )
