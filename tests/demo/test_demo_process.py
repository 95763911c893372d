"""The news server runs as a process of its own, and its parent knows what it serves."""

from __future__ import annotations

import ssl
from pathlib import Path

import psutil
import pytest
import trustme

from gateway.demo import Fault, LimitAt, PlainClient, Shape
from gateway.demo.process import PostSpec, spawn

SPEC = PostSpec("bulk:1.bin", 200_000, 60_000, 9)


def test_parent_and_child_make_the_same_post() -> None:
    post = SPEC.make()
    with spawn(SPEC, PostSpec("b", 10)) as server, PlainClient(server.host, server.port) as client:
        parts = [client.body(each) for each in post.message_ids]
        assert b"".join(parts) == post.files[0].data
        report = server.report()
    assert report.bodies == len(post.message_ids)
    assert report.cpu_s > 0
    assert report.bytes_sent > 200_000
    assert not psutil.pid_exists(server.pid)


def test_a_spec_survives_the_command_line() -> None:
    assert PostSpec.parse(SPEC.format()) == SPEC


def test_the_child_fails_as_it_is_told() -> None:
    first, second, third, *_ = SPEC.make().message_ids
    with spawn(SPEC) as server, PlainClient(server.host, server.port) as client:
        server.fail(Fault.MISSING, first, times=1)
        assert [client.code(f"STAT <{first}>") for _ in range(2)] == [430, 223]
        server.fail(Fault.MISSING, second)
        server.heal()
        assert client.code(f"STAT <{second}>") == 223
        server.remove([third])
        assert client.code(f"STAT <{third}>") == 430
        server.fail(Fault.SILENCE, first)
        client.send(f"STAT <{first}>")
        client.sock.settimeout(20)
        while server.report().commands["STAT"] < 5:
            pass
        server.release()
        assert client.receive().status_code == 223


def test_the_child_takes_shape_user_limit_and_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    pem = tmp_path / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(pem)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with (
        spawn(
            SPEC,
            shape=Shape(0.001),
            user=("bob", "sec:ret"),
            max_connections=1,
            limit_at=LimitAt.LOGIN,
            certificate=pem,
        ) as server,
        PlainClient(server.host, server.port, tls=context) as client,
        PlainClient(server.host, server.port, tls=context) as late,
    ):
        client.log_in("bob", "sec:ret")
        assert client.body(SPEC.make().message_ids[0])
        with pytest.raises(PermissionError, match="502"):
            late.log_in("bob", "sec:ret")


def test_a_child_that_cannot_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ended with"):
        spawn(SPEC, certificate=tmp_path / "missing.pem")
