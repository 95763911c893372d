"""Downloads to the disk against nzbget: bytes a second, and CPU seconds a GiB of each.

Both take the same post from the same news server in turns, onto the same disk. nzbget (Debian's)
may be missing: then its rows are.
"""

from __future__ import annotations

import hashlib
import resource
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bench.figures import Results
from bench.gateway_process import GatewayProcess
from bench.throughput import GIB, LOGIN, PREMIUM, SLOW, UNSHAPED, WIRE_PER_BYTE, Scenario
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


@dataclass(frozen=True, slots=True)
class Taken:
    """What one download took."""

    bytes_per_s: float
    cpu_s_per_gib: float


def to_disk(results: Results, rounds: int) -> None:
    """Measure on a line that is as fast as it goes."""
    mine, theirs = _in_turns(_DISK, rounds)
    _add(results, _DISK.name, mine, theirs)


def to_disk_shaped(results: Results) -> None:
    """Measure on lines whose rate is known."""
    for scenario in (_DISK_LINE, _DISK_SLOW, _DISK_PREMIUM):
        mine, theirs = _in_turns(scenario, 1)
        _add(results, scenario.name, mine, theirs)
        assert scenario.shape is not None
        assert scenario.shape.rate_total is not None
        line = scenario.shape.rate_total / WIRE_PER_BYTE
        shares = [one.bytes_per_s / line for one in mine]
        results.add(f"{scenario.name}: gateway / line", "", shares, aim=0.95)


def _in_turns(scenario: Scenario, rounds: int) -> tuple[list[Taken], list[Taken]]:
    post = scenario.spec.make()
    sha256 = post.files[0].sha256()
    mine, theirs = [], []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nzb-gateway-bench-")))
        server = stack.enter_context(spawn(scenario.spec, shape=scenario.shape, user=LOGIN))
        nzb = folder / "bench.nzb"
        nzb.write_bytes(post.nzb)
        for turn in range(rounds):
            mine.append(_gateway(scenario, server, folder / f"gateway-{turn}", nzb, sha256))
            if shutil.which("nzbget"):
                theirs.append(_nzbget(scenario, server, folder / f"nzbget-{turn}", nzb, sha256))
    return mine, theirs


def _gateway(
    scenario: Scenario, server: ServerProcess, folder: Path, nzb: Path, sha256: str
) -> Taken:
    folder.mkdir()
    with GatewayProcess(
        folder,
        provider=(server.host, server.port),
        connections=scenario.connections,
        settings={"CATEGORIES__MOVIES__STORAGE": "download"},
    ) as gateway:
        cpu, began = gateway.cpu_s(), time.perf_counter()
        gateway.add("bench", nzb.read_bytes())
        wall_s, cpu_s = time.perf_counter() - began, gateway.cpu_s() - cpu
    return _taken(scenario, folder / "complete", sha256, wall_s, cpu_s)


def _nzbget(
    scenario: Scenario, server: ServerProcess, folder: Path, nzb: Path, sha256: str
) -> Taken:
    folder.mkdir()
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
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=600)
    wall_s = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return _taken(scenario, folder / "complete", sha256, wall_s, cpu_s)


def _taken(scenario: Scenario, folder: Path, sha256: str, wall_s: float, cpu_s: float) -> Taken:
    (film,) = folder.rglob("bench.mkv")
    with film.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(f"{film}: SHA-256 is {found}, not {sha256}")
    shutil.rmtree(folder)
    return Taken(scenario.spec.size / wall_s, cpu_s / (scenario.spec.size / GIB))


def _add(results: Results, name: str, mine: list[Taken], theirs: list[Taken]) -> None:
    add = results.add
    add(f"{name}: gateway", "MB/s", (one.bytes_per_s / 1e6 for one in mine))
    add(f"{name}: CPU of the gateway", "s/GiB", (one.cpu_s_per_gib for one in mine))
    if theirs:
        add(f"{name}: nzbget", "MB/s", (one.bytes_per_s / 1e6 for one in theirs))
        add(f"{name}: CPU of nzbget", "s/GiB", (one.cpu_s_per_gib for one in theirs))
        pairs = zip(mine, theirs, strict=True)
        ratios = [one.bytes_per_s / other.bytes_per_s for one, other in pairs]
        add(f"{name}: gateway / nzbget", "", ratios, aim=1.0)
