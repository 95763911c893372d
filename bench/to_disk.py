"""Downloads to the disk against nzbget: bytes a second, and CPU seconds a GiB of each.

Both take the same post from the same news server in turns, onto the same disk. nzbget (Debian's)
may be missing: then its rows are. A line whose rate is known is held against that: what the bare
client has of it in the same turns, without a disk, says what the machine gives at that time. Runs
of the gateway that the machine's host has disturbed are repeated, and shown apart.
"""

from __future__ import annotations

import hashlib
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import bare
from bench.figures import Results
from bench.gateway_process import GatewayProcess
from bench.host import Steal
from bench.throughput import (
    GIB,
    LOGIN,
    PREMIUM,
    SLOW,
    UNSHAPED,
    WIRE_PER_BYTE,
    Scenario,
    fetch_bare,
)
from gateway.demo import Shape
from gateway.demo.process import PostSpec, ServerProcess, spawn

_DISK = replace(UNSHAPED, name="disk", spec=PostSpec("bench.mkv", GIB))
# Connections could carry twice of what the line does: it is the line that counts.
_LINE = 50 << 20
_DISK_LINE = Scenario(
    "disk-line",
    PostSpec("bench.mkv", GIB),
    Shape(0.040, rate_per_connection=8 << 20, rate_total=_LINE),
    connections=20,
)
# Here connections carry just what the line does: whoever lets one idle for a round trip is slower.
_DISK_SLOW = replace(SLOW, name="disk-slow", spec=PostSpec("bench.mkv", 4 * GIB, 4 << 20))
_DISK_PREMIUM = replace(PREMIUM, name="disk-premium", spec=PostSpec("bench.mkv", 12 * GIB))
# A run from which the host takes more of the machine tells of the host: there is another one,
# whatever came of it, but not for ever.
_UNDISTURBED = 0.01
_RUNS = 8


@dataclass(frozen=True, slots=True)
class Taken:
    """What one download took. *steal* is the host's share of the machine meanwhile."""

    bytes_per_s: float
    cpu_s_per_gib: float
    steal: float

    @property
    def is_disturbed(self) -> bool:
        return self.steal > _UNDISTURBED


@dataclass(slots=True)
class Turns:
    """What each took, turn by turn. *bares* are bytes a second.

    *mine* are the runs of the gateway that count, *repeated* those that were disturbed.
    """

    mine: list[Taken] = field(default_factory=list)
    repeated: list[Taken] = field(default_factory=list)
    theirs: list[Taken] = field(default_factory=list)
    bares: list[float] = field(default_factory=list)


def to_disk(results: Results, rounds: int) -> None:
    """Measure on a line that is as fast as it goes."""
    _add(results, _DISK.name, _in_turns(_DISK, rounds))


def to_disk_shaped(results: Results) -> None:
    """Measure on lines whose rate is known."""
    # The fastest line takes most of the machine: there a turn tells least.
    for scenario, rounds in ((_DISK_LINE, 1), (_DISK_SLOW, 1), (_DISK_PREMIUM, 3)):
        turns = _in_turns(scenario, rounds)
        _add(results, scenario.name, turns)
        assert scenario.shape is not None
        assert scenario.shape.rate_total is not None
        line = scenario.shape.rate_total / WIRE_PER_BYTE
        name, bares = scenario.name, [one / line for one in turns.bares]
        results.add(f"{name}: bare client / line", "", bares)
        if turns.repeated:
            steals = (100 * one.steal for one in turns.repeated)
            results.add(f"{name}: steal, repeated", "%", steals)
            shares = [one.bytes_per_s / line for one in turns.repeated]
            results.add(f"{name}: gateway / line, repeated", "", shares)
        results.add(f"{name}: steal", "%", (100 * one.steal for one in turns.mine))
        steal = statistics.median(one.steal for one in turns.mine)
        valid = statistics.median(bares) >= bare.VALID_SHAPED and steal <= _UNDISTURBED
        shares = [one.bytes_per_s / line for one in turns.mine]
        results.add(f"{name}: gateway / line", "", shares, aim=0.95, valid=valid)


