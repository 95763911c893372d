"""One archive of a folder: unpacked by the first password that opens it, into an empty folder."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import GatewayError, ImportFailed, StorageError, StorageFull, WrongPassword
from gateway_queue.contents import Kind
from gateway_queue.unpacking import rar_archive, seven_zip
from gateway_queue.unpacking.bounds import (
    Allowance,
    Bounds,
    Entry,
    Nature,
    refuse_long_names,
)
from gateway_queue.unpacking.gathering import gather
from gateway_queue.unpacking.meter import SLACK, Meter
from gateway_queue.unpacking.volumes_on_disk import volumes_of
from gateway_queue.unpacking.workroom import probe, remove, show, workroom

_FULL = 1 << 20  # bytes: with less left, not every program says why it failed


@dataclass(frozen=True, slots=True)
class Job:
    """What all archives of a post share: *room* is where they are unpacked."""

    room: Path
    passwords: tuple[str, ...]
    bounds: Bounds
    allowance: Allowance
    meter: Meter


def unpack(job: Job, kind: Kind, paths: Sequence[Path], name: str, out: Path) -> list[Path]:
    """Unpack the archive *name* of the volumes *paths*, in order, into *out*; return its files.

    *out* is made; after any error it is gone. Raises WrongPassword where no password opens it,
    IncompletePost, UnsupportedArchive, any other ImportFailed, StorageFull, and OSError where the
    disk is gone.
    """
    extract = _rar if kind is Kind.RAR else _seven_zip
    refused: list[WrongPassword] = []
    with workroom(job.room) as links:
        for password in (None, *job.passwords):
            out.mkdir()
            try:
                stated = extract(job, kind, paths, links, name, out, password)
                files, total = job.meter.look(out, job.allowance, name, stated)
                found = gather(out, name)
            except WrongPassword as exc:
                refused.append(exc)
                remove(out)
            except BaseException as exc:
                full = shutil.disk_usage(job.room).free < _FULL
                remove(out)
                if isinstance(exc, ImportFailed):
                    probe(job.room)
                if full and isinstance(exc, ImportFailed):
                    raise StorageFull(f'the disk became full while "{name}" was unpacked') from exc
                raise
            else:
                job.allowance.spend(files, total)
                job.meter.wrote(total)
                return found
    if job.passwords:
        # Of many formats nobody can tell which it is.
        raise WrongPassword(
            f'"{name}" is encrypted, and no known password opens it, unless it is damaged'
        )
    raise refused[-1]


def _seven_zip(
    job: Job,
    kind: Kind,
    paths: Sequence[Path],
    links: Path,
    name: str,
    out: Path,
    password: str | None,
) -> int:
    first = _show(paths, links, _seven_zip_names(kind, paths))
    entries = seven_zip.listing(
        first, password, name, job.bounds.most_files, lambda: job.meter.show(0)
    )
    total = _admit(job, name, entries, out, password)
    refuse_long_names(name, entries)
    tick = job.meter.watch(out, job.allowance, name, total)
    seven_zip.extract(first, out, password, name, total + SLACK, tick)
    _compare(name, entries, out)
    return total


def _seven_zip_names(kind: Kind, paths: Sequence[Path]) -> list[str]:
    if kind is Kind.ZIP:  # .z01, .z02, ..., .zip: it is opened by the last
        return [f"archive.z{n:02}" for n in range(1, len(paths))] + ["archive.zip"]
    if len(paths) == 1:
        return ["archive.7z"]
    return [f"archive.7z.{n:03}" for n in range(1, len(paths) + 1)]


def _rar(
    job: Job,
    kind: Kind,  # noqa: ARG001
    paths: Sequence[Path],
    links: Path,
    name: str,
    out: Path,
    password: str | None,
) -> int:
    volumes = volumes_of(paths)
    entries, stored = rar_archive.listing(volumes, password)
    total = _admit(job, name, entries, out, password)
    tick = job.meter.watch(out, job.allowance, name, total)
    if stored:
        rar_archive.copy(volumes, out, password, name, tick)
        return total
    refuse_long_names(name, entries)
    first = _show(paths, links, rar_archive.link_names(paths))
    shown = [first, *sorted(set(links.iterdir()) - {first})]
    refused: list[GatewayError] = []
    for refusal in rar_archive.extract(shown, out, password, name, total + SLACK, tick):
        if refusal is None:
            _compare(name, entries, out)
            return total
        if isinstance(refusal, StorageError):
            raise refusal
        refused.append(refusal)
        remove(out)
        out.mkdir()
    worst = next((one for one in refused if isinstance(one, WrongPassword)), refused[0])
    if password is not None and type(worst) is ImportFailed:
        # What a wrong password makes of RAR 4 looks like damage.
        worst = WrongPassword(f'"{name}" is encrypted, and the known password does not open it')
    raise worst


def _show(paths: Sequence[Path], links: Path, names: Sequence[str]) -> Path:
    """Make *paths* appear in *links* as *names*; return the one that programs are to open."""
    for path, name in zip(paths, names, strict=True):
        if not (links / name).exists():
            show(path, links / name)
    return links / (names[-1] if names[-1].endswith(".zip") else names[0])


def _admit(job: Job, name: str, entries: Iterable[Entry], out: Path, password: str | None) -> int:
    """Return the bytes that *entries* become, if they may. Raises as `Allowance.check`."""
    entries = list(entries)
    total = job.allowance.check(name, entries, out)
    if password is None and any(entry.encrypted and entry.size != 0 for entry in entries):
        raise WrongPassword(f'"{name}" is encrypted, and no password is known')
    job.meter.expect(total)
    return total


def _compare(name: str, entries: Iterable[Entry], out: Path) -> None:
    """Raise ImportFailed if a file of the listing is not there, by its size."""
    sizes = Counter(path.lstat().st_size for path in out.rglob("*") if path.is_file())
    for entry in entries:
        if entry.nature is Nature.FILE and entry.size:
            if not sizes[entry.size]:
                raise ImportFailed(
                    f'"{name}" was not unpacked as it lists: no file has the {entry.size:,} bytes '
                    f'of "{entry.name[-100:]}"'
                )
            sizes[entry.size] -= 1
