"""INN2, a news server that nobody here wrote, in a private tree of its own.

innd takes the posts by IHAVE (RFC 3977 6.3.2) on one port, nnrpd serves them to readers on
another. innd refuses to run as root, so under root both run as Debian's user `news`.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bench.ports import free_port
from gateway.demo import Article, Post

LIB = Path("/usr/lib/news/bin")

_INN_CONF = """\
domain: example.com
fromhost: news.example.com
pathhost: news.example.com
mta: "/bin/true %s"
ovmethod: tradindexed
hismethod: hisv6
pathnews: /usr/lib/news
pathetc: {root}/etc
pathdb: {root}/db
pathrun: {root}/run
pathlog: {root}/log
pathhttp: {root}/log
pathspool: {root}/spool
patharticles: {root}/spool/articles
pathoverview: {root}/spool/overview
pathincoming: {root}/spool/incoming
pathoutgoing: {root}/spool/outgoing
patharchive: {root}/spool/archive
pathtmp: {root}/tmp
bindaddress: 127.0.0.1
sourceaddress: 127.0.0.1
port: {port}
maxartsize: 0
artcutoff: 0
maxconnections: 200
enableoverview: true
doinnwatch: false
status: 0
timer: 0
runasuser: {user}
runasgroup: {group}
"""

_FILES = {
    "storage.conf": "method tradspool {\n    newsgroups: *\n    class: 0\n}\n",
    "incoming.conf": 'max-connections: 50\npeer ME {\n    hostname: "127.0.0.1"\n}\n',
    "newsfeeds": "ME:*::\n",
    "expire.ctl": "/remember/:10\n*:A:1:10:never\n",
    "control.ctl": "all:*:*:drop\n",
    "readers.conf": (
        'auth "all" {\n    hosts: "127.0.0.1"\n    default: "reader"\n}\n'
        'access "all" {\n    users: "reader"\n    newsgroups: "*"\n    access: RP\n}\n'
    ),
    "passwd.nntp": "",
    "moderators": "",
    "subscriptions": "",
    "inn-secrets.conf": "",
    "distrib.pats": "",
    "localgroups": "",
    "buffindexed.conf": "",
    "cycbuff.conf": "",
    "nnrpd.track": "",
}


@dataclass(frozen=True)
class Inn:
    """A running news server: readers connect to *host*:*port*."""

    host: str
    port: int
    feed_port: int

    def feed(self, posts: Iterable[Post]) -> None:
        """Have it take every article of *posts*."""
        with socket.create_connection((self.host, self.feed_port), 30) as link:
            replies = link.makefile("rb")
            _expect(replies.readline(), 200, 201)
            for post in posts:
                for article in post.articles.values():
                    _offer(link, replies, article)
            link.sendall(b"QUIT\r\n")
            replies.close()


@contextlib.contextmanager
def running_inn(root: Path, groups: Iterable[str] = ("alt.binaries.test",)) -> Iterator[Inn]:
    """Run INN2 below the new folder *root*, which its user must be able to reach."""
    user = "news" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    entry = pwd.getpwnam(user)
    feed_port, port = free_port(), free_port()
    _lay_out(root, user, feed_port, groups)
    if os.geteuid() == 0:
        for path in (root, *root.rglob("*")):
            os.chown(path, entry.pw_uid, entry.pw_gid)
    environment = {"PATH": f"{LIB}:/usr/bin:/bin", "INNCONF": str(root / "etc/inn.conf")}
    log = (root / "output").open("wb")

    def start(*command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            env=environment,
            cwd=root,
            user=user if os.geteuid() == 0 else None,
            group=entry.pw_gid if os.geteuid() == 0 else None,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )

    started: list[subprocess.Popen[bytes]] = []
    try:
        made = start(f"{LIB}/makedbz", "-i", "-o", "-s", "50000").wait(30)
        assert made == 0, (root / "output").read_text()
        innd = start(f"{LIB}/innd", "-f", "-P", str(feed_port))
        started.append(innd)
        nnrpd = start(f"{LIB}/nnrpd", "-D", "-f", "-b", "127.0.0.1", "-p", str(port))
        started.append(nnrpd)
        for process, one in ((innd, feed_port), (nnrpd, port)):
            _wait_for_port(one, process, root)
        yield Inn("127.0.0.1", port, feed_port)
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in started:
            try:
                # innd that has been fed does not end by itself, and nothing of it is kept.
                process.wait(1)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        log.close()


def _lay_out(root: Path, user: str, port: int, groups: Iterable[str]) -> None:
    for folder in ("etc", "db", "run", "log", "tmp", "spool"):
        (root / folder).mkdir(parents=True)
    for folder in ("articles", "overview", "incoming", "incoming/bad", "outgoing", "archive"):
        (root / "spool" / folder).mkdir()
    for path in (root, *root.rglob("*")):
        path.chmod(0o755)
    group = pwd.getpwnam(user).pw_gid
    conf = _INN_CONF.format(root=root, port=port, user=user, group=grp.getgrgid(group).gr_name)
    (root / "etc/inn.conf").write_text(conf)
    for name, text in _FILES.items():
        (root / "etc" / name).write_text(text)
        (root / "etc" / name).chmod(0o640)
    active = ["control 0000000000 0000000001 n", "control.cancel 0000000000 0000000001 n"]
    active += ["junk 0000000000 0000000001 n"]
    active += [f"{group_name} 0000000000 0000000001 y" for group_name in groups]
    (root / "db/active").write_text("\n".join(active) + "\n")
    for name in ("active.times", "newsgroups", "history"):
        (root / "db" / name).write_text("")


def _offer(link: socket.socket, replies: BinaryIO, article: Article) -> None:
    link.sendall(b"IHAVE <%s>\r\n" % article.message_id.encode())
    _expect(replies.readline(), 335)
    link.sendall(article.head + b"\r\n" + b"".join(article.body) + b".\r\n")
    _expect(replies.readline(), 235)


def _expect(line: bytes, *codes: int) -> None:
    if not line[:3].isdigit() or int(line[:3]) not in codes:
        raise AssertionError(f"INN said {line!r}, not one of {codes}")


def _wait_for_port(port: int, process: subprocess.Popen[bytes], root: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
            if process.returncode is not None or time.monotonic() > deadline:
                said = (root / "output").read_text(errors="replace")
                raise AssertionError(f"INN did not come up: {said}") from None
