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

    A test names them in its marker: `@pytest.mark.system("rclone", "fusermount3")`.
    """
    for marker in item.iter_markers("system"):
        missing = [name for name in marker.args if shutil.which(name, path=_search_path()) is None]
        if missing:
            reason = f"not installed: {', '.join(missing)}"
            if os.environ.get("GATEWAY_REQUIRE_SYSTEM"):
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)


def _search_path() -> str:
    # INN's programs live outside of PATH in Debian.
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/lib/news/bin", "/usr/sbin"])
