"""What `nzb-gateway queue` takes; the command itself is imported when it is called."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from gateway.api_client import ApiClient
from gateway.settings import Settings

_JOB = "its id or, if no other job has it, its name"


def add_queue(commands: Any) -> None:
    """Add `queue` and what belongs to it to *commands*, the program's subparsers."""
    queue = commands.add_parser("queue", help="list the queue and the history, and change it")
    queue.add_argument(
        "--history", type=_positive, default=20, metavar="N", help="of the history, the last N"
    )
    queue.add_argument("--json", action="store_true", help="print what the API answers")
    queue.set_defaults(command=_show)
    of_queue = queue.add_subparsers(metavar="")
    for name, words in (
        ("pause", "pause jobs, or all that is not forced if none is named"),
        ("resume", "go on with jobs, or with the queue if none is named"),
        ("rm", "take jobs out of the queue, with what was downloaded of them"),
    ):
        one = of_queue.add_parser(name, help=words)
        one.add_argument("jobs", nargs="+" if name == "rm" else "*", metavar="JOB", help=_JOB)
        one.set_defaults(command=_act, action=name)
    priority = of_queue.add_parser("priority", help="say which jobs come first")
    priority.add_argument("level", choices=("low", "normal", "high", "force"))
    priority.add_argument("jobs", nargs="+", metavar="JOB", help=_JOB)
    priority.set_defaults(command=_prioritize)


def _positive(text: str) -> int:
    number = int(text)  # argparse words the ValueError
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError(f"{number} is not between 1 and 1000")
    return number


def _show(given: argparse.Namespace, settings: Settings) -> int:
    from gateway import queue_command

    client = ApiClient.of(settings)
    return queue_command.show(client, given.history, as_json=given.json, out=sys.stdout)


def _act(given: argparse.Namespace, settings: Settings) -> int:
    from gateway import queue_command

    return queue_command.act(ApiClient.of(settings), given.action, given.jobs, sys.stdout)


def _prioritize(given: argparse.Namespace, settings: Settings) -> int:
    from gateway import queue_command

    return queue_command.prioritize(ApiClient.of(settings), given.level, given.jobs, sys.stdout)
