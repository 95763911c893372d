"""The demo VOD service as a process of its own: `python -m gateway.demo.xtream`.

It prints one JSON object, with its host and port, when it listens, and stops when its standard
input ends. `/_demo/` on the same port tells what it did and has it fail: see `XtreamServer`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.demo.xtream.panel import Movie
from gateway.demo.xtream.server import XtreamServer


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m gateway.demo.xtream", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: one that is free")
    parser.add_argument(
        "--account",
        type=json.loads,
        action="append",
        default=[],
        metavar='["NAME", "PASSWORD", STREAMS]',
    )
    parser.add_argument("--movie", type=_movie, action="append", default=[], metavar="ID:SIZE")
    parser.add_argument("--file", type=_file, action="append", default=[], metavar="ID:PATH")
    parser.add_argument("--full-status", type=int, default=403)
    given = parser.parse_args(arguments)
    accounts = {name: (password, streams) for name, password, streams in given.account}
    with XtreamServer(accounts, port=given.port, full_status=given.full_status) as server:
        server.add(*given.movie, *given.file)
        print(json.dumps({"host": server.host, "port": server.port}), flush=True)
        sys.stdin.read()


def _movie(text: str) -> Movie:
    number, size = text.split(":")
    return Movie(int(number), f"Film {number} (2001)", int(size))


def _file(text: str) -> Movie:
    number, _, name = text.partition(":")
    path = Path(name)
    return Movie(
        int(number), path.stem, given=path.read_bytes(), extension=path.suffix.removeprefix(".")
    )


if __name__ == "__main__":
    main()
