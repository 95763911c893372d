"""A reply that names another article than the one that was asked for is not delivered."""

from __future__ import annotations

import socket

import pytest
import sabctools

from gateway.demo import make_post
from gateway.errors import ArticleDamaged
from gateway.nzb.extents import Part
from gateway.usenet.body import read_body

POST = make_post("film.mkv", bytes(range(256)) * 40, part_size=5_000)


def reply(named: str, carried: str) -> sabctools.NNTPResponse:
    """Return a reply to BODY that names one article and carries another one's bytes."""
    status = f"222 0 <{named}>\r\n".encode()
    wire = b"".join((status, *POST.articles[carried].body, b".\r\n"))
    decoder = sabctools.Decoder(2 * len(wire))
    here, there = socket.socketpair()
    with here, there:
        here.sendall(wire)
        decoder.process(there.recv_into(decoder))
    (response,) = decoder
    return response


def test_the_message_id_that_a_reply_names_is_the_one_that_was_asked_for() -> None:
    # Another post of the same sizes: nothing but its name betrays it.
    asked, other = POST.message_ids[:2]
    with pytest.raises(ArticleDamaged, match=f"it is article <{other}>, <{asked}> was asked for"):
        read_body(reply(other, asked), Part((asked,)), asked, "main")


@pytest.mark.parametrize("named", [POST.message_ids[0], ""])
def test_a_reply_that_names_it_or_none_is_taken(named: str) -> None:
    asked = POST.message_ids[0]
    body = read_body(reply(named, asked), Part((asked,)), asked, "main")
    assert body is not None
    assert (body.begin, body.end) == (0, 5_000)
