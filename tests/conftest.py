"""What all tests share."""

from __future__ import annotations

import os
import shutil

import pytest
from hypothesis import settings

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
