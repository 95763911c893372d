"""What all tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from gateway.app import Gateway
from gateway.cli import main
from gateway.settings import load

# A deadline would measure what else the machine is doing.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose system programs are not installed; with GATEWAY_REQUIRE_SYSTEM, fail it.

    A test names them in its marker: `@pytest.mark.system("rclone", "fusermount3")`; "7zz|7z" is
    a program that has either name.
    """
    for marker in item.iter_markers("system"):
        missing = [names for names in marker.args if not any(map(_find, names.split("|")))]
        if missing:
            reason = f"not installed: {', '.join(missing)}"
            if os.environ.get("GATEWAY_REQUIRE_SYSTEM"):
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)


def _find(name: str) -> str | None:
    # INN's programs live outside of PATH in Debian.
    places = [os.environ.get("PATH", os.defpath), "/usr/lib/news/bin", "/usr/sbin"]
    return shutil.which(name, path=os.pathsep.join(places))


@pytest.fixture
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own settings out, and their data folder; any port will do."""
    for name in os.environ:
        if name.upper().startswith("GATEWAY_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("GATEWAY_PORT", "0")


@pytest.fixture
def gateway(own_settings: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """A gateway without a provider, where the settings of the commands say."""
    with Gateway(load()) as running:
        monkeypatch.setenv("GATEWAY_PORT", str(running.server.port))
        yield running


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, list[str], list[str]]]:
    """Run a command; return its exit code and the lines of its output and of its complaints."""

    def command(*arguments: str) -> tuple[int, list[str], list[str]]:
        code = main(arguments)
        told = capsys.readouterr()
        return code, told.out.splitlines(), told.err.splitlines()

    return command
