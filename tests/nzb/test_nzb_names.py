"""Names: which to believe, and what is left of a hostile one."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.nzb.names import (
    choose_name,
    content_extension,
    filename_password,
    is_obfuscated,
    job_name,
    numbered,
    safe_name,
    safe_path,
    split_extension,
    subject_name,
    subject_parts,
)

HEX = "b082fa0beaa644d3aa01045d5b8d0b36"
any_text = st.text(max_size=600)

# safe_name -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hostile", "safe"),
    [
        ("", "_"),
        (".", "_"),
        ("..", "_"),
        ("...", "_"),
        (" ", "_"),
        ("/", "_"),
        ("/etc/passwd", "_etc_passwd"),
        ("../../x", ".._.._x"),
        ("a\\b", "a_b"),
        ("C:\\x.mkv", "C__x.mkv"),
        ("a\0b\r\n\x1b[31m", "ab[31m"),
        ("film. . ", "film"),
        ("  film.mkv  ", "film.mkv"),
        ("what?.mkv", "what_.mkv"),
        ("CON", "_CON"),
        ("nul.mkv", "_nul.mkv"),
        ("Com1 .txt", "_Com1 .txt"),
        ("lpt³", "_lpt³"),
        ("console.mkv", "console.mkv"),
        (".nfo", ".nfo"),
        ("gpj.\u202eexe", "gpj.exe"),
        ("a\ud800b", "ab"),
        ("a\uffffb", "ab"),
        ("Amélie 日本.mkv", "Amélie 日本.mkv"),
    ],
)
def test_a_name_becomes_one_that_every_system_can_hold(hostile: str, safe: str) -> None:
    assert safe_name(hostile) == safe


def test_a_name_of_4000_characters_keeps_its_extension() -> None:
    assert safe_name("x" * 4000 + ".mkv") == "x" * 251 + ".mkv"


def test_no_character_is_cut_in_two() -> None:
    assert safe_name("é" * 200 + ".mkv") == "é" * 125 + ".mkv"
    assert safe_name("x" + "日" * 200) == "x" + "日" * 84


def test_an_overlong_extension_is_none() -> None:
    assert safe_name("a." + "x" * 400) == "a." + "x" * 253


@given(any_text)
@example("a" * 254 + ".")
@example("a" * 250 + " . b")
@example("aux" + "x" * 300 + ".b")
@example("con." + "c" * 300)
@example("nul " + "é" * 300)
def test_safe_names_are_safe_and_stay_as_they_are(text: str) -> None:
    name = safe_name(text)
    assert 0 < len(name.encode()) <= 255
    assert name not in (".", "..")
    assert not set(name) & set('/\\<>:"|?*\0\r\n')
    assert name == name.strip()
    assert not name.endswith(".")
    assert safe_name(name) == name


@given(any_text)
def test_a_safe_path_leads_only_down(text: str) -> None:
    path = safe_path(text)
    assert all(part == safe_name(part) for part in path.split("/") if path)
    assert safe_path(path) == path


@pytest.mark.parametrize(
    ("path", "safe"),
    [
        ("", ""),
        ("/", ""),
        ("a/b", "a/b"),
        ("/a//./b/", "a/b"),
        ("../../etc", "etc"),
        ("Subs\\English", "Subs/English"),
        ("a/con/ b. ", "a/_con/b"),
    ],
)
def test_folders_of_a_release_are_made_safe_part_by_part(path: str, safe: str) -> None:
    assert safe_path(path) == safe


@given(any_text, st.integers(2, 10**6))
def test_numbered_names_are_safe_and_differ(text: str, number: int) -> None:
    name = safe_name(text)
    for folder in (False, True):
        other = numbered(name, number, folder=folder)
        assert other == safe_name(other) != name
        assert f"({number})" in other


def test_a_file_is_numbered_before_its_extension_and_a_folder_behind_its_name() -> None:
    assert numbered("film.mkv", 2) == "film (2).mkv"
    assert numbered("Film.2020.x264", 2, folder=True) == "Film.2020.x264 (2)"
    assert numbered("x" * 251 + ".mkv", 12) == "x" * 246 + " (12).mkv"


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("film.mkv", ".mkv"),
        ("film.7z", ".7z"),
        ("film.part01.rar", ".rar"),
        ("film.001", ""),
        ("Film.2020", ""),
        (".nfo", ""),
        ("film.", ""),
        ("a.b c", ""),
    ],
)
def test_an_extension_is_letters_and_digits_behind_a_dot(name: str, extension: str) -> None:
    assert split_extension(name) == (name.removesuffix(extension) if extension else name, extension)


# Subjects --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ('[01/45] - "film.part01.rar" yEnc (1/240)', "film.part01.rar"),
        ('"film.mkv" yEnc (1/12) 734003200', "film.mkv"),
        ("&quot;film.mkv&quot; yEnc (1/12)", "film.mkv"),
        ('"" [1/1] - "film.mkv" yEnc (1/2)', "film.mkv"),
        ("film.mkv (1/12)", "film.mkv"),
        ("My film 2020.mkv (1/12)", "My film 2020.mkv"),
        ("[01/20] - film.rar yEnc (1/66)", "film.rar"),
        ("(02/44) some.thing.r00 - 1,2 GB - yEnc (1/3)", "some.thing.r00"),
        ("Posted by me: film.mkv [1/2] yEnc (1/2)", "film.mkv"),
        ("(film.mkv) [1/2] yEnc (1/2)", "film.mkv"),
        (
            '[1234]-[FULL]-[#a.b.teevee@EFNet]-[ Show.S01 ]-[01/20] - "name.rar" yEnc (1/66)',
            "name.rar",
        ),
        ('[N3wZ] \\x::[PRiVATE]-[WtFnZb]-[name.mkv]-[1/1] - "" yEnc 1234 (1/2)', "name.mkv"),
        ("nothing to see here", ""),
        ("", ""),
        ('"' + "x" * 10_000, ""),
        ("(" * 10_000 + "." * 10_000, ""),
    ],
)
def test_the_name_is_found_in_the_subject(subject: str, name: str) -> None:
    assert subject_name(subject) == name


@given(any_text)
def test_no_subject_is_too_odd(subject: str) -> None:
    subject_name(subject)
    assert subject_parts(subject) >= 0


@pytest.mark.parametrize(
    ("subject", "parts"),
    [
        ('[01/45] - "film.rar" yEnc (1/240)', 240),
        ('(1/45) "film.rar" yEnc (001/240)', 240),
        ('"film.mkv" yEnc', 0),
        ('"film.mkv" (1/99999999999)', 0),
    ],
)
def test_the_subject_says_of_how_many_parts_the_file_is(subject: str, parts: int) -> None:
    assert subject_parts(subject) == parts


@pytest.mark.parametrize(
    ("filename", "job", "password"),
    [
        ("Film.2020.nzb", "Film.2020", None),
        ("Film.2020.NZB.gz", "Film.2020", None),
        ("folder/Film.nzb", "Film", None),
        ("C:\\downloads\\Film.nzb", "Film", None),
        ("Film{{secret}}.nzb", "Film", "secret"),
        ("Film {{se/cr et}}.nzb", "Film", "se/cr et"),
        ("Film password=secret.nzb", "Film", "secret"),
        ("Film.password = se cret.nzb", "Film", "se cret"),
        ("../..", "_", None),
        (".nzb", "_", None),
        ("", "_", None),
    ],
)
def test_a_job_is_called_as_its_file_without_path_extension_and_password(
    filename: str, job: str, password: str | None
) -> None:
    assert job_name(filename) == job
    assert filename_password(filename) == password


# Disguise --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        f"{HEX}.mkv",
        f"{HEX}.part01.rar",
        f"{HEX}.7z.001",
        f"{HEX}.vol00+01.par2",
        "0675e29e9abfd2.f7d069dab0b853283cc1b069a25f82.6547.mkv",
        "[Tag] something [More] 6bef89a622e4a23f07b0d3757ad5e8a0.a0 [End].mkv",
        "abc.xyz.a4c567edbcbf27.BLA.mkv",
        "tx306077803729385.mkv",
        "aH4GgBdQqrTz.mkv",
        "catherine.mkv",
        "",
    ],
)
def test_names_made_by_machines_are_told(name: str) -> None:
    assert is_obfuscated(name)


@pytest.mark.parametrize(
    "name",
    [
        "Great.Film.2020.1080p.mkv",
        "great_film_2020_x.mkv",
        "Great Distro.iso",
        "Show.S01E02.part03.rar",
        "ubuntu-24.04-desktop.iso",
        "show 201801.mkv",
        "Catherine.mkv",
    ],
)
def test_names_made_by_people_are_told(name: str) -> None:
    assert not is_obfuscated(name)


MKV = b"\x1a\x45\xdf\xa3" + b"\x00" * 60


@pytest.mark.parametrize(
    ("yenc", "subject", "head", "chosen"),
    [
        ("Great.Film.2020.mkv", '"Other.Film.2019.mkv" yEnc (1/2)', b"", "Great.Film.2020.mkv"),
        (f"{HEX}.mkv", '"Great.Film.2020.mkv" yEnc (1/2)', b"", "Great.Film.2020.mkv"),
        ("", '"Great.Film.2020.mkv" yEnc (1/2)', b"", "Great.Film.2020.mkv"),
        (f"{HEX}.mkv", f'"{HEX}" yEnc (1/2)', b"", "The Job.mkv"),
        (HEX, f'"{HEX}.mp4" yEnc (1/2)', b"", "The Job.mp4"),
        (HEX, "", MKV, "The Job.mkv"),
        (f"{HEX}.bin", "", MKV, "The Job.mkv"),
        (f"{HEX}.mka", "", MKV, "The Job.mka"),
        (f"{HEX}.bin", "", b"?", "The Job.bin"),
        ("", "", b"", "The Job"),
        ("../../Great/Film 2020.mkv", "", b"", ".._.._Great_Film 2020.mkv"),
    ],
)
def test_the_first_name_that_a_person_wrote_wins(
    yenc: str, subject: str, head: bytes, chosen: str
) -> None:
    assert choose_name(yenc=yenc, subject=subject, job="The Job", head=head) == chosen


@given(any_text, any_text, any_text, st.binary(max_size=20))
def test_every_chosen_name_is_safe(yenc: str, subject: str, job: str, head: bytes) -> None:
    name = choose_name(yenc=yenc, subject=subject, job=safe_name(job), head=head)
    assert name == safe_name(name)


# Contents --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "extension"),
    [
        (MKV, ".mkv"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm", ".webm"),
        (b"\x00\x00\x00\x20ftypisom", ".mp4"),
        (b"\x00\x00\x00\x20ftypqt  ", ".mov"),
        (b"\x00\x00\x00\x20ftypM4A ", ".m4a"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", ".avi"),
        (b"Rar!\x1a\x07\x00", ".rar"),
        (b"Rar!\x1a\x07\x01\x00", ".rar"),
        (b"7z\xbc\xaf\x27\x1c\x00\x04", ".7z"),
        (b"PAR2\x00PKT", ".par2"),
        (b"PK\x03\x04", ".zip"),
        ((b"G" + b"\x00" * 187) * 4, ".ts"),
        ((b"\x00\x00\x00\x00G" + b"\x00" * 187) * 4, ".m2ts"),
        (b"G" + b"\x00" * 600, ""),
        (b"\x00" * 0x8001 + b"CD001", ".iso"),
        (b"hello", ""),
        (b"", ""),
    ],
)
def test_first_bytes_show_what_a_file_is(head: bytes, extension: str) -> None:
    assert content_extension(head) == extension


@given(st.binary(max_size=700))
def test_no_contents_are_too_odd(head: bytes) -> None:
    assert content_extension(head) == "" or content_extension(head).startswith(".")
