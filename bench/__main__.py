"""`python -m bench`: measure the gateway on this machine, print a table and keep it as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from bench.figures import Results
from bench.throughput import suites as streaming
from bench.to_disk import to_disk, to_disk_shaped


def suites(rounds: int, samples: int) -> dict[str, Callable[[Results], None]]:
    """Return everything that can be measured, by name. *samples*: first bytes of each kind."""
    return {
        **streaming(rounds, samples),
        "disk": lambda results: to_disk(results, max(1, rounds // 3)),
        "disk-slow": to_disk_shaped,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the suites that are named, or all."""
    known = list(suites(1, 1))
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(known)}")
    parser.add_argument("--rounds", type=int, default=9, help="whole files, bare and WebDAV each")
    parser.add_argument("--samples", type=int, default=30, help="first bytes of each kind")
    parser.add_argument("--name", default="throughput", help="of the file in bench/results")
    options = parser.parse_args(arguments)
    if unknown := set(options.suites) - set(known):
        parser.error(f"unknown suites: {', '.join(sorted(unknown))}")
    results = Results(options.name)
    chosen = suites(options.rounds, options.samples)
    for name in options.suites or known:
        print(name, flush=True)
        chosen[name](results)
    print()
    print(results.table())
    print(f"\nwritten to {results.write()}")


if __name__ == "__main__":
    main()
