"""Names of files and releases: what a poster wrote, made into what any system can hold.

A posted file has up to three names: in its yEnc header, in its subject, and none that means
anything (posters disguise names on purpose). `choose_name` says which one to believe. Whatever
is chosen comes from a stranger: `safe_name` makes one path component of it that is valid on
Linux, macOS and Windows, in XML and in a URL.
"""

from __future__ import annotations

import re
import unicodedata

_NAME_BYTES = 255  # what ext4, APFS, NTFS and WebDAV clients agree on, in UTF-8
_EXTENSION_BYTES = 32  # a suffix longer than this is not an extension

# Control characters, surrogates, noncharacters (not valid in XML), line and paragraph
# separators, and the marks that reverse what is read ("exe.mkv" that ends in .exe).
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
    "\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)
_FORBIDDEN = re.compile(r'[/\\<>:"|?*]')
_DEVICE = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?=\.|$| )", re.IGNORECASE
)


def safe_name(name: str) -> str:
    """Return *name* as one path component that every system can hold; never empty.

    Separators and what Windows forbids become "_", control characters go, dots and spaces at
    the end go, device names get a "_" before them, and what exceeds 255 bytes of UTF-8 is cut
    before the extension, never within a character. Applied twice it changes nothing more.
    """
    name = _FORBIDDEN.sub("_", _UNPRINTABLE.sub("", name)).strip().rstrip(". ")
    if _DEVICE.match(name):
        name = "_" + name
    return _cut(name, _NAME_BYTES) or "_"


def safe_path(path: str) -> str:
    """Return *path* as "a/b/c" of safe names, "" for none: it leads nowhere but down."""
    parts = (part.strip() for part in re.split(r"[/\\]", path))
    return "/".join(safe_name(part) for part in parts if part.rstrip(". "))


