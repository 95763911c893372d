"""What one client is told: the reader's part of NNTP (RFC 3977), with AUTHINFO (RFC 4643).

Without I/O: lines in, replies out. NEWNEWS, OVER, LIST and posting are not spoken; what is
unknown gets 500.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum

from gateway.demo.article import Article
from gateway.demo.faults import Fault, Rule, damage
from gateway.demo.site import Asked, LimitAt, Site

_MAX_LINE = 512  # RFC 3977, 3.1
_CODES = {"STAT": 223, "HEAD": 221, "BODY": 222, "ARTICLE": 220}
_END = b".\r\n"


class Stop(Enum):
    """How a reply ends that does not come to its end."""

    HOLD = "waits for a time or for a release, then goes on"
    CUT = "the connection is closed"


@dataclass(frozen=True, slots=True)
class Reply:
    """Pieces of wire bytes; then, perhaps, the connection is closed.

    *stop_after*: how many bytes are sent before *stop* happens. *seconds* is how long a HOLD
    lasts; None: until the next release.
    """

    pieces: tuple[bytes, ...]
    close: bool = False
    stop: Stop | None = None
    stop_after: int = 0
    seconds: float | None = None

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))


def _line(code: int, text: str, *, close: bool = False) -> Reply:
    return Reply((f"{code} {text}\r\n".encode("utf-8", "surrogateescape"),), close)


class Session:
    """One client's state: who it is, which group it reads, which article is the current one."""

    def __init__(self, site: Site, number: int) -> None:
        """*number* counts the connections of the server from 1."""
        self._site = site
        self._number = number
        self._user: str | None = None
        self._group: str | None = None
        self._current = 0
        self.logged_in = False
        self.counted = False
        self._commands: dict[str, Callable[[str], Reply]] = {
            "CAPABILITIES": self._capabilities,
            "MODE": self._mode,
            "AUTHINFO": self._authinfo,
            "GROUP": self._select_group,
            "STAT": lambda argument: self._article("STAT", argument),
            "HEAD": lambda argument: self._article("HEAD", argument),
            "BODY": lambda argument: self._article("BODY", argument),
            "ARTICLE": lambda argument: self._article("ARTICLE", argument),
            "DATE": self._date,
            "QUIT": lambda _: _line(205, "bye", close=True),
        }

    def greeting(self) -> Reply:
        """Return what a new client is told, and count it; 502 if there is no room for it."""
        full = self._site.is_full(LimitAt.GREETING)
        self._site.arrived(refused=full)
        self.counted = not full
        if full:
            return _line(502, "too many connections", close=True)
        rule = self._site.strike("CONNECT")
        if rule is not None:
            return _line(rule.code or 502, "service not available", close=True)
        return _line(200, "demo news server ready, posting prohibited")

    def answer(self, line: bytes) -> Reply:
        """Return the reply to one command line, given without its line end."""
        if len(line) + 2 > _MAX_LINE:
            return _line(501, f"a command line has at most {_MAX_LINE} octets")
        text = line.decode("utf-8", "surrogateescape").strip()
        verb, _, argument = text.partition(" ")
        verb, argument = verb.upper(), argument.strip()
        self._record(verb, argument)
        command = self._commands.get(verb)
        return _line(500, "unknown command") if command is None else command(argument)

    def leave(self) -> None:
        """Count that the client has gone. May be called again."""
        if self.counted:
            self.counted = False
            self._site.left(logged_in=self.logged_in)

    def _record(self, verb: str, argument: str) -> None:
        if verb == "AUTHINFO":
            kind, _, argument = argument.partition(" ")
            verb = f"{verb} {kind.upper()}"
            if verb == "AUTHINFO PASS":
                argument = "***"
        elif verb in _CODES:
            argument = argument.strip("<>")
        self._site.record(Asked(self._number, verb, argument))

    def _capabilities(self, _: str) -> Reply:
        lines = ["VERSION 2", "READER", "IMPLEMENTATION nzb-gateway demo"]
        if self._site.users is not None and not self.logged_in:
            lines.append("AUTHINFO USER")
        text = "".join(f"{line}\r\n" for line in lines)
        return Reply((b"101 capabilities follow\r\n", text.encode(), _END))

    def _mode(self, argument: str) -> Reply:
        if argument.upper() != "READER":
            return _line(501, "only MODE READER is known")
        return _line(201, "posting prohibited")

    def _date(self, _: str) -> Reply:
        return _line(111, f"{datetime.now(UTC):%Y%m%d%H%M%S}")

    def _authinfo(self, argument: str) -> Reply:
        kind, _, value = argument.partition(" ")
        if kind.upper() not in ("USER", "PASS") or not value:
            return _line(501, "AUTHINFO USER or AUTHINFO PASS, with a value")
        if self.logged_in:
            return _line(502, "already logged in")
        if kind.upper() == "USER":
            self._user = value
            return _line(381, "password, please")
        if self._user is None:
            return _line(482, "AUTHINFO USER comes first")
        return self._login(self._user, value)

    def _login(self, user: str, password: str) -> Reply:
        site = self._site
        rule = site.strike("AUTHINFO")
        if rule is not None:
            self._user = None
            return _line(rule.code or 481, "login refused", close=(rule.code == 502))
        if site.users is not None and site.users.get(user) != password:
            self._user = None
            return _line(481, "wrong user name or password")
        if site.is_full(LimitAt.LOGIN):
            return _line(502, f"too many connections for {user}", close=True)
        self.logged_in = True
        site.logged_in()
        return _line(281, "welcome")

    def _select_group(self, name: str) -> Reply:
        if not name or " " in name:
            return _line(501, "GROUP takes one name")
        if self._must_log_in():
            return _line(480, "log in first")
        with self._site.changed:
            ids = self._site.groups.get(name)
            if ids is None:
                return _line(411, "no such group")
            numbers = [at for at, each in enumerate(ids, 1) if each in self._site.articles]
        self._group = name
        self._current = numbers[0] if numbers else 0
        first, last = (numbers[0], numbers[-1]) if numbers else (1, 0)
        return _line(211, f"{len(numbers)} {first} {last} {name}")

    def _must_log_in(self) -> bool:
        return self._site.users is not None and not self.logged_in

    def _article(self, command: str, argument: str) -> Reply:
        if self._must_log_in():
            return _line(480, "log in first")
        number = 0
        if argument.startswith("<"):
            if not argument.endswith(">") or " " in argument or len(argument) < 3:
                return _line(501, "a message-id is <like@this>")
            message_id = argument[1:-1]
        elif argument and not argument.isdigit():
            return _line(501, f"{command} takes a message-id in brackets, a number or nothing")
        elif self._group is None:
            return _line(412, "no group selected")
        else:
            number = int(argument) if argument else self._current
            if not number:
                return _line(420, "no current article")
            with self._site.changed:
                ids = self._site.groups[self._group]
                if not 1 <= number <= len(ids) or ids[number - 1] not in self._site.articles:
                    return _line(423, "no article with that number")
                message_id = ids[number - 1]
            self._current = number
        rule = self._site.strike(command, message_id)
        with self._site.changed:
            found = self._site.articles.get(message_id)
        if rule is not None:
            return self._faulty(rule, command, number, message_id, found)
        return _serve(command, number, message_id, found)

    def _faulty(
        self, rule: Rule, command: str, number: int, message_id: str, found: Article | None
    ) -> Reply:
        match rule.fault:
            case Fault.MISSING | Fault.STAT_LIES:
                return _line(rule.code or 430, "no such article")
            case Fault.BUSY:
                return _line(rule.code or 502, "not now", close=True)
            case Fault.WRONG_ARTICLE:
                found = self._another(rule, message_id)
            case Fault.DAMAGED if found is not None:
                found = replace(found, body=damage(found.body))
            case _:
                pass
        reply = _serve(command, number, message_id, found)
        if rule.fault in (Fault.STALL, Fault.CUT, Fault.SILENCE):
            after = reply.size // 2 if rule.after is None else rule.after
            stop = Stop.CUT if rule.fault is Fault.CUT else Stop.HOLD
            if rule.fault is Fault.SILENCE:
                after = 0
            return replace(reply, stop=stop, stop_after=after, seconds=rule.seconds)
        return reply

    def _another(self, rule: Rule, message_id: str) -> Article | None:
        with self._site.changed:
            articles = self._site.articles
            if rule.instead is not None:
                return articles.get(rule.instead)
            return next((each for key, each in articles.items() if key != message_id), None)


def _serve(command: str, number: int, message_id: str, found: Article | None) -> Reply:
    if found is None:
        return _line(430, "no such article")
    status = f"{_CODES[command]} {number} <{message_id}>\r\n".encode("utf-8", "surrogateescape")
    match command:
        case "STAT":
            return Reply((status,))
        case "HEAD":
            return Reply((status, found.head, _END))
        case "BODY":
            return Reply((status, *found.body, _END))
        case _:
            return Reply((status, found.head, b"\r\n", *found.body, _END))
