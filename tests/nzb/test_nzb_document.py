"""What an NZB may look like, and what it may not do."""

from __future__ import annotations

import bz2
import gzip
import io
import tracemalloc
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidNzb, NotXml
from gateway.nzb.document import parse
from gateway.nzb.extents import PartTable

DOCTYPE = (
    '<!DOCTYPE nzb PUBLIC "-//newzBin//DTD NZB 1.1//EN" '
    '"http://www.newzbin.com/DTD/nzb/nzb-1.1.dtd">'
)


def segment(message_id: str, number: object = 1, size: object = 750_000) -> str:
    return f'<segment bytes="{size}" number="{number}">{message_id}</segment>'


def file(*segments: str, subject: str = "&quot;film.mkv&quot; yEnc (1/2)", more: str = "") -> str:
    return (
        f'<file poster="someone@example.com" date="1700000000" subject="{subject}">'
        f"<groups><group>alt.binaries.test</group>{more}</groups>"
        f"<segments>{''.join(segments)}</segments></file>"
    )


def nzb(*files: str, head: str = "", declare: str = "", attributes: str = "") -> bytes:
    return f"{declare}<nzb{attributes}>{head}{''.join(files)}</nzb>".encode()


PLAIN = nzb(file(segment("a@b", 1), segment("c@d", 2)))


def ids(document: bytes) -> list[str]:
    return [part.message_id for posted in parse(document).files for part in posted.segments]


def test_a_file_is_its_attributes_its_groups_and_its_segments_in_order() -> None:
    more = "<group> alt.binaries.other </group><group>alt.binaries.test</group>"
    document = nzb(file(segment("c@d", 2, 300), segment("a@b", 1, 500), more=more))
    (posted,) = parse(document).files
    assert posted.subject == '"film.mkv" yEnc (1/2)'
    assert posted.poster == "someone@example.com"
    assert posted.date == 1_700_000_000
    assert posted.groups == ("alt.binaries.test", "alt.binaries.other")
    assert [(s.number, s.bytes, s.message_id) for s in posted.segments] == [
        (1, 500, "a@b"),
        (2, 300, "c@d"),
    ]
    assert (posted.size, posted.parts, posted.gaps) == (800, 2, 0)


@pytest.mark.parametrize(
    "document",
    [
        nzb(
            file(segment("a@b"), segment("c@d", 2)),
            attributes=' xmlns="http://www.newzbin.com/DTD/2003/nzb"',
            declare=f'<?xml version="1.0" encoding="UTF-8"?>\n{DOCTYPE}\n',
        ),
        nzb(file(segment("a@b"), segment("c@d", 2)), attributes=' xmlns="urn:whatever"'),
        PLAIN.replace(b"<", b"<n:")
        .replace(b"<n:/", b"</n:")
        .replace(b"<n:nzb", b'<n:nzb xmlns:n="u"'),
        PLAIN.replace(b"segment", b"SEGMENT")
        .replace(b"file ", b"File ")
        .replace(b"/file", b"/File"),
        b"\xef\xbb\xbf" + PLAIN,
        b"\r\n \t" + b'<?xml version="1.0"?>' + PLAIN,
        f"<!-- {'made by a tool ' * 10_000} -->{DOCTYPE}<!-- and another -->".encode() + PLAIN,
        PLAIN.replace(b"c@d", b"<![CDATA[c@d]]>"),
        PLAIN.replace(b"c@d", b"c<!-- here? -->@d"),
        PLAIN.replace(b"c@d", b"\n   &lt;c@d&gt;\n   "),
        PLAIN.replace(b"<group>alt.binaries.test</group>", b""),
        PLAIN.replace(b' date="1700000000"', b""),
        nzb(file(), file(segment("a@b"), segment("c@d", 2)), "<file/>"),
    ],
    ids=[
        "namespace and DOCTYPE",
        "unknown namespace",
        "prefix",
        "capitals",
        "byte order mark",
        "space before the declaration",
        "long comment before the root",
        "CDATA",
        "comment in an id",
        "brackets and space around an id",
        "no groups",
        "no date",
        "empty files",
    ],
)
def test_what_is_found_in_the_wild_is_read(document: bytes) -> None:
    assert ids(document) == ["a@b", "c@d"]
    assert parse(document).damage == ""


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("utf-8", "utf-8"),
        ("UTF-8", "utf-8-sig"),
        ("iso-8859-1", "iso-8859-1"),
        ("iso-8859-1", "utf-8"),  # a lie: the bytes are UTF-8
        ("utf-8", "cp1252"),  # a lie the other way round
        ("utf-16", "utf-8"),
        ("utf-16", "utf-16"),
        ("utf-16", "utf-16-le"),
        ("utf-16", "utf-16-be"),
        ("utf-32", "utf-32"),
        ("windows-1252", "cp1252"),
        ("no-such-encoding", "cp1252"),
        ("rot13", "utf-8"),
    ],
)
def test_encodings_are_read_as_declared_or_as_they_are(declared: str, encoding: str) -> None:
    declaration = f'<?xml version="1.0" encoding="{declared}"?>'
    document = nzb(file(segment("a@b"), subject="Amélie"), declare=declaration)
    (posted,) = parse(document.decode().encode(encoding)).files
    assert posted.subject == "Amélie"


