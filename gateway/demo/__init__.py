"""A small news server with sample posts, for the first five minutes, for tests and benches."""

from gateway.demo.article import Article, Checksum
from gateway.demo.client import PlainClient
from gateway.demo.clip import CLIP_NAME, CLIP_SECONDS, CLIP_SHA256, read_clip
from gateway.demo.faults import Fault
from gateway.demo.post import (
    PART_SIZE,
    Options,
    Post,
    PostedFile,
    make_bulk_post,
    make_post,
    make_posts,
)
from gateway.demo.server import NewsServer
from gateway.demo.shape import Shape
from gateway.demo.site import Asked, Counts, LimitAt

__all__ = [
    "CLIP_NAME",
    "CLIP_SECONDS",
    "CLIP_SHA256",
    "PART_SIZE",
    "Article",
    "Asked",
    "Checksum",
    "Counts",
    "Fault",
    "LimitAt",
    "NewsServer",
    "Options",
    "PlainClient",
    "Post",
    "PostedFile",
    "Shape",
    "make_bulk_post",
    "make_post",
    "make_posts",
    "read_clip",
]
