"""The clip of the demo is there, is what it was, and plays."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from gateway.demo import CLIP_NAME, CLIP_SECONDS, CLIP_SHA256, make_post, read_clip

MIB = 1024 * 1024


def test_the_clip_is_shipped_unchanged() -> None:
    assert hashlib.sha256(read_clip()).hexdigest() == CLIP_SHA256
    assert 2 * MIB < len(read_clip()) < 4 * MIB


def test_its_index_is_in_front_so_that_it_plays_while_it_loads() -> None:
    assert read_clip()[4:8] == b"ftyp"
    assert read_clip().index(b"moov") < read_clip().index(b"mdat")


def test_it_is_posted_in_several_articles() -> None:
    assert len(make_post(CLIP_NAME, read_clip()).articles) == 5


@pytest.mark.system("ffmpeg", "ffprobe")
def test_a_player_can_play_it(tmp_path: Path) -> None:
    path = tmp_path / CLIP_NAME
    path.write_bytes(read_clip())
    shown = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", str(path)],
        check=True,
        capture_output=True,
    )
    probed = json.loads(shown.stdout)
    assert [(each["codec_name"], each["profile"]) for each in probed["streams"]] == [
        ("h264", "Main"),
        ("aac", "LC"),
    ]
    assert probed["streams"][0]["pix_fmt"] == "yuv420p"
    assert float(probed["format"]["duration"]) == pytest.approx(CLIP_SECONDS, abs=0.1)
    played = subprocess.run(
        ["ffmpeg", "-v", "error", "-xerror", "-i", str(path), "-f", "null", "-"],
        check=True,
        capture_output=True,
    )
    assert played.stderr == b""
