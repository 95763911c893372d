"""A VOD service (Xtream) on this machine: for tests, benches and long runs.

`python -m gateway.demo.xtream` runs it as a process of its own (`spawn`).
"""

from gateway.demo.xtream.content import Content
from gateway.demo.xtream.faults import Rule, Trouble
from gateway.demo.xtream.panel import Episode, Movie, Series
from gateway.demo.xtream.process import XtreamProcess, spawn
from gateway.demo.xtream.server import XtreamServer
from gateway.demo.xtream.site import Account, Asked, Counts

__all__ = [
    "Account",
    "Asked",
    "Content",
    "Counts",
    "Episode",
    "Movie",
    "Rule",
    "Series",
    "Trouble",
    "XtreamProcess",
    "XtreamServer",
    "spawn",
]
