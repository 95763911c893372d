"""Programs of others, run on files of strangers: bounded, quiet, and gone when nobody wants them.

No shell, no environment but what is needed, a session of its own without a terminal, less
priority than anything that plays, and limits on memory and on the size of a file; and none outlives
us, however we end. What a program prints is kept to an end of it; what it says is a hint, never
proof.
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import ImportFailed, ProgramKilled
from gateway_queue.unpacking.programs import PATH

_TICK_S = 0.25
_NICE = 10
_KEPT = 64 * 1024  # bytes of what it prints
_READ = 64 * 1024
# Nothing of ours, and no home to leave anything in. glibc sets address space aside for each core.
_ENVIRONMENT = {
    "PATH": PATH,
    "LC_ALL": "C.UTF-8",
    "HOME": "/nonexistent",
    "MALLOC_ARENA_MAX": "4",
}
_LONGEST_S = 24 * 3600.0  # 200 GB on a slow disk; a program that hangs ends some day

# Run before a program, in its process: what Linux is asked for there (that it dies with the thread
# that waits for it) can be asked for from nowhere else, and what is done between a fork and an exec
# must not be Python in a process that has threads. Python ignores signals that programs expect.
_LAUNCH = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, ctypes.c_ulong(signal.SIGKILL))  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    os._exit(127)  # it was too late
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as exc:
    os.write(1, f"{sys.argv[2]}: {exc.strerror}".encode())
    os._exit(127)
"""
# Signals that others send; what a program gets for what it did itself is not among them.
_FROM_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})

MEMORY = 4 << 30
"""Address space that a program may have: 7z's largest common dictionary and then some."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use. *file_size* is that of the largest file it may write."""

    file_size: int
    memory: int = MEMORY
    timeout_s: float = _LONGEST_S


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: its exit *code*, negative for a signal, and the end of what it said."""

    code: int
    said: str

    @property
    def last_words(self) -> str:
        """The last line that it printed, short enough for an error."""
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        return lines[-1][:200] if lines else "it said nothing"


def run(
    command: Sequence[str | Path],
    *,
    folder: Path,
    limits: Limits,
    tick: Callable[[str], object],
    feed: Iterable[bytes] = (),
) -> Ended:
    """Run *command* in *folder*, give it *feed* to read, and return how it ended.

    *tick* is called four times a second, and for all that is printed, with what was printed since
    (carriage returns as line ends). What it raises ends the program with all that it started, and
    goes through: so does whoever cancels. Raises ImportFailed where it takes too long, and
    ProgramKilled where somebody else has ended it.
    """
    deadline = time.monotonic() + limits.timeout_s
    process = subprocess.Popen(  # noqa: S603
        [*_launcher(), *(os.fspath(part) for part in command)],
        cwd=folder,
        env=_ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    kept = b""
    try:
        _restrain(process.pid, limits)
        for printed in _spoken(process, iter(feed)):
            if time.monotonic() > deadline:
                name = Path(command[0]).name
                raise ImportFailed(f"{name} did not end within {limits.timeout_s:,.0f} s")
            kept = (kept + printed)[-_KEPT:]
            tick(_text(printed))
    finally:
        _end(process)
    if -process.returncode in _FROM_OUTSIDE:
        raise ProgramKilled(
            f"{Path(command[0]).name} was killed ({signal.Signals(-process.returncode).name}): "
            "the machine may have had no memory left"
        )
    return Ended(process.returncode, _text(kept))


def _launcher() -> list[str]:
    if sys.platform != "linux":
        return []
    return [sys.executable, "-I", "-S", "-B", "-c", _LAUNCH, str(os.getpid())]


def _text(printed: bytes) -> str:
    return printed.decode("utf-8", "replace").replace("\r", "\n")


def _restrain(pid: int, limits: Limits) -> None:
    # From outside: code between fork and exec may not take locks that other threads hold.
    with contextlib.suppress(OSError):  # it has ended already
        os.setpriority(os.PRIO_PROCESS, pid, _NICE)
    if hasattr(resource, "prlimit"):  # Linux
        with contextlib.suppress(OSError, ValueError):
            resource.prlimit(pid, resource.RLIMIT_AS, (limits.memory, limits.memory))
        with contextlib.suppress(OSError, ValueError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (limits.file_size, limits.file_size))
        with contextlib.suppress(OSError, ValueError):
            resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def _spoken(process: subprocess.Popen[bytes], feed: Iterator[bytes]) -> Iterator[bytes]:
    """Give what *process* prints, b"" at each tick, while it takes *feed*; end when it does."""
    assert process.stdin is not None
    assert process.stdout is not None
    reading, writing = process.stdout.fileno(), process.stdin.fileno()
    os.set_blocking(writing, False)
    waiting = memoryview(b"")
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        selector.register(writing, selectors.EVENT_WRITE)
        while True:
            ready = {key.fd for key, _ in selector.select(_TICK_S)}
            if writing in ready:
                waiting = waiting or memoryview(next(feed, b""))
                gone = not waiting
                with contextlib.suppress(BlockingIOError):
                    try:
                        waiting = waiting[os.write(writing, waiting) if waiting else 0 :]
                    except BrokenPipeError:
                        gone = True
                if gone:
                    selector.unregister(writing)
                    process.stdin.close()
            printed = b""
            if reading in ready:
                printed = os.read(reading, _READ)
                if not printed:
                    break
            yield printed
    while process.poll() is None:  # it has closed its output, and goes on
        yield b""
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_TICK_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None and not pipe.closed:
            with contextlib.suppress(OSError):
                pipe.close()
