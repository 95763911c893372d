"""`wsgi.input`: a request's body, framed by its length or in chunks (RFC 9112, 6.3 and 7.1).

It ends where its framing says, or it is an error. cheroot's own ends early without a word when
the client goes away, reads past the end when asked for -1, and takes a chunk of any size at once.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from gateway.http.wire import ClientGone, Reader

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_LINE = 4096
_TRAILERS = 64


class Framing(io.RawIOBase):
    """The bytes of one request's body, taken from *source* as they come.

    *length* is what Content-Length says; None: the body comes in chunks.
    """

    def __init__(self, source: Reader, length: int | None) -> None:
        super().__init__()
        self._source = source
        self._left = length or 0  # of the body, or of the chunk
        self._chunked = length is None
        self.at_end = length == 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        try:
            if not self._left and not self.at_end:
                self._next_chunk()
            if self.at_end:
                return 0
            count = self._source.readinto1(memoryview(buffer)[: self._left])
        except OSError as exc:
            raise ClientGone(f"receiving the request's body ended: {exc}") from exc
        if not count:
            raise ClientGone("the client left before its request's body was whole")
        self._left -= count
        if not self._left:
            self._end_of_stretch()
        return count

    def discard(self, limit: int) -> bool:
        """Read up to *limit* bytes and throw them away; answer whether the body is at its end."""
        if self._left > limit:
            return False
        scratch = bytearray(min(limit, 1 << 16))
        while limit > 0 and (count := self.readinto(scratch)):
            limit -= count
        return self.at_end

    def _end_of_stretch(self) -> None:
        if not self._chunked:
            self.at_end = True
        elif self._source.readline(3) != b"\r\n":
            raise ClientGone("a chunk of the request's body does not end where it says")

    def _next_chunk(self) -> None:
        match = _CHUNK_SIZE.fullmatch(self._source.readline(_LINE))
        if match is None:
            raise ClientGone("a chunk of the request's body has no size")
        self._left = int(match[1], 16)
        if self._left:
            return
        for _ in range(_TRAILERS):
            if self._source.readline(_LINE) in {b"\r\n", b""}:
                self.at_end = True
                return
        raise ClientGone(f"more than {_TRAILERS} lines follow the request's body")
