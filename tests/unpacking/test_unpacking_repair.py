"""Repair by par2, with sets by both programs that make them, and posts that lack something."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import par2_maker
import pytest

from gateway.errors import ImportFailed, IncompletePost, ProgramKilled, StorageGone
from gateway_queue.unpacking import par2_program
from gateway_queue.unpacking.quick import Piece
from gateway_queue.unpacking.repair import repair
from gateway_queue.unpacking.volumes import RecoveryVolume, blocks_of, choose

ARTICLE = 7_000
FILM = random.Random(1).randbytes(400_123)
NOTES = random.Random(2).randbytes(30_011)
FILES = {"Some.Film.mkv": FILM, "Some.Film.nfo": NOTES}


def pieces_of(data: bytes, article: int = ARTICLE) -> list[Piece]:
    return [
        Piece(at, len(data[at : at + article]), zlib.crc32(data[at : at + article]))
        for at in range(0, len(data), article)
    ]


@pytest.fixture
def post(tmp_path: Path) -> Path:
    """A folder with the files, in a folder in which nothing else may appear."""
    folder = tmp_path / "outside" / "job"
    folder.mkdir(parents=True)
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(autouse=True)
def nothing_outside(tmp_path: Path) -> Iterator[None]:
    yield
    outside = tmp_path / "outside"
    assert [path.name for path in outside.iterdir()] == ["job"]
    assert not [path.name for path in outside.rglob(".*")]


def lose(folder: Path, name: str, share: float, *, how: str) -> dict[str, list[Piece]]:
    """Take *share* of the articles of *name*; return what whoever downloaded them knows."""
    data = bytearray((folder / name).read_bytes())
    known = {path.name: pieces_of(path.read_bytes()) for path in folder.iterdir()}
    count = -(-len(data) // ARTICLE)
    lost = random.Random(7).sample(range(count - 1), max(2, round(share * count)))
    for number in lost:
        at = number * ARTICLE
        if how == "missing":
            data[at : at + ARTICLE] = bytes(ARTICLE)
        elif how == "damaged":
            data[at + 50] ^= 0xFF
    if how == "swapped":  # each is whole, with its CRC-32, in another's place
        one, other = (slice(n * ARTICLE, (n + 1) * ARTICLE) for n in lost[:2])
        data[one], data[other] = data[other], data[one]
    (folder / name).write_bytes(data)
    known[name] = [
        piece
        for number, piece in enumerate(pieces_of(bytes(data)))
        if how == "swapped" or number not in lost
    ]
    return known


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".par2"
    }


@pytest.mark.parametrize("slice_size", [1_400, 7_000, 30_000])
@pytest.mark.parametrize("how", ["missing", "damaged", "swapped"])
@pytest.mark.parametrize("share", [0.01, 0.03, 0.1])
def test_what_is_lost_is_repaired_to_the_byte(
    post: Path, how: str, share: float, slice_size: int
) -> None:
    par2_maker.create(post, "set", [*FILES], f"-s{slice_size}", "-r80")
    known = lose(post, "Some.Film.mkv", share, how=how)

    done = repair(post, pieces=known)

    assert contents(post) == FILES
    assert done.made == ["Some.Film.mkv"]
    assert done.whole == ["Some.Film.nfo"]


@pytest.mark.system("par2")
@pytest.mark.parametrize("first", [0, 1000, 20_000])
def test_the_sets_of_the_older_par2_with_any_exponents_repair_too(post: Path, first: int) -> None:
    par2_maker.create(
        post, "set", [*FILES], "-s5000", "-c12", f"-f{first}", program=par2_maker.CLASSIC
    )
    lose(post, "Some.Film.mkv", 0.03, how="missing")

    repair(post)  # nothing is known of the articles: all is read

    assert contents(post) == FILES


def test_what_is_whole_by_its_articles_is_neither_read_nor_repaired(
    post: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    par2_maker.create(post, "set", [*FILES], "-s3000", "-c4")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("gateway_queue.unpacking.programs.par2", lambda: None)
    monkeypatch.setattr("gateway_queue.unpacking.repair.md5_of", lambda path, tick: b"")

    done = repair(post, pieces={name: pieces_of(data) for name, data in FILES.items()})

    assert sorted(done.whole) == [*FILES]
    assert contents(post) == FILES


def test_no_more_blocks_are_fetched_than_are_needed(post: Path, tmp_path: Path) -> None:
    made = par2_maker.create(post, "set", [*FILES], f"-s{ARTICLE}", "-c15")
    server = tmp_path / "server"
    server.mkdir()
    posted = [path for path in made if ".vol" in path.name]
    volumes = [
        RecoveryVolume(n, blocks_of(path.name, path.stat().st_size, ARTICLE), path.stat().st_size)
        for n, path in enumerate(posted)
    ]
    for path in posted:
        shutil.move(path, server)
    known = lose(post, "Some.Film.mkv", 0.05, how="missing")  # 3 articles, 3 slices
    asked: list[int] = []

    def fetch_more(set_id: bytes, blocks: int) -> int:
        asked.append(blocks)
        chosen = choose(volumes, blocks)
        for one in chosen:
            shutil.move(server / posted[one.key].name, post)
        return sum(one.blocks for one in chosen)

    done = repair(post, pieces=known, fetch_more=fetch_more)

    assert asked == [3]
    assert done.blocks == 3
    assert contents(post) == FILES


def test_a_program_that_wants_more_blocks_than_were_estimated_gets_them(
    post: Path, tmp_path: Path
) -> None:
    made = par2_maker.create(post, "set", [*FILES], "-s3000", "-c31")
    volumes = [path for path in made if ".vol" in path.name]
    for path in volumes:
        path.rename(tmp_path / path.name)
    lose(post, "Some.Film.mkv", 0.05, how="missing")
    asked: list[int] = []

    seen: list[float] = []

    def fetch_more(set_id: bytes, blocks: int) -> int:
        asked.append(blocks)
        (tmp_path / volumes[len(asked) - 1].name).rename(volumes[len(asked) - 1])
        return 1 << (len(asked) - 1)

    # Without the articles, damage is seen and not counted.
    repair(post, fetch_more=fetch_more, progress=seen.append)

    assert seen == sorted(seen)

    assert len(asked) > 1
    assert asked[1:] == sorted(asked[1:], reverse=True)
    assert contents(post) == FILES


def test_too_few_blocks_are_an_incomplete_post_with_its_numbers(post: Path) -> None:
    par2_maker.create(post, "set", [*FILES], f"-s{ARTICLE}", "-c2")
    known = lose(post, "Some.Film.mkv", 0.1, how="missing")
    before = contents(post)

    with pytest.raises(IncompletePost, match=r"6 recovery blocks are needed, 2 are there"):
        repair(post, pieces=known)

    assert contents(post) == before


def test_names_come_from_par2_wherever_they_went(post: Path) -> None:
    par2_maker.create(post, "set", [*FILES], "-s3000", "-c9")
    (post / "set.par2").rename(post / "f3ac1")
    (post / "Some.Film.mkv").rename(post / "Some.Film.nfo.swap")
    (post / "Some.Film.nfo").rename(post / "Some.Film.mkv")
    (post / "Some.Film.nfo.swap").rename(post / "Some.Film.nfo")

    done = repair(post)

    assert {name: contents(post)[name] for name in FILES} == FILES
    assert len(contents(post)) == 3  # and the par2 file without a name
    assert done.made == []


def test_a_disguised_file_without_its_beginning_is_found_and_repaired(post: Path) -> None:
    par2_maker.create(post, "set", [*FILES], "-s3000", "-c20")
    damaged = bytearray(FILM)
    damaged[:8_000] = bytes(8_000)
    (post / "Some.Film.mkv").unlink()
    (post / "8f1c").write_bytes(damaged)

    done = repair(post)

    assert contents(post) == FILES
    assert done.made == ["Some.Film.mkv"]


def test_pieces_of_a_file_are_put_together_by_its_set(post: Path) -> None:
    par2_maker.create(post, "set", [*FILES], "-s3000", "-c9")
    (post / "Some.Film.mkv").unlink()
    for number in range(5):
        (post / f"film.{number + 1:03}").write_bytes(FILM[number * 90_000 : (number + 1) * 90_000])

    repair(post)

    assert contents(post) == FILES


def test_several_sets_in_one_folder_are_each_repaired(post: Path) -> None:
    (post / "Other.mkv").write_bytes(FILM[::-1])
    par2_maker.create(post, "one", [*FILES], "-s3000", "-c30")
    par2_maker.create(post, "two", ["Other.mkv"], "-s5000", "-c30")
    known = lose(post, "Some.Film.mkv", 0.03, how="missing")
    known["Other.mkv"] = lose(post, "Other.mkv", 0.03, how="damaged")["Other.mkv"]

    done = repair(post, pieces=known)

    assert contents(post) == {**FILES, "Other.mkv": FILM[::-1]}
    assert len(done.sets) == 2


def test_a_set_of_another_post_is_left_alone(post: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "stranger.mkv").write_bytes(NOTES)
    for path in par2_maker.create(elsewhere, "set", ["stranger.mkv"], "-s3000", "-c9"):
        shutil.move(path, post)
    (post / "Some.Film.nfo").unlink()

    done = repair(post)

    assert done.sets == []
    assert "none of its files is in the post" in done.ignored[0]
    assert contents(post) == {"Some.Film.mkv": FILM}


def test_a_set_of_other_contents_under_the_same_names_is_left_alone(
    post: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "Some.Film.mkv").write_bytes(FILM[::-1])
    for path in par2_maker.create(elsewhere, "set", ["Some.Film.mkv"], "-s3000", "-c9"):
        shutil.move(path, post)

    done = repair(post, pieces={name: pieces_of(data) for name, data in FILES.items()})

    assert "not a block of it" in done.ignored[0]
    assert contents(post) == FILES


@pytest.mark.parametrize("name", ["../evil.mkv", "/tmp/evil.mkv", "a/../../evil.mkv", "..", "a\\b"])
def test_a_set_that_names_files_outside_of_the_folder_is_not_worked_with(
    post: Path, name: str
) -> None:
    made = par2_maker.create(post, "set", [*FILES], "-s3000", "-c9")
    for path in made:
        path.write_bytes(renamed(path.read_bytes(), b"Some.Film.mkv", name.encode()))
    known = lose(post, "Some.Film.mkv", 0.03, how="missing")
    before = contents(post)

    done = repair(post, pieces=known)

    assert "outside of the folder" in done.ignored[0]
    assert contents(post) == before


def test_a_set_in_which_a_file_is_a_folder_too_is_not_worked_with(post: Path) -> None:
    for path in par2_maker.create(post, "set", [*FILES], "-s3000", "-c9"):
        path.write_bytes(renamed(path.read_bytes(), b"Some.Film.nfo", b"some.film.mkv/notes"))

    assert "a folder of another" in repair(post).ignored[0]


def test_files_of_other_sets_are_not_searched_for_what_a_set_lacks(
    post: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (post / "Other.mkv").write_bytes(FILM[::-1])
    par2_maker.create(post, "one", [*FILES], "-s3000", "-c30")
    par2_maker.create(post, "two", ["Other.mkv"], "-s5000", "-c30")
    searched: list[Sequence[str]] = []
    par2 = par2_program.repair

    def spied(
        work: Path,
        index: str,
        extras: Sequence[str],
        largest: int,
        progress: Callable[[float], object],
    ) -> par2_program.Told:
        searched.append(extras)
        return par2(work, index, extras, largest, progress)

    (post / "Some.Film.nfo").write_bytes(bytes(3_000) + NOTES[3_000:])
    (post / "Some.Film.nfo").rename(post / "8f1c")
    monkeypatch.setattr(par2_program, "repair", spied)

    repair(post)

    assert len(searched) == 1
    assert len(searched[0]) == 1
    assert contents(post) == {**FILES, "Other.mkv": FILM[::-1]}


def test_a_set_that_states_an_absurd_size_is_not_worked_with(post: Path) -> None:
    made = par2_maker.create(post, "set", [*FILES], "-s3000", "-c9")
    for path in made:
        path.write_bytes(resized(path.read_bytes(), len(FILM), 1 << 50))
    known = lose(post, "Some.Film.mkv", 0.03, how="missing")

    done = repair(post, pieces=known)

    assert "1,125,899,906,842,624 bytes in 134 slices" in done.ignored[0]


@pytest.mark.parametrize(
    ("name", "seen"),
    [(".Some.Film.mkv", "Some.Film.mkv"), (".work-1/..a/Film.mkv", "work-1/a/Film.mkv")],
)
def test_a_name_that_would_hide_a_file_loses_its_dots(post: Path, name: str, seen: str) -> None:
    for path in par2_maker.create(post, "set", [*FILES], "-s3000", "-c30"):
        path.write_bytes(renamed(path.read_bytes(), b"Some.Film.mkv", name.encode()))
    known = lose(post, "Some.Film.mkv", 0.03, how="missing")

    assert repair(post, pieces=known).made == [seen]

    assert contents(post) == {seen: FILM, "Some.Film.nfo": NOTES}
    assert repair(post).whole == [seen, "Some.Film.nfo"], "also when it is done again"


@pytest.mark.parametrize("name", ["a/" * 101 + "film.mkv", "/".join(["d" * 200] * 18)])
def test_a_set_whose_folders_are_too_deep_is_not_worked_with(post: Path, name: str) -> None:
    for path in par2_maker.create(post, "set", [*FILES], "-s3000", "-c30"):
        path.write_bytes(renamed(path.read_bytes(), b"Some.Film.mkv", name.encode()))
    known = lose(post, "Some.Film.mkv", 0.03, how="missing")

    assert re.search(r"would lie in \d+ folders", repair(post, pieces=known).ignored[0])


def test_a_file_that_a_set_mentions_and_does_not_protect_needs_not_be_there(post: Path) -> None:
    for path in par2_maker.create(post, "set", [*FILES], "-s3000", "-c0"):
        data = path.read_bytes()
        path.write_bytes(with_main(data, lambda body: body[:8] + b"\1\0\0\0" + body[12:]))
    (protected,) = FILES.keys() & set(repair(post).whole)
    (other,) = FILES.keys() - {protected}
    (post / other).unlink()

    done = repair(post)

    assert (done.whole, done.ignored) == ([protected], [])


def test_recovery_blocks_that_there_cannot_be_are_left_out(post: Path) -> None:
    *_, last = par2_maker.create(post, "set", [*FILES], "-s3000", "-c30", "-n5")
    last.write_bytes(renumbered(last.read_bytes()))
    known = lose(post, "Some.Film.mkv", 0.01, how="missing")

    repair(post, pieces=known)

    assert contents(post) == FILES


def test_a_set_with_no_other_recovery_blocks_is_not_worked_with(post: Path) -> None:
    for path in par2_maker.create(post, "set", [*FILES], "-s3000", "-c30", "-n1"):
        if ".vol" in path.name:
            path.write_bytes(renumbered(path.read_bytes()))
        else:
            path.unlink()

    assert "numbers above 65,535" in repair(post).ignored[0]


def test_a_set_that_states_a_wrong_md5_is_never_believed(post: Path) -> None:
    made = par2_maker.create(post, "set", [*FILES], "-s3000", "-c30")
    for path in made:
        path.write_bytes(rehashed(path.read_bytes()))
    known = lose(post, "Some.Film.mkv", 0.03, how="missing")
    before = contents(post)

    with pytest.raises(ImportFailed):
        repair(post, pieces=known)

    assert contents(post) == before


def test_a_par2_that_says_it_has_repaired_and_has_not_is_not_believed(
    post: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    par2_maker.create(post, "set", [*FILES], "-s3000", "-c30")
    known = lose(post, "Some.Film.mkv", 0.03, how="damaged")
    before = contents(post)
    liar = tmp_path / "par2"
    liar.write_text("#!/bin/sh\necho Repair complete.\n")
    liar.chmod(0o755)
    monkeypatch.setattr("gateway_queue.unpacking.programs.par2", lambda: liar)

    with pytest.raises(ImportFailed, match="and it is not as it was"):
        repair(post, pieces=known)

    assert contents(post) == before


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ("kill -KILL $$", ProgramKilled, "the machine may have had no memory left"),
        ('mv "$(dirname "$PWD")" "$PWD/../../../away"; exit 2', StorageGone, "is the disk mounted"),
    ],
)
def test_a_par2_that_is_killed_or_loses_its_disk_has_given_no_verdict(
    post: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    error: type[Exception],
    words: str,
) -> None:
    par2_maker.create(post, "set", [*FILES], "-s3000", "-c30")
    known = lose(post, "Some.Film.mkv", 0.03, how="damaged")
    program = tmp_path / "par2"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setattr("gateway_queue.unpacking.programs.par2", lambda: program)
        with pytest.raises(error, match=words):
            repair(post, pieces=known)

    if not post.exists():
        (tmp_path / "away").rename(post)
    repair(post, pieces=known)
    assert contents(post) == FILES


def test_what_is_raised_while_par2_works_ends_it_and_leaves_the_folder_as_it_was(
    post: Path,
) -> None:
    par2_maker.create(post, "set", [*FILES], "-s400", "-c200")
    known = lose(post, "Some.Film.mkv", 0.03, how="missing")
    before = contents(post)

    class Cancelled(Exception):
        pass

    def progress(part: float) -> None:
        if part > 0.05:
            raise Cancelled

    with pytest.raises(Cancelled):
        repair(post, pieces=known, progress=progress)

    assert contents(post) == before
    repair(post, pieces=known)
    assert contents(post) == FILES


def test_progress_grows_to_one(post: Path) -> None:
    par2_maker.create(post, "set", [*FILES], "-s1000", "-c60")
    known = lose(post, "Some.Film.mkv", 0.03, how="missing")
    seen: list[float] = []

    repair(post, pieces=known, progress=seen.append)

    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_a_folder_without_par2_is_left_as_it_is(post: Path) -> None:
    lose(post, "Some.Film.mkv", 0.03, how="damaged")
    before = contents(post)

    assert repair(post).sets == []

    assert contents(post) == before


# Sets that lie -------------------------------------------------------------------------------


MAIN = b"PAR 2.0\0Main\0\0\0\0"


def packets(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        length = struct.unpack_from("<Q", data, at + 8)[0]
        yield data[at : at + length]
        at += length


def rewritten(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Return par2 *data* with the bodies of its FileDesc packets changed, and hashes right."""
    result = b""
    for packet in packets(data):
        if packet[48:64] == b"PAR 2.0\0FileDesc":
            rest = packet[32:64] + change(packet[64:])
            rest += bytes(-len(rest) % 4)
            packet = (
                packet[:8] + struct.pack("<Q", 32 + len(rest)) + hashlib.md5(rest).digest() + rest
            )
        result += packet
    return result


