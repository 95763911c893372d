"""The demo news server as a process of its own, for benches: its CPU is not its client's."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from gateway.demo.child import Child
from gateway.demo.faults import Fault
from gateway.demo.post import PART_SIZE, Post, make_bulk_post
from gateway.demo.shape import Shape
from gateway.demo.site import LimitAt


@dataclass(frozen=True, slots=True)
class PostSpec:
    """What it takes to make the same bulk post in two processes."""

    name: str
    size: int
    part_size: int = PART_SIZE
    seed: int = 0

    def make(self) -> Post:
        """Return the post."""
        return make_bulk_post(self.name, self.size, part_size=self.part_size, seed=self.seed)

    def format(self) -> str:
        """Return the post as an argument of the command line."""
        return f"{self.name}:{self.size}:{self.part_size}:{self.seed}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what `format` wrote. Raises ValueError."""
        name, size, part_size, seed = text.rsplit(":", 3)
        return cls(name, int(size), int(part_size), int(seed))


@dataclass(frozen=True, slots=True)
class Report:
    """What the server did since it began, and what that cost it."""

    cpu_s: float
    bytes_sent: int
    commands: dict[str, int]
    bodies: int
    connections: int
    peak_connections: int
    total_connections: int


class ServerProcess(Child):
    """A news server that runs elsewhere; made by `spawn`, stopped by `stop` or `with`."""

    def __init__(self, arguments: list[str]) -> None:
        super().__init__("gateway.demo", arguments)

    def report(self) -> Report:
        """Return counts and CPU seconds."""
        return Report(**self._ask({"do": "report"}))

    def fail(self, fault: Fault, *message_ids: str, **how: Any) -> None:
        """Do what `NewsServer.fail` does."""
        self._ask({"do": "fail", "fault": fault.name, "ids": message_ids, **how})

    def heal(self) -> None:
        """Forget all faults, and release."""
        self._ask({"do": "heal"})

    def release(self) -> None:
        """Let replies go on that are held."""
        self._ask({"do": "release"})

    def remove(self, message_ids: Iterable[str]) -> None:
        """Serve these articles no longer."""
        self._ask({"do": "remove", "ids": list(message_ids)})

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        self.tell(order)
        return self.answer()


def spawn(
    *posts: PostSpec,
    shape: Shape | None = None,
    user: tuple[str, str] | None = None,
    max_connections: int | None = None,
    limit_at: LimitAt = LimitAt.GREETING,
    certificate: Path | None = None,
) -> ServerProcess:
    """Start a news server with these posts in a process of its own, and wait until it listens.

    *user*: name and password that a login takes; None: none is asked for. *certificate*: a PEM
    file with key and chain; then it speaks TLS.
    """
    arguments = [f"--post={post.format()}" for post in posts]
    if shape is not None:
        arguments.append(f"--shape={json.dumps(asdict(shape))}")
    if user is not None:
        arguments.append(f"--user={':'.join(user)}")
    if max_connections is not None:
        arguments += [f"--max-connections={max_connections}", f"--limit-at={limit_at.value}"]
    if certificate is not None:
        arguments.append(f"--certificate={certificate}")
    return ServerProcess(arguments)
