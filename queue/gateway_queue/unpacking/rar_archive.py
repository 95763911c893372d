"""RAR archives on the disk: those that only store are read by our own reader, others by programs.

Which program is there differs from machine to machine, and so does what it can: unrar knows all
that RARLAB ever wrote, unar nearly, bsdtar no encryption and few solid ones. They are asked in
this order until one succeeds.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gateway.errors import GatewayError, ImportFailed, UnsupportedArchive, WrongPassword
from gateway.nzb import rar
from gateway.nzb.archive import Inner, Volume
from gateway.nzb.names import safe_path
from gateway.nzb.nesting import view
from gateway.nzb.rar_keys import RarKeys
from gateway_queue.unpacking import programs
from gateway_queue.unpacking.bounds import Entry, Nature
from gateway_queue.unpacking.distinct import Names
from gateway_queue.unpacking.refusals import refusal
from gateway_queue.unpacking.running import Limits, run

_CHUNK = 1 << 20
_NEW_NAMES = 0x10  # of the flags of RAR 4's main header: film.part1.rar, not film.rar and film.r00
_RAR4 = b"Rar!\x1a\x07\x00"

Tick = Callable[[], object]


def listing(volumes: Sequence[Volume], password: str | None) -> tuple[list[Entry], bool]:
    """Return what the archive of *volumes* lists, and whether all of it is only stored.

    Raises WrongPassword where the listing is encrypted, IncompletePost where a volume is missing.
    """
    listed = rar.contents(volumes, password)
    entries = [
        Entry(one.name, one.size, Nature.LINK if one.link else Nature.FILE, one.encrypted)
        for one in listed
    ]
    return entries, all(one.stored and not one.link for one in listed)


def copy(volumes: Sequence[Volume], out: Path, password: str | None, name: str, tick: Tick) -> None:
    """Write what the archive *name* stores into *out*, whose names were looked at.

    What is longer than any name may be is cut, and of two of one name the second is numbered.
    Raises WrongPassword, and ImportFailed where bytes are not what the archive says.
    """
    keys, names = RarKeys(password), Names()
    for inner in rar.read(volumes, password):
        path = out / names.free(safe_path(inner.name) or "_")
        path.parent.mkdir(parents=True, exist_ok=True)
        crc32 = _copy(inner, volumes, path, tick)
        mac = inner.mac
        if mac is None:
            is_right = inner.crc32 in (None, crc32)
        else:
            is_right = mac.fits(crc32, keys.mac(mac.salt, mac.shift))
        if not is_right:
            if mac is None and any(one.cipher for one in inner.stretches):
                # RAR 4 has nothing else to tell a password by.
                raise WrongPassword(
                    f'"{name}" is encrypted, and the known password does not open it'
                )
            raise ImportFailed(f'"{name}" is damaged: the CRC-32 of "{path.name}" is wrong')


def _copy(inner: Inner, volumes: Sequence[Volume], path: Path, tick: Tick) -> int:
    crc32 = 0
    with path.open("xb") as file, view(inner, volumes) as source:
        while data := source.read(_CHUNK):
            crc32 = zlib.crc32(data, crc32)
            file.write(data)
            tick()
    return crc32


def link_names(paths: Sequence[Path]) -> list[str]:
    """Return under which names programs find the volumes *paths*, which are in order."""
    with paths[0].open("rb") as file:
        head = file.read(12)
    flags = int.from_bytes(head[10:12], "little") if head.startswith(_RAR4) else _NEW_NAMES
    if len(paths) == 1:
        return ["archive.rar"]
    if flags & _NEW_NAMES or len(paths) > 900:
        return [f"archive.part{number:05}.rar" for number in range(1, len(paths) + 1)]
    # .rar, .r00 to .r99, .s00 and so on.
    older = (f"archive.{chr(ord('r') + n // 100)}{n % 100:02}" for n in range(len(paths) - 1))
    return ["archive.rar", *older]


def extract(
    links: Sequence[Path], out: Path, password: str | None, name: str, total: int, tick: Tick
) -> Iterator[GatewayError | None]:
    """Try one program after the other on *links*, into *out*; give how each ended, None: well.

    Whoever takes that empties *out* in between. Gives one error where there is no program.
    """
    limits = Limits(file_size=total)
    there = False
    for program, command, feed in _commands(links, out, password):
        there = True
        ended = run(command, folder=out, limits=limits, tick=lambda _: tick(), feed=feed)
        yield None if ended.code == 0 else refusal(program, name, ended, password)
    if not there:
        which = "unrar or unar" if password else "unrar, unar or libarchive-tools"
        yield UnsupportedArchive(
            f'nothing on this machine unpacks "{name}", a compressed RAR: install {which}'
        )


def _commands(
    links: Sequence[Path], out: Path, password: str | None
) -> Iterator[tuple[str, list[str | Path], Iterator[bytes]]]:
    """Give the programs that are there: a name, a command, what they read.

    unrar and unar take a password on the command line alone, where others on this machine see
    it: only for what is encrypted and compressed, as the rest is read here.
    """
    first = links[0]
    nothing: Iterator[bytes] = iter(())
    command: list[str | Path]
    if program := programs.find("unrar", "unrar-nonfree"):
        secret = "-p-" if password is None else f"-p{password}"
        command = [program, "x", "-y", "-or", "-idq", secret, "--", first, f"{out}/"]
        yield "unrar", command, nothing
    if program := programs.find("unar"):
        secrets = [] if password is None else ["-p", password]
        command = [program, "-q", "-D", "-r", "-nr", "-k", "skip", "-o", out, *secrets, first]
        yield "unar", command, nothing
    if password is None and (program := programs.find("bsdtar")):
        safe = ["--no-same-owner", "--no-same-permissions"]
        command = [program, "-x", *safe, "-C", out, "-f", "-"]
        yield "bsdtar", command, _read(links)


def _read(links: Sequence[Path]) -> Iterator[bytes]:
    # One volume behind the other: bsdtar opens no second file by itself.
    for link in links:
        with link.open("rb") as file:
            while data := file.read(_CHUNK):
                yield data