def _in_turns(scenario: Scenario, rounds: int) -> Turns:
    post, line = scenario.spec.make(), scenario.shape
    sha256 = post.files[0].sha256()
    turns = Turns()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nzb-gateway-bench-")))
        server = stack.enter_context(spawn(scenario.spec, shape=scenario.shape, user=LOGIN))
        nzb = folder / "bench.nzb"
        nzb.write_bytes(post.nzb)
        ids = folder / "message-ids.txt"
        ids.write_text("\n".join(post.message_ids))
        for _ in range(rounds):
            tries = [_gateway(scenario, server, folder, nzb, sha256)]
            while line is not None and tries[-1].is_disturbed and len(tries) < _RUNS:
                tries.append(_gateway(scenario, server, folder, nzb, sha256))
            turns.mine.append(tries.pop())
            turns.repeated += tries
            if shutil.which("nzbget"):
                turns.theirs.append(_nzbget(scenario, server, folder, nzb, sha256))
            if line is not None:
                turns.bares.append(fetch_bare(scenario, server, ids).bytes_per_s)
    return turns


def _gateway(
    scenario: Scenario, server: ServerProcess, within: Path, nzb: Path, sha256: str
) -> Taken:
    folder = Path(tempfile.mkdtemp(dir=within))
    with GatewayProcess(
        folder,
        provider=(server.host, server.port),
        connections=scenario.connections,
        settings={"CATEGORIES__MOVIES__STORAGE": "download"},
    ) as gateway:
        cpu, began, steal = gateway.cpu_s(), time.perf_counter(), Steal()
        gateway.add("bench", nzb.read_bytes())
        wall_s, cpu_s, stolen = time.perf_counter() - began, gateway.cpu_s() - cpu, steal.share()
    return _taken(scenario, folder / "complete", sha256, wall_s, cpu_s, stolen)


def _nzbget(
    scenario: Scenario, server: ServerProcess, within: Path, nzb: Path, sha256: str
) -> Taken:
    folder = Path(tempfile.mkdtemp(dir=within))
    options = {
        "MainDir": folder,
        "DestDir": folder / "complete",
        "Server1.Active": "yes",
        "Server1.Host": server.host,
        "Server1.Port": server.port,
        "Server1.Username": LOGIN[0],
        "Server1.Password": LOGIN[1],
        "Server1.Connections": scenario.connections,
        "Server1.Encryption": "no",
        "OutputMode": "log",
        "DirectWrite": "yes",
        "WriteBuffer": 1024,
        "Unpack": "no",
        "ParCheck": "manual",
    }
    command = ["nzbget", "-n", *(f"-o{name}={value}" for name, value in options.items()), str(nzb)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began, steal = time.perf_counter(), Steal()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=600)
    wall_s, stolen = time.perf_counter() - began, steal.share()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return _taken(scenario, folder / "complete", sha256, wall_s, cpu_s, stolen)


def _taken(
    scenario: Scenario, folder: Path, sha256: str, wall_s: float, cpu_s: float, steal: float
) -> Taken:
    (film,) = folder.rglob("bench.mkv")
    with film.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(f"{film}: SHA-256 is {found}, not {sha256}")
    shutil.rmtree(folder)
    return Taken(scenario.spec.size / wall_s, cpu_s / (scenario.spec.size / GIB), steal)


def _add(results: Results, name: str, turns: Turns) -> None:
    add, mine, theirs = results.add, turns.mine, turns.theirs
    add(f"{name}: gateway", "MB/s", (one.bytes_per_s / 1e6 for one in mine))
    add(f"{name}: CPU of the gateway", "s/GiB", (one.cpu_s_per_gib for one in mine))
    if theirs:
        add(f"{name}: nzbget", "MB/s", (one.bytes_per_s / 1e6 for one in theirs))
        add(f"{name}: CPU of nzbget", "s/GiB", (one.cpu_s_per_gib for one in theirs))
        pairs = zip(mine, theirs, strict=True)
        ratios = [one.bytes_per_s / other.bytes_per_s for one, other in pairs]
        add(f"{name}: gateway / nzbget", "", ratios, aim=1.0)