def test_characters_that_xml_forbids_do_not_cost_the_rest_of_the_document() -> None:
    document = PLAIN.replace(b"film.mkv", b"fi\x00l\x0bm\x1f.mkv")
    assert parse(document).files[0].subject == '"film.mkv" yEnc (1/2)'
    assert ids(document) == ["a@b", "c@d"]


def zipped(*names: str, member: bytes = PLAIN) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, member if name.endswith(".nzb") else b"nothing")
    return target.getvalue()


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(PLAIN),
        bz2.compress(PLAIN),
        zipped("film.nzb"),
        zipped("readme.txt", "folder/film.NZB".replace("NZB", "nzb")),
        gzip.compress(zipped("film.nzb")),
    ],
    ids=["gzip", "bzip2", "zip", "zip with more", "zip in gzip"],
)
def test_packed_documents_are_unpacked(packed: bytes) -> None:
    assert ids(packed) == ["a@b", "c@d"]


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        (gzip.compress(PLAIN)[:-9], "damaged gzip"),
        (gzip.compress(PLAIN)[:20] + b"\xff" * 30, "damaged gzip"),
        (bz2.compress(PLAIN)[:-9], "damaged bzip2"),
        (bz2.compress(PLAIN)[:30] + b"\xff" * 30, "damaged bzip2"),
        (zipped("film.nzb")[:60], "damaged ZIP"),
        (zipped("a.nzb", "b.nzb"), "a ZIP with 2 NZBs"),
        (zipped("a.txt", "b.txt"), "a ZIP with 0 NZBs"),
        (gzip.compress(gzip.compress(gzip.compress(PLAIN))), "not an NZB"),
    ],
)
def test_damaged_or_ambiguous_packing_is_refused_in_words(packed: bytes, words: str) -> None:
    with pytest.raises(InvalidNzb, match=words):
        parse(packed)


def test_a_zip_with_a_password_is_refused_in_words() -> None:
    packed = bytearray(zipped("film.nzb"))
    packed[6] |= 1  # the flag "encrypted", in the local header and in the directory
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InvalidNzb, match="cannot be opened"):
        parse(bytes(packed))


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, bz2.compress], ids=["plain", "gzip", "bzip2"]
)
def test_a_document_above_the_limit_is_refused(pack: Callable[[bytes], bytes]) -> None:
    document = pack(PLAIN + b" " * 1_000_000)
    assert parse(document, limit=1_100_000).parts == 2
    with pytest.raises(InvalidNzb, match="more than 1,000,000 bytes"):
        parse(document, limit=1_000_000)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress], ids=["gzip", "bzip2"])
def test_a_bomb_goes_off_no_further_than_the_limit(pack: Callable[[bytes], bytes]) -> None:
    bomb = pack(b"<nzb>" + b" " * 10_000_000) * 10
    tracemalloc.start()
    try:
        with pytest.raises(InvalidNzb, match="more than 1,000,000 bytes"):
            parse(bomb, limit=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_the_limit_is_200_megabytes_unless_said_otherwise() -> None:
    with pytest.raises(InvalidNzb, match="more than 209,715,200 bytes"):
        parse(b"<nzb>" + b" " * 209_715_200)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"   \r\n",
        b"\x00" * 100,
        b"429 Too Many Requests",
        b'{"error": "limit reached"}',
        b"\x89PNG\r\n\x1a\n\x00\x00",
        "grüße".encode("utf-16"),
    ],
)
def test_what_is_no_xml_is_told_from_what_is_no_nzb(document: bytes) -> None:
    with pytest.raises(NotXml, match="not an NZB"):
        parse(document)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"<!DOCTYPE html><html><br></html>", "not an NZB but <html>"),
        (
            b'<?xml version="1.0"?><error code="100" description="Incorrect user credentials"/>',
            "not an NZB but <error> that says 'Incorrect user credentials'",
        ),
        (b"<", "broken"),
        (b"<nzb", "broken"),
        (b"<nzb/>", "lists nothing to fetch"),
        (nzb(file()), "lists nothing to fetch"),
        (
            nzb(file(segment(""), segment("a b@c"))),
            r"lists nothing to fetch \(2 segments unusable\)",
        ),
        (nzb(segment("a@b")), "lists nothing to fetch"),
    ],
)
def test_xml_without_anything_to_fetch_says_what_is_wrong(document: bytes, words: str) -> None:
    with pytest.raises(InvalidNzb, match=words) as caught:
        parse(document)
    assert not isinstance(caught.value, NotXml)