def with_main(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Return par2 *data* with another main packet, whose MD5 is the id of the set."""
    (main,) = {packet[64:] for packet in packets(data) if packet[48:64] == MAIN}
    set_id = hashlib.md5(change(main)).digest()
    result = b""
    for packet in packets(data):
        body = change(packet[64:]) if packet[48:64] == MAIN else packet[64:]
        rest = set_id + packet[48:64] + body
        result += packet[:8] + struct.pack("<Q", 32 + len(rest)) + hashlib.md5(rest).digest() + rest
    return result


def renumbered(data: bytes) -> bytes:
    """Return par2 *data* whose recovery blocks have exponents that there are not."""
    result = b""
    for packet in packets(data):
        if packet[48:64] == b"PAR 2.0\0RecvSlic":
            number = struct.unpack("<I", packet[64:68])[0] + 70_000
            rest = packet[32:64] + struct.pack("<I", number) + packet[68:]
            packet = packet[:16] + hashlib.md5(rest).digest() + rest
        result += packet
    return result


def renamed(data: bytes, old: bytes, new: bytes) -> bytes:
    return rewritten(data, lambda body: body[:56] + new if body[56:].rstrip(b"\0") == old else body)


def resized(data: bytes, old: int, new: int) -> bytes:
    return rewritten(
        data,
        lambda body: (
            body[:48] + struct.pack("<Q", new) + body[56:]
            if body[48:56] == struct.pack("<Q", old)
            else body
        ),
    )


def rehashed(data: bytes) -> bytes:
    return rewritten(data, lambda body: body[:16] + os.urandom(16) + body[32:])
