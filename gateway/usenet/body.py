"""What a provider's reply is worth: the decoded body, or the error that it stands for.

Nothing that arrives is trusted. Several providers are known to have served another post's article,
so the message-id, the posted file's size, the offsets, the decoded length and the CRC-32 are all
held against what is known (yEnc 1.3; an article without a CRC is accepted on size and offsets).
"""

from __future__ import annotations

import re
from typing import NamedTuple

import sabctools

from gateway.errors import (
    ArticleDamaged,
    LoginRefused,
    ProtocolError,
    ProviderBusy,
    ProviderError,
)
from gateway.nzb.extents import Part
from gateway.usenet.connection import setting
from gateway.usenet.replies import Meaning, meaning

_ECHOED = re.compile(r"<([^<>]+)>")


class Body(NamedTuple):
    """One decoded article. *data* is shared by all who asked for it: nobody may change it.

    It carries [begin, end) of a posted file of *size* bytes which the poster called *name*. *crc*
    is the data's CRC-32, None where the article states none.
    """

    data: bytearray
    begin: int
    end: int
    size: int
    name: str
    message_id: str
    provider: str
    crc: int | None = None


def read_body(
    response: sabctools.NNTPResponse, part: Part, message_id: str, provider: str
) -> Body | None:
    """Return what *response* (to BODY) carries, None if this provider lacks the article.

    Raises ArticleDamaged when it does not fit *part*, ProviderError when it is neither.
    """
    what = meaning(response.status_code)
    if what is Meaning.MISSING:
        return None
    if what is not Meaning.PRESENT:
        raise refusal(response, provider)
    echoed = _ECHOED.search(response.message or "")
    if echoed is not None and echoed[1] != message_id:
        raise _damaged(part, provider, f"it is article <{echoed[1]}>, <{message_id}> was asked for")
    if response.data is None:
        raise _damaged(part, provider, "it holds no yEnc data")
    if response.format is not sabctools.EncodingFormat.YENC:
        raise _damaged(part, provider, "it is uuencoded, not yEnc")
    if response.crc is None and response.crc_expected is not None:
        raise _damaged(part, provider, "its CRC-32 is wrong")
    body = Body(
        response.data,
        response.part_begin,
        response.part_begin + response.part_size,
        response.file_size,
        response.file_name or "",
        message_id,
        provider,
        response.crc,
    )
    check(body, part)
    return body


def check(body: Body, part: Part) -> None:
    """Raise ArticleDamaged when *body* contradicts itself or what *part* must carry."""
    length = len(body.data)
    if length != body.end - body.begin:
        stated = body.end - body.begin
        raise _damaged(part, body.provider, f"it states {stated} bytes and holds {length}")
    if not 0 <= body.begin < body.end <= body.size:
        fault = f"it states bytes {body.begin}-{body.end} of {body.size}"
        raise _damaged(part, body.provider, fault)
    if part.size is not None and body.size != part.size:
        fault = f"it belongs to a file of {body.size} bytes, not of {part.size}"
        raise _damaged(part, body.provider, fault)
    if part.begin is not None and (body.begin, body.end) != (part.begin, part.end):
        fault = f"it carries bytes {body.begin}-{body.end}, not {part.begin}-{part.end}"
        raise _damaged(part, body.provider, fault)


def refusal(response: sabctools.NNTPResponse, provider: str) -> ProviderError:
    """Return the error that a reply other than present or missing stands for."""
    code, message = response.status_code, (response.message or "")[:120]
    match meaning(code):
        case Meaning.LOGIN_WANTED:
            return LoginRefused(
                f"{provider} wants a login ({code}): set {setting(provider, 'USERNAME')} "
                f"and {setting(provider, 'PASSWORD')}"
            )
        case Meaning.LOGIN_REFUSED:
            return LoginRefused(
                f"{provider} refused the login ({code}): check {setting(provider, 'PASSWORD')}"
            )
        case Meaning.BUSY:
            return ProviderBusy(f"{provider} refuses for now: {message}")
        case _:
            return ProtocolError(f"{provider} answered {message!r}, which was not asked for")


def _damaged(part: Part, provider: str, fault: str) -> ArticleDamaged:
    return ArticleDamaged(f"segment {part.number} of {part.total} from {provider}: {fault}")
