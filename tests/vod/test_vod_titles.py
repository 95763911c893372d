"""What names of releases and files say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.vod.titles import Title, is_video, parse_title


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("Some.Film.2026.1080p.WEB-DL.x264-GRP", Title("Some Film", 2026)),
        ("A Film (2001)", Title("A Film", 2001)),
        ("2001 A Space Odyssey (1968) [1080p]", Title("2001 A Space Odyssey", 1968)),
        ("1917.2019.2160p.UHD.BluRay", Title("1917", 2019)),
        ("1984", Title("1984")),
        ("Blade Runner 2049", Title("Blade Runner 2049")),
        ("Blade.Runner.2049.2017.4K", Title("Blade Runner 2049", 2017)),
        ("Some.Show.S01E02.Its.Name.720p.HDTV", Title("Some Show", None, 1, 2)),
        ("Some Show (2005) - S13E1001", Title("Some Show", 2005, 13, 1001)),
        ("Some_Show_s2_e3", Title("Some Show", None, 2, 3)),
        ("S01E02", Title("S01E02", None, 1, 2)),
        ("Film.1080p.BluRay", Title("Film")),
        ("1080p", Title("1080p")),
        ("Ärger.im.Paradies", Title("Ärger im Paradies")),
    ],
)
def test_names_are_read(name: str, title: Title) -> None:
    assert parse_title(name) == title


@given(st.text(min_size=1))
def test_every_name_has_a_title(name: str) -> None:
    assert parse_title(name).title


def test_what_is_a_video_and_no_sample_is_to_be_watched() -> None:
    big = 1 << 30
    assert is_video("film.MKV", 10)
    assert is_video("The.Sample.2020.mkv", big)
    for name in ("film.nfo", "film", "film-sample.mkv", "sample.mkv", "film.mkv.txt", "x.m3u"):
        assert not is_video(name, 10)
