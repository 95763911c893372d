"""`python -m bench.shares`: how connections are shared, in a model and on a shaped line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from bench import model, rounds
from bench.contention import contention
from bench.figures import Figure, Results

_COLUMNS = ("busy", "stream/s", "queue/s", "health/s")
_OFF = 10.0
_LEAST = 5.0  # what is expected to be nothing may be 0.5 more


def rules(results: Results) -> None:
    """Run every rule under the model clock; print a table, what is expected in brackets."""
    print(f"  {model.TOTAL} connections, exchanges of {model.MEAN_S} s on average")
    width = max(len(rule.name) for rule in model.RULES)
    print(" ", "rule".ljust(width), *(column.rjust(15) for column in _COLUMNS))
    off = []
    for rule in model.RULES:
        pairs = list(zip(rule.run().rates, rule.expected, strict=True))
        cells = [f"{found:.1f} ({expected:g})".rjust(15) for found, expected in pairs]
        print(" ", rule.name.ljust(width), *cells, flush=True)
        off += [100 * abs(found - wanted) / max(wanted, _LEAST) for found, wanted in pairs]
        for column, (found, _) in zip(_COLUMNS, pairs, strict=True):
            unit = "permits" if column == "busy" else "1/s"
            results.figures.append(Figure(f"{rule.name}: {column}", unit, (found,)))
    results.add("model: off by at most", "%", [max(off)], aim=_OFF, at_most=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts that are named, or all; print tables and keep them as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.shares", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="of rules, rounds, line")
    parser.add_argument("--samples", type=int, default=36, help="first bytes, idle and loaded each")
    parser.add_argument("--seconds", type=float, default=15.0, help="of every load")
    parser.add_argument("--name", default="shares", help="of the file in bench/results")
    options = parser.parse_args(arguments)
    parts: dict[str, Callable[[Results], None]] = {
        "rules": rules,
        "rounds": rounds.measure,
        "line": lambda results: contention(results, options.samples, options.seconds),
    }
    if unknown := set(options.parts) - set(parts):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}")
    results = Results(options.name)
    for name in options.parts or parts:
        print(name, flush=True)
        parts[name](results)
    print(f"\nwritten to {results.write()}")


if __name__ == "__main__":
    main()
