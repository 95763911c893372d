"""Content types by extension: a table of our own, so that every machine answers alike.

Python's `mimetypes` reads what the system has, and many systems know neither mkv nor srt.
"""

from __future__ import annotations

DEFAULT = "application/octet-stream"

_TYPES = {
    "video/x-matroska": "mkv mk3d",
    "video/webm": "webm",
    "video/mp4": "mp4 m4v f4v",
    "video/quicktime": "mov qt",
    "video/x-msvideo": "avi divx",
    "video/x-ms-wmv": "wmv asf",
    "video/mpeg": "mpg mpeg mpe m2v vob",
    "video/mp2t": "ts m2ts mts tp trp",
    "video/x-flv": "flv",
    "video/ogg": "ogv ogm",
    "video/3gpp": "3gp 3g2",
    "video/vnd.rn-realvideo": "rm rmvb",
    "video/x-ms-wtv": "wtv",
    "audio/x-matroska": "mka",
    "audio/mpeg": "mp3 mp2 mpa",
    "audio/mp4": "m4a m4b",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/ogg": "ogg oga opus",
    "audio/wav": "wav",
    "audio/aiff": "aif aiff",
    "audio/x-ms-wma": "wma",
    "audio/x-ape": "ape",
    "audio/x-wavpack": "wv",
    "audio/x-dsd": "dsf dff",
    "audio/ac3": "ac3",
    "audio/vnd.dts": "dts",
    "application/x-subrip": "srt",
    "text/vtt": "vtt",
    "text/x-ssa": "ass ssa",
    "text/plain; charset=utf-8": "rclonelink strm",
    "text/plain": "txt nfo sub smi sfv md5 log cue",
    "application/x-matroska-subtitles": "mks",
    "image/jpeg": "jpg jpeg",
    "image/png": "png",
    "image/gif": "gif",
    "image/webp": "webp",
    "application/x-iso9660-image": "iso img",
    "application/x-nzb": "nzb",
    "application/xml": "xml",
    "application/pdf": "pdf",
    "application/epub+zip": "epub",
    "application/zip": "zip cbz",
    "application/vnd.rar": "rar cbr",
    "application/x-7z-compressed": "7z",
}
_BY_EXTENSION = {
    extension: media_type
    for media_type, extensions in _TYPES.items()
    for extension in extensions.split()
}


def media_type(name: str) -> str:
    """Return the content type of a file called *name*."""
    return _BY_EXTENSION.get(name.rpartition(".")[2].lower(), DEFAULT)
