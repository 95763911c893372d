"""A clip to watch in the first five minutes: 24 s of a test picture that counts, with a tone.

Any player plays it: H.264 (main, yuv420p, 1280x720, a key frame every 2 s) and AAC in an MP4
whose index is in front. Made by FFmpeg out of nothing, so nobody's rights are in it:

    ffmpeg -f lavfi -i testsrc2=size=1280x720:rate=25:duration=24
           -f lavfi -i sine=frequency=330:beep_factor=4:sample_rate=48000:duration=24
           -c:v libx264 -profile:v main -pix_fmt yuv420p -preset slow -b:v 900k -maxrate 1200k
           -bufsize 2400k -g 50 -c:a aac -b:a 96k -ac 2 -movflags +faststart -map_metadata -1
           -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -threads 1 clip.mp4
"""

from __future__ import annotations

from importlib.resources import files

CLIP_NAME = "NZB.Gateway.Demo.2026.720p.mp4"
CLIP_SHA256 = "53f49a1eea050ae7290f2c7cc4f94fb3747c2d57e4b1d6501cf73a3ccf675c35"
CLIP_SECONDS = 24


def read_clip() -> bytes:
    """Return the clip; its SHA-256 is CLIP_SHA256."""
    return files("gateway.demo").joinpath("clip.mp4").read_bytes()
