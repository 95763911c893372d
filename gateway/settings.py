"""Every setting of the program: its name, its default, and what may stand there.

From the environment and `settings.env`, prefix `GATEWAY_`, `__` for nesting, case ignored; the
environment wins; what is empty counts as not given. Sizes are `256MiB`, times `20s`. Only the
program's entrance reads this; its parts take plain arguments.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from gateway import units
from gateway.errors import ConfigurationError
from gateway.settings_errors import explain
from gateway.settings_file import (
    PREFIX,
    Names,
    find,
    read_environment,
    read_file,
    refuse_unknown,
)

CATEGORIES = ("movies", "tv", "audio", "software", "uncategorized")


def _no_control_characters(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds a control character: write it without line ends and tabs")
    return text


def _host(text: str) -> str:
    bare = text.removeprefix("[").removesuffix("]")
    if "/" in bare or "@" in bare or " " in bare or bare.count(":") == 1:
        raise ValueError("is not a host: write its name or address alone, as news.example.com")
    return bare


def _folder_name(text: str) -> str:
    if "/" in text or "\\" in text or text in {".", ".."}:
        raise ValueError("is not the name of one folder: write it without / and \\")
    return text


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
Secret = Annotated[SecretStr, AfterValidator(_secret)]
Size = Annotated[int, BeforeValidator(units.parse_size), units.Unit.SIZE]
Duration = Annotated[float, BeforeValidator(units.parse_duration), units.Unit.DURATION]
Folder = Annotated[Path, BeforeValidator(_path)]
Mounted = Annotated[PurePosixPath, AfterValidator(_mounted)]
Count = Annotated[int, Field(ge=1, le=10_000)]
Guarantee = Annotated[int, Field(ge=0, le=10_000)]


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
    """GATEWAY_CATEGORIES__<name>__…: one category and the name of its folder."""

    dir: Annotated[Text, AfterValidator(_folder_name)]


class Settings(BaseSettings):
    """All settings, checked one by one; made by `load`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True,
        validate_default=True,
    )  # fmt: skip

    host: Host = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    allowed_hosts: Annotated[tuple[Text, ...], NoDecode] = ()
    responses: Count = 200
    drain: Annotated[Duration, Field(ge=0)] = 10.0
    data_dir: Folder = Path("~/.local/share/nzb-gateway")
    database_url: Secret | None = None  # an address may hold a password
    webdav_user: Text = "gateway"
    webdav_password: Secret | None = None
    api_key: Secret | None = None
    nzb_key: Secret | None = None
    providers: dict[str, ProviderSettings] = {}
    reservation_policy: Literal["shares", "fixed"] = "shares"
    max_queue_connections: Count | None = None
    stream_guarantee: Guarantee | None = None
    queue_guarantee: Guarantee | None = None
    health_guarantee: Guarantee | None = None
    health_cap: Count | None = None
    max_connections_per_stream: Count | None = None
    permit_aging: Annotated[Duration, Field(ge=0)] = 2.0
    read_timeout: Annotated[Duration, Field(gt=0)] = 30.0
    readahead_budget: Annotated[Size, Field(ge=1 << 20)] = 256 << 20
    article_cache: Annotated[Size, Field(ge=0)] = 256 << 20
    categories: dict[str, CategorySettings] = {}
    max_concurrent_items: Annotated[int, Field(ge=1, le=100)] = 2
    health_round: Annotated[Duration, Field(ge=0)] = 7 * 86_400.0
    mount_dir: Mounted = PurePosixPath("/mnt/nzb-gateway")
    redis_url: Annotated[Secret, AfterValidator(_redis_url)] | None = None
    lease_ttl: Annotated[Duration, Field(ge=1, le=3600)] = 20.0
    grace: Annotated[Duration, Field(ge=0, le=600)] = 2.0
    on_store_error: Literal["refuse", "local"] = "refuse"

    SECTIONS: ClassVar[Mapping[str, type[BaseModel]]] = {
        "providers": ProviderSettings,
        "categories": CategorySettings,
    }

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's names
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from `load` alone: Settings() are the defaults, whatever the environment."""
        return (init_settings,)

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("webdav_user")
    @classmethod
    def _no_colon(cls, value: str) -> str:
        if ":" in value:
            raise ValueError("holds a colon, which ends a user name in HTTP: write it without")
        return value

    @field_validator("categories", mode="before")
    @classmethod
    def _always_exist(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        given = {name: fields for name, fields in value.items() if name not in CATEGORIES}
        first = {name: value.get(name, {"dir": name}) for name in CATEGORIES}
        return {**first, **given}

    @property
    def database(self) -> str:
        """The address of the database: the one given, or SQLite in the data folder."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir / 'library.sqlite'}"


class _Values(EnvSettingsSource):
    """pydantic's reading of names and nesting, over values that were read already."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return dict(self._values)


def names() -> Names:
    """Return the name of every setting."""
    return Names(
        frozenset(n.upper() for n in Settings.model_fields if n not in Settings.SECTIONS),
        {
            section.upper(): frozenset(field.upper() for field in model.model_fields)
            for section, model in Settings.SECTIONS.items()
        },
    )


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings in force.

    *path*: the settings file; None: what GATEWAY_SETTINGS_FILE names, or ./settings.env if there
    is one. *environ* None: that of the process. Raises ConfigurationError, one line for each
    setting that is wrong; no line holds a secret.
    """
    environ = os.environ if environ is None else environ
    file = find(path, environ)
    given = [*(read_file(file) if file else ()), *read_environment(environ)]
    refuse_unknown(given, names())
    last = {one.name.lower(): one for one in given}
    values = _Values({name: one.value for name, one in last.items()})()
    try:
        return Settings(**values)
    except ValidationError as exc:
        words = [explain(error, last, _is_secret) for error in exc.errors(include_url=False)]
        # Without its cause: pydantic's text shows the input, which may be a secret.
        raise ConfigurationError("\n".join(words)) from None


def lines(settings: Settings) -> list[tuple[str, str | None]]:
    """Return every setting in force as (name, value as it would be written).

    Secrets are stars; what is not given is None.
    """
    listed: list[tuple[str, str | None]] = []
    for field in Settings.model_fields:
        value = getattr(settings, field)
        if field in Settings.SECTIONS:
            for entry, part in value.items():
                listed += [
                    (f"{PREFIX}{field}__{entry}__{name}".upper(), _written(part, name))
                    for name in type(part).model_fields
                ]
        else:
            listed.append((PREFIX + field.upper(), _written(settings, field)))
    return listed


def _written(model: BaseModel, field: str) -> str | None:
    value = getattr(model, field)
    match value:
        case None | ():
            return None
        case SecretStr():
            return "********"
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(value)
    for unit in type(model).model_fields[field].metadata:
        if isinstance(unit, units.Unit):
            return unit.write(value)
    return str(value)


def _is_secret(loc: tuple[str, ...]) -> bool:
    model: type[BaseModel] = Settings.SECTIONS.get(loc[0], Settings)
    field = model.model_fields.get(loc[-1])
    return field is not None and "SecretStr" in str(field.annotation)
