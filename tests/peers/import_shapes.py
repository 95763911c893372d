"""Every shape that posts come in, made by real programs (`SHAPES`)."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import par2_maker
import rar_writer
import seven_zip
from rar_writer import Entry, Options
from stored_archives import Named, cut

from gateway.demo import Post, make_posts

PART = 20_000
VOLUME = 190_000
SECRET = "a secret / of the tests {2026}"
FILM = b"\x1a\x45\xdf\xa3" + random.Random(1).randbytes(1_000_001)
SUBTITLES = "1\n00:00:01,000 --> 00:00:02,000\nGrüße\n".encode() * 30
INNER: Named = [("Some.Film.2026.mkv", FILM), ("Subs/Some.Film.2026.en.srt", SUBTITLES)]
ENTRIES = [Entry(*one) for one in INNER]


@dataclass(frozen=True)
class Shape:
    """How a post is made, in an empty folder, and what is to be shown of it."""

    files: Callable[[Path], Named]
    shown: Mapping[str, bytes]
    password: str | None = None
    shuffle: bool = False
    disguise: bool = False
    par2: bool = False

    def post(self, name: str, folder: Path, *protection: str) -> Post:
        """Return the post; *protection* are options for par2, which has its own otherwise."""
        files = self.files(folder)
        rng = random.Random(name)
        if protection or self.par2:
            files += par2(files, folder / "par2", *(protection or ("-s20000", "-r5")))
        if self.shuffle:
            rng.shuffle(files)
        if self.disguise:
            files = [(f"{rng.getrandbits(128):032x}", data) for _, data in files]
        return make_posts(
            dict(files), part_size=PART, message_id=f"{{random}}.{len(name)}@{rng.random()}"
        )


def par2(files: Named, folder: Path, *options: str) -> Named:
    folder.mkdir()
    for name, data in files:
        (folder / name).write_bytes(data)
    made = par2_maker.create(folder, "Some.Film", [name for name, _ in files], *options)
    return [(path.name, path.read_bytes()) for path in made]


def zipped(*switches: str, files: Named = INNER, name: str = "film.7z") -> Callable[[Path], Named]:
    """Return what has 7-Zip make archives of *files*."""

    def make(folder: Path) -> Named:
        (folder / "in").mkdir()
        for path, data in files:
            target = folder / "in" / path
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(data)
        seven_zip.run("a", *switches, folder / name, ".", cwd=folder / "in")
        return [(path.name, path.read_bytes()) for path in sorted(folder.glob(f"{name}*"))]

    return make


def made(files: Named) -> Callable[[Path], Named]:
    return lambda _: list(files)


def rar4(**options: Any) -> Callable[[Path], Named]:
    return made(rar_writer.rar4(ENTRIES, Options(**options)))


def rar5(**options: Any) -> Callable[[Path], Named]:
    return made(rar_writer.rar5(ENTRIES, Options(**options)))


COPY = ("-mx=0", "-m0=Copy")
LOCKED = f"-p{SECRET}"
BOTH = dict(INNER)
EPISODES = {f"Some.Show.S01E0{n}.mkv": FILM[: 250_000 + n] for n in range(1, 4)}
PIECES = {"volume_size": VOLUME}
TWO_SETS = [
    *rar_writer.rar5([Entry(*one) for one in list(EPISODES.items())[:1]], Options(90_000), "one"),
    *rar_writer.rar4([Entry(*one) for one in list(EPISODES.items())[1:2]], Options(90_000), "two"),
    *cut("three.mkv", EPISODES["Some.Show.S01E03.mkv"], 90_000),
]
LONE = [("c0ffee00c0ffee00c0ffee00c0ffee00.mkv", FILM)]

SHAPES: dict[str, Shape] = {
    "plain": Shape(made([INNER[0], ("Some.Film.2026.srt", SUBTITLES)]),
                   {"Some.Film.2026.mkv": FILM, "Some.Film.2026.srt": SUBTITLES}),
    "plain disguised": Shape(made(INNER[:1]), {"{job}.mkv": FILM}, disguise=True),
    "rar4": Shape(rar4(), BOTH),
    "rar4 old names": Shape(rar4(**PIECES, old_names=True), BOTH, shuffle=True),
    "rar4 new names": Shape(rar4(**PIECES), BOTH, shuffle=True),
    "rar4 useless names": Shape(rar4(**PIECES), BOTH, shuffle=True, disguise=True),
    "rar4 data encrypted": Shape(rar4(**PIECES, password="rar4 secret"), BOTH, "rar4 secret"),
    "rar4 headers encrypted": Shape(
        rar4(**PIECES, password="rar4 secret", encrypt_headers=True), BOTH, "rar4 secret"),
    "rar5": Shape(rar5(), BOTH),
    "rar5 old names": Shape(rar5(**PIECES, old_names=True), BOTH),
    "rar5 new names": Shape(rar5(**PIECES), BOTH, shuffle=True),
    "rar5 useless names": Shape(rar5(**PIECES), BOTH, shuffle=True, disguise=True),
    "rar5 data encrypted": Shape(rar5(**PIECES, password=SECRET), BOTH, SECRET, shuffle=True),
    "rar5 headers encrypted": Shape(
        rar5(**PIECES, password=SECRET, encrypt_headers=True), BOTH, SECRET, True, True),
    "rar disguised film": Shape(
        made(rar_writer.rar5([Entry(*one) for one in LONE], Options(VOLUME))), {"{job}.mkv": FILM}),
    "rar par2 names": Shape(rar4(**PIECES, old_names=True), BOTH, None, True, True, par2=True),
    "7z": Shape(zipped(*COPY), BOTH),
    "7z pieces": Shape(zipped(*COPY, f"-v{VOLUME}b"), BOTH, shuffle=True),
    "7z pieces useless names": Shape(zipped(*COPY, f"-v{VOLUME}b"), BOTH, disguise=True),
    "7z pieces par2 names": Shape(
        zipped(*COPY, f"-v{VOLUME}b"), BOTH, None, True, True, par2=True),
    "7z data encrypted": Shape(zipped(*COPY, LOCKED, f"-v{VOLUME}b"), BOTH, SECRET),
    "7z headers encrypted": Shape(zipped(*COPY, LOCKED, "-mhe=on", f"-v{VOLUME}b"), BOTH, SECRET),
    "zip": Shape(zipped("-tzip", "-mx=0", name="film.zip"), BOTH),
    "zip pieces": Shape(zipped("-tzip", "-mx=0", f"-v{VOLUME}b", name="film.zip"), BOTH),
    "rar in rar": Shape(
        made(rar_writer.rar5([Entry(*one) for one in rar_writer.rar4(ENTRIES, Options(150_000))],
                             Options(VOLUME))), BOTH),
    "rar in encrypted 7z": Shape(
        zipped(*COPY, LOCKED, "-mhe=on", f"-v{VOLUME}b",
               files=rar_writer.rar5(ENTRIES, Options(150_000))), BOTH, SECRET),
    "encrypted rar in 7z": Shape(
        zipped(*COPY, files=rar_writer.rar5(ENTRIES, Options(150_000, SECRET))), BOTH, SECRET),
    "mkv pieces": Shape(made(cut(*INNER[0], VOLUME)), dict(INNER[:1]), shuffle=True),
    "mkv pieces par2 names": Shape(
        made(cut(*INNER[0], VOLUME)), dict(INNER[:1]), None, True, True, par2=True),
    "several sets": Shape(
        made(TWO_SETS),
        {**dict(list(EPISODES.items())[:2]), "three.mkv": EPISODES["Some.Show.S01E03.mkv"]},
        shuffle=True),
    "subtitles beside": Shape(
        made([*rar_writer.rar5(ENTRIES[:1], Options(VOLUME)), ("Some.Film.2026.srt", SUBTITLES),
              ("Some.Film.2026.nfo", b"a film"), ("Some.Film.2026.sfv", b"; sums")]),
        {"Some.Film.2026.mkv": FILM, "Some.Film.2026.srt": SUBTITLES}),
}  # fmt: skip
