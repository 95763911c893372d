"""What a reply code means for the article, the connection and the provider (RFC 3977, RFC 4643).

Codes are read by meaning, not by command: servers differ in which of two neighbouring codes they
send (a BODY answered with 220, a missing article with 423), and a gateway must not.
"""

from __future__ import annotations

import enum


class Meaning(enum.StrEnum):
    """What follows from a reply."""

    PRESENT = "the article is here"
    MISSING = "this provider does not have the article"
    BUSY = "the provider refuses for now: too many connections, or maintenance"
    LOGIN_WANTED = "the provider wants a login before it answers"
    LOGIN_REFUSED = "the provider refused user name or password"
    UNSUPPORTED = "the provider does not know this command"
    UNEXPECTED = "NNTP does not allow this reply here"


MEANINGS: dict[int, Meaning] = {
    220: Meaning.PRESENT,  # ARTICLE; some servers answer BODY with it
    221: Meaning.PRESENT,  # HEAD, which stands in for STAT where that is unknown
    222: Meaning.PRESENT,  # BODY
    223: Meaning.PRESENT,  # STAT
    400: Meaning.BUSY,
    411: Meaning.MISSING,
    423: Meaning.MISSING,
    430: Meaning.MISSING,
    451: Meaning.MISSING,  # taken down, as some providers say
    480: Meaning.LOGIN_WANTED,
    481: Meaning.LOGIN_REFUSED,
    482: Meaning.LOGIN_REFUSED,
    500: Meaning.UNSUPPORTED,
    502: Meaning.BUSY,
    503: Meaning.UNSUPPORTED,
}


def meaning(code: int) -> Meaning:
    """Return what reply *code* means to an article command (STAT, HEAD, BODY, ARTICLE)."""
    return MEANINGS.get(code, Meaning.UNEXPECTED)
