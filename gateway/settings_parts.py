"""The parts that settings are made of: kinds of values, and entries that have a name.

Each kind says in words what is wrong with a value; what is secret is never shown.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import NoDecode

from gateway import units


def _no_control_characters(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds a control character: write it without line ends and tabs")
    return text


def _host(text: str) -> str:
    bare = text.removeprefix("[").removesuffix("]")
    if "/" in bare or "@" in bare or " " in bare or bare.count(":") == 1:
        raise ValueError("is not a host: write its name or address alone, as news.example.com")
    return bare


def _address(text: str) -> str:
    wrong = "is not an address: write it as http://vod.example.com:8080, without user and password"
    try:
        split = urlsplit(text)
        is_one = split.scheme in {"http", "https"} and bool(split.hostname) and split.port != 0
    except ValueError:
        is_one = False
    if not is_one or set("@?# \\") & set(text):
        raise ValueError(wrong)
    return text.rstrip("/")


def _network(text: str) -> str:
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            "names what is neither an address nor a network: write 192.168.1.7 or 10.0.0.0/8"
        ) from None
    return text


def _folder_name(text: str) -> str:
    if "/" in text or "\\" in text or text in {".", ".."}:
        raise ValueError("is not the name of one folder: write it without / and \\")
    return text


def _pattern(text: str) -> str:
    if "/" in text or "\\" in text:
        raise ValueError("looks for a folder: write patterns of file names alone, as *.nfo")
    return text


def _split(value: object) -> object:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def _path(text: object) -> object:
    try:
        return Path(text).expanduser().absolute() if isinstance(text, str | Path) else text
    except RuntimeError as exc:
        raise ValueError("begins with ~, and there is no home folder: write it in full") from exc


def _mounted(path: PurePosixPath) -> PurePosixPath:
    if not path.is_absolute():
        raise ValueError("is not an absolute path: write it from the root, as /mnt/nzb-gateway")
    return path


def _redis_url(value: SecretStr) -> SecretStr:
    wanted = (
        "write redis://:password@host:6379/0, rediss:// or unix:///path (in a password, %2F for "
        "/, %23 for #, %40 for @)"
    )
    try:
        url = urlsplit(value.get_secret_value())
        port = url.port
    except ValueError:  # whose words may show the password
        raise ValueError(f"has a host or a port that cannot be: {wanted}") from None
    if url.scheme not in {"redis", "rediss", "unix"}:
        raise ValueError(f"is no address of a Redis server: {wanted}")
    if url.scheme == "unix":
        if not url.path.strip("/"):
            raise ValueError(f"names no socket: {wanted}")
    elif not url.hostname or port == 0:
        raise ValueError(f"names no server: {wanted}")
    elif url.path.strip("/") and not url.path.strip("/").isdecimal():
        raise ValueError(f"ends in what is no number of a database: {wanted}")
    return value


def _secret(value: SecretStr) -> SecretStr:
    _no_control_characters(value.get_secret_value())
    return value


Text = Annotated[str, AfterValidator(_no_control_characters)]
Host = Annotated[str, AfterValidator(_no_control_characters), AfterValidator(_host)]
Network = Annotated[str, AfterValidator(_no_control_characters), AfterValidator(_network)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
RedisAddress = Annotated[Secret, AfterValidator(_redis_url)]
Size = Annotated[int, BeforeValidator(units.parse_size), units.Unit.SIZE]
Duration = Annotated[float, BeforeValidator(units.parse_duration), units.Unit.DURATION]
Folder = Annotated[Path, BeforeValidator(_path)]
Mounted = Annotated[PurePosixPath, AfterValidator(_mounted)]
Count = Annotated[int, Field(ge=1, le=10_000)]
Guarantee = Annotated[int, Field(ge=0, le=10_000)]
Address = Annotated[str, AfterValidator(_no_control_characters), AfterValidator(_address)]
Pattern = Annotated[str, AfterValidator(_no_control_characters), AfterValidator(_pattern)]
Slots = Annotated[int, Field(ge=0, le=10_000)]  # 0: as many as like


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProviderSettings(_Part):
    """GATEWAY_PROVIDERS__<name>__…: one account with a news provider."""

    host: Host
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    tls: bool = True
    tls_verify: bool = True
    username: Text | None = None
    password: Secret | None = None
    connections: Annotated[int, Field(ge=1, le=1000)] = 10
    priority: Annotated[int, Field(ge=0, le=1000)] = 0
    backup: bool = False
    pipeline: Annotated[int, Field(ge=1, le=2)] = 2

    @model_validator(mode="after")
    def _credentials_are_complete(self) -> ProviderSettings:
        if (self.username is None) != (self.password is None):
            lacks = "__PASSWORD" if self.password is None else "__USERNAME"
            raise ValueError(f"has a user name or a password alone: set its {lacks} too")
        return self

    @property
    def effective_port(self) -> int:
        """The port, or the usual one: 563 with TLS, 119 without."""
        return self.port or (563 if self.tls else 119)


class CategorySettings(_Part):
    """GATEWAY_CATEGORIES__<name>__…: one category, and what it asks of its releases.

    *dir* is filled in where the name is known; *blocklist* ("none",) is an empty one.
    """

    dir: Annotated[Text, AfterValidator(_folder_name)]
    storage: Literal["stream", "download"] = "stream"
    verify: Literal["sample", "all", "deep"] = "sample"
    links: Literal["symlink", "strm", "none"] = "symlink"
    duplicates: Literal["increment", "fail"] = "increment"
    blocklist: Annotated[tuple[Pattern, ...], NoDecode, BeforeValidator(_split)] = (
        "*.nfo",
        "*.par2",
        "*.sfv",
        "samples",
    )
    media_required: bool = True
    on_missing: Literal["fail", "pad"] = "fail"


class VodProfileSettings(_Part):
    """GATEWAY_VOD__PROFILES__<name>__…: one account with an Xtream provider."""

    url: Address
    username: Text
    password: Secret
    max_streams: Slots = 1
    search: Secret | None = None  # the address that these look at holds user name and password
    replace: Secret | None = None

    @field_validator("search")
    @classmethod
    def _is_an_expression(cls, value: SecretStr | None) -> SecretStr | None:
        try:
            re.compile(value.get_secret_value() if value else "")
        except re.error as exc:
            raise ValueError(
                f"is not a regular expression ({exc.msg}): write a backslash before a character "
                "that is meant as it stands"
            ) from None
        return value

    @model_validator(mode="after")
    def _search_and_replace_fit(self) -> VodProfileSettings:
        if self.search is None and self.replace is not None:
            raise ValueError("has a replacement for nothing: set its __SEARCH too")
        if self.search is not None and self.replace is not None:
            try:
                re.sub(self.search.get_secret_value(), self.replace.get_secret_value(), "")
            except (re.error, IndexError):
                raise ValueError(
                    "has a replacement that its __SEARCH cannot fill: write \\1 for its first group"
                ) from None
        return self


class VodUserSettings(_Part):
    """GATEWAY_VOD__USERS__<name>__…: somebody who watches through /movie and /series."""

    password: Secret
    max_streams: Slots = 0


class VodSettings(_Part):
    """GATEWAY_VOD__…: accounts, those who use them, and what they share."""

    profiles: dict[str, VodProfileSettings] = {}
    users: dict[str, VodUserSettings] = {}
    max_streams: Slots = 0
    probe_slots: Slots = 0


class ArrSettings(_Part):
    """GATEWAY_ARR__<name>__…: a Sonarr or the like that is told when something has ended.

    *replace*: it is told too what has failed for certain, unless it is a Lidarr.
    """

    kind: Literal["sonarr", "radarr", "lidarr"]
    url: Address
    api_key: Secret
    replace: bool = True


class RcloneSettings(_Part):
    """GATEWAY_RCLONE__…: the remote control of the rclone that mounts the gateway."""

    url: Address | None = None
    username: Text | None = None
    password: Secret | None = None

    @model_validator(mode="after")
    def _login_is_complete(self) -> RcloneSettings:
        if (self.username is None) != (self.password is None):
            lacks = "__PASSWORD" if self.password is None else "__USERNAME"
            raise ValueError(f"has a user name or a password alone: set its {lacks} too")
        if self.url is None and self.username is not None:
            raise ValueError("has a login for nowhere: set its __URL too")
        return self