# Broken markup ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        PLAIN.removesuffix(b"</segments></file></nzb>"),
        PLAIN.removesuffix(b"nzb>"),
        PLAIN + b"<p>garbage behind",
        PLAIN.replace(b"film.mkv", b"this & that"),
        PLAIN.replace(b"film.mkv", b"caf&eacute;"),
        PLAIN.replace(b"film.mkv", b"a < b"),
        b"<nzb><a>" + b"<b>" * 100_000 + PLAIN,
    ],
    ids=["cut", "cut at the end", "garbage", "ampersand", "entity of HTML", "less-than", "depth"],
)
def test_of_a_broken_document_counts_what_can_be_read_and_the_damage_is_told(
    document: bytes,
) -> None:
    found = parse(document)
    assert [part.message_id for part in found.files[0].segments] == ["a@b", "c@d"]
    assert found.damage


@pytest.mark.parametrize(
    ("document", "is_cut"),
    [
        (PLAIN, False),
        (PLAIN.removesuffix(b"</segments></file></nzb>"), True),
        (PLAIN.removesuffix(b"</nzb>"), True),
        (PLAIN.removesuffix(b"nzb>"), True),
        (PLAIN + b"<p>garbage behind", False),
        (PLAIN.replace(b"film.mkv", b"this & that"), False),
        (b'<x:nzb xmlns:x="y">' + PLAIN.partition(b">")[2] + b"</x:NZB\n> &", False),
    ],
)
def test_a_document_that_stops_before_its_end_is_told_from_one_that_is_merely_broken(
    document: bytes, is_cut: bool
) -> None:
    assert parse(document).is_cut is is_cut


# Numbers ---------------------------------------------------------------------------------------


def test_segments_of_one_number_are_alternates_in_the_order_of_the_document() -> None:
    document = nzb(
        file(
            segment("first@x", 1, 0),
            segment("other@x", 2),
            segment("second@x", 1, 700),
            segment("first@x", 1),
            segment("second@x", 1),
            segment("third@x", 1),
        )
    )
    one, two = parse(document).files[0].segments
    assert (one.message_id, one.alternates, one.bytes) == ("first@x", ("second@x", "third@x"), 700)
    assert two.alternates == ()
    assert parse(document).files[0].ids() == [b"first@x\tsecond@x\tthird@x", b"other@x"]


def test_no_part_has_more_alternates_than_anybody_would_ask_for() -> None:
    document = nzb(file(*(segment(f"{n}@x") for n in range(1000))))
    assert len(parse(document).files[0].segments[0].alternates) == 15


def test_gaps_are_known_and_have_no_message_id() -> None:
    posted = parse(nzb(file(segment("b@x", 2, 100), segment("e@x", 5, 300)))).files[0]
    assert (posted.parts, posted.gaps) == (5, 3)
    assert posted.ids() == [b"", b"b@x", b"", b"", b"e@x"]
    table = PartTable.estimated(posted.ids(), 1000, posted.weights())
    assert table.message_ids(0) == ()
    assert table.message_ids(4) == ("e@x",)


def test_numbers_below_one_and_what_is_no_number_are_ignored_and_counted() -> None:
    odd = [segment(f"{n}@x", number) for n, number in enumerate(["0", "-1", "", "one", "9" * 30])]
    found = parse(nzb(file(*odd, segment("a@b", 1))))
    assert [part.message_id for part in found.files[0].segments] == ["a@b"]
    assert found.refused == 5


@pytest.mark.parametrize("number", [10**7, 2**31, 10**17])
def test_a_number_that_would_fill_the_memory_with_gaps_is_refused(number: int) -> None:
    with pytest.raises(InvalidNzb, match=r"lists 2 of [\d,]+ parts"):
        parse(nzb(file(segment("a@b", 1), segment("c@d", number))))


def test_many_files_with_gaps_of_bearable_size_are_refused_in_sum() -> None:
    with pytest.raises(InvalidNzb, match="lists 50 of 2,500,000 parts"):
        parse(nzb(*(file(segment(f"{n}@x", 50_000)) for n in range(50))))


@pytest.mark.parametrize("size", ["0", "-5", "", "many", "999999999", "9" * 40])
def test_sizes_nobody_can_believe_count_as_unknown(size: str) -> None:
    posted = parse(nzb(file(segment("a@b", 1, size), segment("c@d", 2, 500)))).files[0]
    assert posted.segments[0].bytes == 0
    assert posted.size == 500
    assert posted.weights() == [500, 500]


