"""litmus, the WebDAV server test suite, against our HTTP layer and our GET, HEAD and PROPFIND."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from wsgidav.fs_dav_provider import FilesystemProvider

from gateway.http.auth import BasicAuth
from gateway.http.guard import HostGuard, PathGuard
from gateway.http.router import Router
from gateway.http.scope import RequestScope
from gateway.http.server import Server
from gateway.http.streaming import StreamingBodies
from gateway_webdav.face import Face

SUITES = {"basic": 16, "copymove": 13, "props": 30, "locks": 41, "http": 4}


@pytest.mark.system("litmus")
def test_litmus_passes_104_of_104(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    face = Face(FilesystemProvider(str(root), fs_opts={}), mount_path="/dav", dead_properties=True)
    doors = Router({"/dav": BasicAuth(face, "gateway", "secret")})
    guarded = HostGuard(PathGuard(doors), "127.0.0.1")
    app = RequestScope(guarded, StreamingBodies(20))
    with Server(app, "127.0.0.1", 0) as server:
        run = subprocess.run(
            ["litmus", "-k", f"{server.url}/dav/", "gateway", "secret"],
            cwd=tmp_path,  # it writes its logs there
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    summary = re.findall(r"`(\w+)': of (\d+) tests run: (\d+) passed, (\d+) failed", run.stdout)
    assert {name: (int(total), int(passed)) for name, total, passed, _ in summary} == {
        name: (number, number) for name, number in SUITES.items()
    }, run.stdout
    assert sum(SUITES.values()) == 104
    assert "WARNING" not in run.stdout