def folded(name: str) -> str:
    """Return what is equal for any two names that some system takes for one.

    Systems differ in whether they tell letters in two cases apart, and "é" from "e" with an accent.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def numbered(name: str, number: int, *, folder: bool = False) -> str:
    """Return *name* as the *number*-th of its kind: "film (2).mkv", or "film.mkv (2)" a folder."""
    stem, extension = (name, "") if folder else split_extension(name)
    mark = f" ({number})"
    room = _NAME_BYTES - len(mark) - len(extension.encode())
    return safe_name(_cut_bytes(stem, room) + mark + extension)


def shortened(name: str, limit: int) -> str:
    """Return *name* cut to *limit* bytes of UTF-8, before its extension."""
    return _cut(name, limit)


def split_extension(name: str) -> tuple[str, str]:
    """Split *name* before the dot of its extension: 1 to 10 letters and digits, one a letter."""
    match = _EXTENSION.search(name)
    if match is None or match.start() == 0:
        return name, ""
    return name[: match.start()], match.group()


_EXTENSION = re.compile(r"\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{1,10}$")


def _cut(name: str, limit: int) -> str:
    if len(name.encode()) <= limit:
        return name
    stem, dot, suffix = name.rpartition(".")
    extension = dot + suffix
    if not stem or len(extension.encode()) > _EXTENSION_BYTES:
        stem, extension = name, ""
    return _cut_bytes(stem, limit - len(extension.encode())).rstrip(". ") + extension


def _cut_bytes(text: str, limit: int) -> str:
    return text.encode()[: max(0, limit)].decode("utf-8", "ignore")


# What the poster wrote -----------------------------------------------------------------------

_SUBJECT_CHARS = 4096  # more is no subject; keeps the patterns below from working for nothing
_QUOTED = re.compile(r'"([^"]*)"')
_PRIVATE = re.compile(r"\[([^\[\]]+\.[A-Za-z0-9]{2,5})\]")
_COUNTER = re.compile(r"[\[(]\s*(\d{1,7})\s*(?:/|of)\s*(\d{1,7})\s*[\])]", re.IGNORECASE)
_PART = re.compile(r"\(\s*(\d{1,7})\s*/\s*(\d{1,7})\s*\)")
_PLACE = re.compile(r"\[\s*(\d{1,7})\s*(?:/|of)\s*\d{1,7}\s*\]", re.IGNORECASE)
_YENC_TAIL = re.compile(r"\byenc\b.*$", re.IGNORECASE)
_FILE_LIKE = re.compile(r"[^\s:*?<>|][^:*?<>|]*\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{2,5}(?=$|[\s,;)\]])")


def subject_name(subject: str) -> str:
    """Return the file name that *subject* tells, "" if it tells none.

    Most posters quote it; a few put it into square brackets and leave the quotes empty, others
    leave it bare between counters ("film.mkv (1/12)", "[01/20] - film.rar yEnc (1/66)").
    """
    subject = subject[:_SUBJECT_CHARS].replace("&quot;", '"')
    for quoted in _QUOTED.findall(subject):
        name = str(quoted).strip()
        if name:
            return name
    bracketed = _PRIVATE.findall(subject)
    if bracketed:
        return str(bracketed[-1]).strip()
    bare = _COUNTER.sub(" - ", _YENC_TAIL.sub("", subject).replace('"', " "))
    for piece in reversed(re.split(r"\s-+(?=\s)|\s{2,}", f" {bare} ")):
        match = _FILE_LIKE.search(piece)
        if match is not None:
            return match.group().strip(" []()-")
    return ""


def subject_parts(subject: str) -> int:
    """Return of how many parts the file is, as its subject says: 240 of "(1/240)"; 0 if silent."""
    counters = _PART.findall(subject[:_SUBJECT_CHARS])
    return int(counters[-1][1]) if counters else 0


def subject_place(subject: str) -> int | None:
    """Return which file of its post this is: 3 of "[03/20]"; None if the subject does not say."""
    match = _PLACE.search(subject[:_SUBJECT_CHARS])
    return int(match[1]) if match is not None else None


_WRAPPED = re.compile(r"(?:\.(?:nzb|gz|bz2|zip))+$", re.IGNORECASE)
_BRACES = re.compile(r"\s*\{\{(.+?)\}\}")
_ASSIGNED = re.compile(r"[\s._-]*\bpassword\s*=\s*(\S.*)$", re.IGNORECASE)


def job_name(filename: str) -> str:
    """Return what the release is called that came as *filename*: no path, ".nzb" or password."""
    stem = _ASSIGNED.sub("", _BRACES.sub("", _WRAPPED.sub("", filename.strip())))
    return safe_name(re.split(r"[/\\]", stem)[-1])


def filename_password(filename: str) -> str | None:
    """Return the password that *filename* carries: "name{{secret}}.nzb", "name password=secret"."""
    # The password may hold separators: only the name before it is a path.
    stem = _WRAPPED.sub("", filename.strip())
    match = _BRACES.search(stem) or _ASSIGNED.search(stem)
    return match.group(1).strip() if match is not None else None


# Disguise ------------------------------------------------------------------------------------

_HEX_DIGITS = re.compile(r"[0-9a-f]{32}")
_HEX_AND_DOTS = re.compile(r"[0-9a-f.]{40,}")
_HEX_RUN = re.compile(r"[0-9a-f]{30}")
_BRACKETED = re.compile(r"\[\w+\]")
_VOLUME = re.compile(r"(?:\.part\d+|\.vol\d+\+\d+|\.7z|\.\d{3})+$", re.IGNORECASE)


def is_obfuscated(name: str) -> bool:
    """Say whether *name* looks made up by a machine, so that another name is worth more.

    Certain signs of it: nothing but 32 hex digits; 40 and more of hex digits and dots; 30 hex
    digits in a row beside two [tags]; the prefix "abc.xyz". Certain signs of a person: words in
    both cases with a separator; three separators; four letters and four digits with a
    separator; a capital and then mostly small letters. What shows neither is held for
    disguised: a wrong guess only costs the better of two names.
    """
    stem = _VOLUME.sub("", split_extension(name)[0])
    if _HEX_DIGITS.fullmatch(stem) or _HEX_AND_DOTS.fullmatch(stem) or stem.startswith("abc.xyz"):
        return True
    if _HEX_RUN.search(stem) and len(_BRACKETED.findall(stem)) > 1:
        return True
    capitals = sum(char.isupper() for char in stem)
    small = sum(char.islower() for char in stem)
    digits = sum(char.isdigit() for char in stem)
    letters = sum(char.isalpha() for char in stem)
    separators = sum(char in " ._-" for char in stem)
    by_a_person = (
        (capitals > 1 and small > 1 and separators > 0)
        or separators > 2
        or (letters > 3 and digits > 3 and separators > 0)
        or (stem[:1].isupper() and small > 2 and capitals / small <= 0.25)
    )
    return not by_a_person


def choose_name(*, yenc: str, subject: str, job: str, head: bytes = b"", par2: str = "") -> str:
    """Return the name for a posted file, safe to publish.

    *par2* is what the par2 files call it, *yenc* the name in its yEnc header, *subject* the whole
    subject, *job* the name of the release and *head* the first bytes of its data. The first that
    looks as if a person wrote it wins; when all are disguised it is the release's name, with the
    extension that the disguise kept or the contents show.
    """
    candidates = [name for name in (par2.strip(), yenc.strip(), subject_name(subject)) if name]
    for name in candidates:
        if not is_obfuscated(name):
            return safe_name(name)
    kept = [split_extension(name)[1].lower() for name in candidates]
    known = [extension for extension in kept if _KNOWN.fullmatch(extension)]
    extension = next(filter(None, (*known, content_extension(head), *kept)), "")
    return safe_name(_cut_bytes(job, _NAME_BYTES - len(extension)) + extension)


def has_known_extension(name: str) -> bool:
    """Say whether *name* ends as files that posts are made of do."""
    return _KNOWN.fullmatch(split_extension(name)[1].lower()) is not None


# Extensions that say more than the first bytes can (a .vob is an MPEG stream, a .cbz a ZIP).
_KNOWN = re.compile(
    r"\.(?:mk[vas]|webm|mp4|m4[vab]|mov|avi|wmv|mpe?g|vob|m?ts|m2ts|flv|og[gm]|opus|flac|mp3|aac|ac3"
    r"|dts|wav|iso|img|rar|r\d\d|7z|zip|par2|sfv|nfo|srt|ass|ssa|sub|idx|sup|vtt|jpe?g|png|pdf|epub"
    r"|mobi|azw3|cb[rz])"
)


# Contents ------------------------------------------------------------------------------------

# (offset, bytes, extension): the first that fits. Formats that a post may hold and that their
# first bytes tell; a container's flavours are told apart in `content_extension`.
_MAGIC = (
    (0, b"Rar!\x1a\x07", ".rar"),
    (0, b"7z\xbc\xaf\x27\x1c", ".7z"),
    (0, b"PAR2\x00PKT", ".par2"),
    (0, b"PK\x03\x04", ".zip"),
    (0, b"\x1f\x8b\x08", ".gz"),
    (0, b"\x1a\x45\xdf\xa3", ".mkv"),
    (4, b"ftyp", ".mp4"),
    (8, b"AVI ", ".avi"),
    (8, b"WAVE", ".wav"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", ".wmv"),
    (0, b"\x00\x00\x01\xba", ".mpg"),
    (0, b"\x00\x00\x01\xb3", ".mpg"),
    (0, b"FLV\x01", ".flv"),
    (0, b"OggS", ".ogg"),
    (0, b"fLaC", ".flac"),
    (0, b"ID3", ".mp3"),
    (0, b"\xff\xfb", ".mp3"),
    (0, b"%PDF-", ".pdf"),
    (0, b"\xff\xd8\xff", ".jpg"),
    (0, b"\x89PNG\r\n\x1a\n", ".png"),
    (0x8001, b"CD001", ".iso"),
)
_MP4_BRANDS = {b"qt  ": ".mov", b"M4A ": ".m4a", b"M4B ": ".m4b", b"M4V ": ".m4v"}
_TS_PACKETS = 3  # one sync byte proves nothing; three at the right distance do


def content_extension(head: bytes) -> str:
    """Return the extension that the first bytes of a file show (".mkv"), "" if they show none.

    A few hundred bytes do for most formats; transport streams want 600, disc images 32 KiB.
    """
    for offset, magic, extension in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            if extension == ".mkv" and b"webm" in head[:64]:
                return ".webm"
            if extension == ".mp4":
                return _MP4_BRANDS.get(bytes(head[8:12]), ".mp4")
            return extension
    for first, distance, extension in ((0, 188, ".ts"), (4, 192, ".m2ts")):
        stop = first + distance * (_TS_PACKETS - 1) + 1
        if len(head) >= stop and set(head[first:stop:distance]) == {0x47}:
            return extension
    return ""