# Message-ids -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hostile",
    [
        "a@b&#13;&#10;QUIT",
        "a@b&#10;c",
        "a@b\tc",
        "a b@c",
        "a@b&#127;",
        "a@b&#133;c",
        "a@b&#160;c",
        "a@b&#8232;c",
        "a@b&gt;&lt;c@d",
        "x" * 251,
        "é" * 126,
        "x" * 1_000_000,
    ],
)
def test_a_message_id_that_could_become_a_second_command_is_refused(hostile: str) -> None:
    found = parse(nzb(file(segment(hostile, 1), segment("c@d", 2))))
    assert [part.message_id for part in found.files[0].segments] == ["c@d"]
    assert found.refused == 1


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=300))
def test_no_accepted_message_id_holds_space_or_control_characters(text: str) -> None:
    escaped = "".join(f"&#{ord(char)};" if char not in "\t\n\r" else char for char in text)
    for message_id in ids(nzb(file(segment(escaped, 1), segment("good@x", 2)))):
        encoded = message_id.encode()
        assert 0 < len(encoded) <= 250
        assert not any(byte <= 0x20 or byte == 0x7F for byte in encoded)
        assert not set(b"<>") & set(encoded)


def test_a_message_id_of_250_bytes_is_taken() -> None:
    assert ids(nzb(file(segment("x" * 250)))) == ["x" * 250]


# Entities and what lies outside ----------------------------------------------------------------

LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "lol"}">' for n in range(10))


@pytest.mark.parametrize(
    "declaration",
    [
        f"<!DOCTYPE nzb [{LAUGHS}]>",
        '<!DOCTYPE nzb [<!ENTITY l9 SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE nzb [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x.dtd"> %p;]>',
    ],
    ids=["billion laughs", "external", "parameter"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "utf-32"])
def test_entities_are_refused_in_every_encoding(declaration: str, encoding: str) -> None:
    document = nzb(file(segment("&l9;"), subject="&l9;"), declare=declaration)
    with pytest.raises(InvalidNzb, match="entities"):
        parse(document.decode().encode(encoding))


def test_entities_hidden_in_utf7_are_not_read() -> None:
    hidden = '<!ENTITY a "x">'.encode("utf-7").replace(b"<", b"+ADw-")
    document = b'<?xml version="1.0" encoding="utf-7"?><!DOCTYPE nzb [' + hidden + b"]>" + PLAIN
    with pytest.raises(InvalidNzb):
        parse(document.replace(b"film.mkv", b"&a;").replace(b"a@b", b"").replace(b"c@d", b""))


def test_a_dtd_outside_of_the_document_is_never_opened() -> None:
    # A DTD that was opened would give the attribute; a missing one would be an error.
    declared = '<!DOCTYPE nzb SYSTEM "file:///nonexistent/nzb.dtd">'
    found = parse(nzb(file(segment("a@b")), declare=declared))
    assert (found.damage, found.parts) == ("", 1)


# Head and passwords ----------------------------------------------------------------------------


def test_the_head_is_read_and_passwords_are_kept_apart() -> None:
    head = (
        '<head><meta type="Title"> A Film </meta><meta type="tag">HD</meta>'
        '<meta type="tag">4K</meta><meta type="password"> open sesame </meta>'
        '<meta type="password">two</meta><meta>?</meta></head>'
    )
    found = parse(nzb(file(segment("a@b")), head=head))
    assert found.meta == {"title": "A Film", "tag": "HD"}
    assert found.passwords == ("open sesame", "two")
    assert "sesame" not in repr(found)


def test_the_password_in_the_file_name_comes_first() -> None:
    head = '<head><meta type="password">meta</meta></head>'
    document = nzb(file(segment("a@b")), head=head)
    assert parse(document, filename="film{{name}}.nzb").passwords == ("name", "meta")
    assert parse(document, filename="film{{meta}}.nzb").passwords == ("meta",)
    assert parse(document, filename="film.nzb").password == "meta"
    assert parse(PLAIN).password is None


def test_a_hundred_thousand_segments_are_all_read() -> None:
    document = nzb(file(*(segment(f"{n}@x", n) for n in range(100_000, 0, -1))))
    (posted,) = parse(document).files
    assert (posted.parts, posted.gaps) == (100_000, 0)
    assert posted.segments[41_999].message_id == "42000@x"


@given(st.binary(max_size=200), st.integers(0, len(PLAIN)))
def test_whatever_is_mixed_into_a_document_it_is_read_or_refused(noise: bytes, at: int) -> None:
    for document in (noise, PLAIN[:at] + noise + PLAIN[at:], PLAIN[:at]):
        try:
            found = parse(document)
        except InvalidNzb:
            continue
        assert found.parts > 0
