"""Ranges and conditions, as RFC 9110 has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.ranges import Decision, Entity, decide, parse_ranges

MODIFIED = datetime(2026, 9, 1, 12, 30, 15, 654321, tzinfo=UTC)
FILE = Entity(1000, "video/x-matroska", "v1-1000", MODIFIED)
DATE = "Tue, 01 Sep 2026 12:30:15 GMT"
EARLIER = "Tue, 01 Sep 2026 12:30:14 GMT"
LATER = "Tue, 01 Sep 2026 12:30:16 GMT"


def get(entity: Entity = FILE, method: str = "GET", **headers: str) -> Decision:
    return decide(
        entity, method, {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    )


def test_a_get_without_conditions_is_the_whole_file() -> None:
    assert get() == Decision(
        200,
        [
            ("Content-Length", "1000"),
            ("Content-Type", "video/x-matroska"),
            ("X-Content-Type-Options", "nosniff"),
            ("Accept-Ranges", "bytes"),
            ("ETag", '"v1-1000"'),
            ("Last-Modified", DATE),
        ],
        0,
        1000,
        has_body=True,
    )


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-", 0, 1000),
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=999-", 999, 1000),
        ("bytes=990-5000", 990, 1000),
        ("bytes=0-99999999999999999999999999", 0, 1000),
        ("bytes=-1", 999, 1000),
        ("bytes=-500", 500, 1000),
        ("bytes=-5000", 0, 1000),
        ("Bytes=00010-000019", 10, 20),
        (" bytes=10-19 ", 10, 20),
        ("bytes= 10-19 ,", 10, 20),
        ("bytes=10-19,50-59", 10, 20),
        ("bytes=2000-,50-59, -1", 50, 60),
        ("bytes=50-59, 10-19", 50, 60),
    ],
)
def test_one_range_is_answered(header: str, start: int, stop: int) -> None:
    answer = get(range=header)
    assert (answer.status, answer.start, answer.stop) == (206, start, stop)
    assert dict(answer.headers)["Content-Range"] == f"bytes {start}-{stop - 1}/1000"
    assert dict(answer.headers)["Content-Length"] == str(stop - start)


@pytest.mark.parametrize(
    "header",
    ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=5000-,-0", "bytes=" + "9" * 9000 + "-"],
)
def test_a_range_outside_of_the_file_is_416_with_its_size(header: str) -> None:
    answer = get(range=header)
    assert answer.status == 416
    assert dict(answer.headers)["Content-Range"] == "bytes */1000"
    assert dict(answer.headers)["Content-Length"] == "0"
    assert not answer.has_body


@pytest.mark.parametrize(
    "header",
    [
        "bytes=5-2",
        "bytes=0-5,5-2",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=0x10-",
        "bytes=1-2-3",
        "bytes=- 5",
        "bytes=+1-5",
        "bytes=1_0-20",
        "bytes=٣-",
        "items=0-5",
        "0-5",
        "",
    ],
)
def test_what_is_no_range_is_ignored(header: str) -> None:
    answer = get(range=header)
    assert (answer.status, answer.start, answer.stop) == (200, 0, 1000)


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-5", "bytes=7-"])
def test_a_file_of_no_bytes_is_sent_whole_whatever_range_is_asked(header: str) -> None:
    answer = get(Entity(0, "text/plain"), range=header)
    assert (answer.status, answer.start, answer.stop) == (200, 0, 0)
    assert dict(answer.headers)["Content-Length"] == "0"


def test_a_head_states_the_length_and_takes_no_range() -> None:
    answer = get(method="HEAD", range="bytes=10-19")
    assert (answer.status, answer.has_body) == (200, False)
    assert dict(answer.headers)["Content-Length"] == "1000"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if_match": '"v1-1000"'}, 200),
        ({"if_match": '"other", "v1-1000"'}, 200),
        ({"if_match": "*"}, 200),
        ({"if_match": 'W/"v1-1000"'}, 412),  # a weak tag never matches strongly
        ({"if_match": '"other"'}, 412),
        ({"if_match": ""}, 412),
        ({"if_unmodified_since": DATE}, 200),
        ({"if_unmodified_since": LATER}, 200),
        ({"if_unmodified_since": EARLIER}, 412),
        ({"if_unmodified_since": "yesterday"}, 200),
        ({"if_match": '"v1-1000"', "if_unmodified_since": EARLIER}, 200),  # the tag decides
        ({"if_none_match": '"v1-1000"'}, 304),
        ({"if_none_match": 'W/"v1-1000"'}, 304),
        ({"if_none_match": '"a", "v1-1000"'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"other"'}, 200),
        ({"if_modified_since": DATE}, 304),
        ({"if_modified_since": LATER}, 304),
        ({"if_modified_since": EARLIER}, 200),
        ({"if_modified_since": "yesterday"}, 200),
        ({"if_modified_since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 200),
        ({"if_none_match": '"v1-1000"', "if_modified_since": EARLIER}, 304),  # the tag decides
        ({"if_none_match": '"other"', "if_modified_since": LATER}, 200),
        ({"if_match": '"other"', "if_none_match": '"v1-1000"'}, 412),  # asked first
        ({"if_none_match": '"v1-1000"', "range": "bytes=0-1"}, 304),
        ({"if_match": '"v1-1000"', "range": "bytes=0-1"}, 206),
        ({"if_match": '"other"', "range": "bytes=5000-"}, 412),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions_are_asked_in_their_order(
    headers: dict[str, str], status: int, method: str
) -> None:
    if method == "HEAD" and status == 206:
        status = 200
    assert get(FILE, method, **headers).status == status


@pytest.mark.parametrize("name", ["if_none_match", "if_match"])
def test_a_condition_that_fails_has_no_body_but_the_validators(name: str) -> None:
    answer = get(FILE, "GET", **{name: '"v1-1000"' if name == "if_none_match" else '"x"'})
    assert not answer.has_body
    assert dict(answer.headers)["ETag"] == '"v1-1000"'
    assert ("Content-Type", "video/x-matroska") not in answer.headers


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ('"v1-1000"', 206),
        ('"other"', 200),
        ('W/"v1-1000"', 200),
        ("v1-1000", 200),
        (DATE, 206),
        (EARLIER, 200),
        (LATER, 200),  # it must be the very date
        ("garbage", 200),
    ],
)
def test_if_range_gives_the_part_only_of_the_same_file(value: str, status: int) -> None:
    assert get(range="bytes=0-9", if_range=value).status == status
    if status == 200:  # and then an impossible range is no error
        assert get(range="bytes=5000-", if_range=value).status == 200


def test_what_has_neither_tag_nor_date_is_served_all_the_same() -> None:
    bare = Entity(10, "text/plain")
    assert get(bare, range="bytes=0-1").status == 206
    assert get(bare, if_modified_since=DATE, if_unmodified_since=DATE).status == 200
    assert get(bare, if_match='"x"').status == 412
    assert get(bare, if_none_match='"x"').status == 200
    assert get(bare, if_range=DATE, range="bytes=0-1").status == 200


@given(length=st.integers(1, 10**13), first=st.integers(0, 10**13), last=st.integers(0, 10**13))
def test_a_closed_range_is_what_a_slice_would_be(length: int, first: int, last: int) -> None:
    ranges = parse_ranges(f"bytes={first}-{last}", length)
    whole = range(length)
    if last < first:
        assert ranges is None
    else:
        chosen = whole[first : last + 1]
        assert ranges == (((chosen.start, chosen.stop),) if chosen else ())


@given(length=st.integers(1, 10**13), suffix=st.integers(0, 10**14))
def test_a_suffix_range_is_what_a_slice_would_be(length: int, suffix: int) -> None:
    chosen = range(length)[-suffix:] if suffix else range(0)
    expected = ((chosen.start, chosen.stop),) if suffix else ()
    assert parse_ranges(f"bytes=-{suffix}", length) == expected


@given(
    header=st.text(max_size=40) | st.from_regex(r"bytes=[0-9,\- ]{0,30}", fullmatch=True),
    length=st.integers(0, 100),
    method=st.sampled_from(["GET", "HEAD"]),
)
def test_no_range_header_leads_outside_of_the_file(header: str, length: int, method: str) -> None:
    answer = get(Entity(length, "text/plain"), method, range=header)
    assert answer.status in {200, 206, 416}
    assert 0 <= answer.start <= answer.stop <= length
    if answer.status == 206:
        assert answer.stop > answer.start
        assert dict(answer.headers)["Content-Length"] == str(answer.stop - answer.start)


@given(
    headers=st.dictionaries(
        st.sampled_from(
            ["if_match", "if_none_match", "if_range", "if_modified_since", "if_unmodified_since"]
        ),
        st.text(max_size=30) | st.sampled_from(['"v1-1000"', 'W/"v1-1000"', "*", DATE, LATER]),
    )
)
def test_no_condition_breaks_the_answer(headers: dict[str, str]) -> None:
    assert get(FILE, "GET", range="bytes=0-9", **headers).status in {200, 206, 304, 412}


def test_a_date_without_a_zone_is_taken_as_utc() -> None:
    naive = MODIFIED.replace(tzinfo=None)
    assert get(Entity(5, "text/plain", None, naive), if_modified_since=DATE).status == 304
    elsewhere = MODIFIED.astimezone(tz=None) + timedelta(0)
    assert get(Entity(5, "text/plain", None, elsewhere), if_modified_since=DATE).status == 304
