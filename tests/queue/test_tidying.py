"""What of a post is published: blocklist, samples, and whether there is anything to watch."""

from __future__ import annotations

import pytest

from gateway.errors import ImportFailed
from gateway_queue.category import CategoryRules, OnMissing, padded_folders
from gateway_queue.tidying import kept, wanted

GIB = 1 << 30
USUAL = CategoryRules("movies")


def left(files: dict[str, int], rules: CategoryRules = USUAL) -> list[str]:
    listed = list(files.items())
    return [listed[index][0] for index in kept(listed, rules)]


def test_what_helps_a_downloader_is_left_out_and_what_helps_a_viewer_stays() -> None:
    files = {
        "Film.mkv": GIB,
        "Film.NFO": 9,
        "Film.sfv": 9,
        "Film.vol00+01.par2": 9,
        "Subs/Film.en.srt": 9,
        "Film.idx": 9,
        "Film.sub": 9,
        "cover.jpg": 9,
        "readme.txt": 9,
    }
    assert left(files) == [
        "Film.mkv", "Subs/Film.en.srt", "Film.idx", "Film.sub", "cover.jpg", "readme.txt",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["film-sample.mkv", "SAMPLE.mkv", "Sample/film.mkv", "film.sample.avi"]
)
def test_a_sample_is_one_only_if_it_is_named_so_and_small(name: str) -> None:
    film = {"Film.mkv": 1000}
    assert left({**film, name: 99}) == ["Film.mkv"]
    assert left({**film, name: 100}) == ["Film.mkv", name]


@pytest.mark.parametrize("name", ["The.Sampler.mkv", "extra.mkv", "resample.mkv"])
def test_a_short_video_of_another_name_is_no_sample(name: str) -> None:
    assert left({"Film.mkv": 1000, name: 5}) == ["Film.mkv", name]


def test_a_film_called_sample_stays_if_it_is_the_largest() -> None:
    assert left({"sample.mkv": 700, "other.mkv": 50}) == ["sample.mkv", "other.mkv"]
    assert left({"sample.mkv": 7}) == ["sample.mkv"]


def test_only_a_video_is_taken_for_a_sample() -> None:
    assert left({"Film.mkv": 1000, "sample.srt": 1}) == ["Film.mkv", "sample.srt"]


def test_patterns_of_a_category_replace_the_usual_ones() -> None:
    rules = CategoryRules("tv", blocklist=("*.TXT", "proof*"))
    files = {"a.mkv": 100, "a.nfo": 1, "a.txt": 1, "x/Proof.jpg": 1, "sample.mkv": 1}
    assert left(files, rules) == ["a.mkv", "a.nfo", "sample.mkv"]
    assert left(files, CategoryRules("tv", blocklist=())) == list(files)


@pytest.mark.parametrize("name", ["a.mkv", "a.flac", "VIDEO_TS/a.VOB", "a.m2ts", "a.iso", "a.wma"])
def test_a_post_with_something_to_watch_or_to_hear_is_taken(name: str) -> None:
    assert left({name: 5, "a.bin": 500}) == [name, "a.bin"]


def test_a_post_without_video_and_audio_fails_with_the_setting_that_would_take_it() -> None:
    with pytest.raises(ImportFailed) as caught:
        left({"a.txt": 7, "setup.exe": 1234, "a.nfo": 5000})
    assert str(caught.value) == (
        'the post holds no video and no audio file, the largest of its 2 is "setup.exe" of 1,234 '
        "bytes: GATEWAY_CATEGORIES__MOVIES__MEDIA_REQUIRED=false takes such posts"
    )
    assert left({"setup.exe": 9}, CategoryRules("software", media_required=False)) == ["setup.exe"]


def test_a_post_of_which_nothing_is_left_fails_whatever_it_may_hold() -> None:
    rules = CategoryRules("software", media_required=False)
    with pytest.raises(ImportFailed, match="SOFTWARE__BLOCKLIST names all its 2 files"):
        left({"a.nfo": 7, "b.sfv": 7}, rules)


def test_what_is_left_out_for_its_name_is_not_even_looked_at() -> None:
    names = ["Film.nfo", "Film.part01.rar", "", "sample.mkv", "8f3a90b2.par2"]
    assert wanted(names, USUAL) == [1, 2, 3]
    with pytest.raises(ImportFailed, match="MOVIES__BLOCKLIST names its only file"):
        wanted(["Film.nfo"], USUAL)


def test_films_are_padded_in_folders_of_which_all_categories_want_it() -> None:
    rules = [
        CategoryRules("movies", on_missing=OnMissing.PAD),
        CategoryRules("tv"),
        CategoryRules("anime", "shared", on_missing=OnMissing.PAD),
        CategoryRules("kids", "shared"),
    ]
    assert padded_folders(rules) == {"movies"}
