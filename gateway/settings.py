"""Every setting of the program: its name, its default, and what may stand there.

From the environment and `settings.env`, prefix `GATEWAY_`, `__` for nesting, case ignored; the
environment wins; what is empty counts as not given. Sizes are `256MiB`, times `20s`. Only the
program's entrance reads this; its parts take plain arguments.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator
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
from gateway.settings_parts import (
    Address,
    ArrSettings,
    CategorySettings,
    Count,
    Duration,
    Folder,
    Guarantee,
    Host,
    Mounted,
    Network,
    ProviderSettings,
    RcloneSettings,
    RedisAddress,
    Secret,
    Size,
    Text,
    VodProfileSettings,
    VodSettings,
    VodUserSettings,
)

# Those that always exist, with what they ask otherwise than others.
CATEGORIES: Mapping[str, Mapping[str, object]] = {
    "movies": {},
    "tv": {},
    "audio": {},
    # Serial numbers lie in .nfo files, and a sample may be one of a sampler's.
    "software": {"blocklist": "*.par2,*.sfv", "media_required": False},
    "uncategorized": {"media_required": False},
}


class Settings(BaseSettings):
    """All settings, checked one by one; made by `load`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True,
        validate_default=True,
    )  # fmt: skip

    host: Host = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    allowed_hosts: Annotated[tuple[Text, ...], NoDecode] = ()
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = ()
    responses: Count = 200
    suspend: Annotated[Duration, Field(gt=0)] = 60.0
    abandon: Annotated[Duration, Field(gt=0)] = 1800.0
    drain: Annotated[Duration, Field(ge=0)] = 10.0
    data_dir: Folder = Path("~/.local/share/nzb-gateway")
    database_url: Secret | None = None  # an address may hold a password
    webdav_user: Text = "gateway"
    webdav_password: Secret | None = None
    api_key: Secret | None = None
    nzb_key: Secret | None = None
    providers: dict[str, ProviderSettings] = {}
    vod: VodSettings = VodSettings()
    acquire_wait: Annotated[Duration, Field(ge=0, le=60)] = 4.0
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
    incomplete_dir: Folder | None = None
    complete_dir: Folder | None = None
    max_concurrent_items: Annotated[int, Field(ge=1, le=100)] = 2
    ignore_history_limit: bool = True
    sabnzbd_errors: Literal["json", "text"] = "json"
    addurl_private: Annotated[tuple[Network, ...], NoDecode] = ()
    drop_dir: Folder | None = None
    health_checks: bool = True
    mount_dir: Mounted = PurePosixPath("/mnt/nzb-gateway")
    strm_url: Address | None = None
    arr: dict[str, ArrSettings] = {}
    rclone: RcloneSettings = RcloneSettings()
    allow_content_delete: bool = False
    redis_url: RedisAddress | None = None
    lease_ttl: Annotated[Duration, Field(ge=1, le=3600)] = 20.0
    grace: Annotated[Duration, Field(ge=0, le=600)] = 2.0
    on_store_error: Literal["refuse", "local"] = "refuse"

    # Entries that have a name, by where they stand.
    SECTIONS: ClassVar[Mapping[str, type[BaseModel]]] = {
        "providers": ProviderSettings,
        "categories": CategorySettings,
        "arr": ArrSettings,
        "vod__profiles": VodProfileSettings,
        "vod__users": VodUserSettings,
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

    @field_validator("allowed_hosts", "trusted_proxies", "addurl_private", mode="before")
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
        named: dict[str, Any] = {name: {} for name in CATEGORIES} | value
        return {
            name: {"dir": name, **CATEGORIES.get(name, {}), **fields}
            for name, fields in named.items()
        }

    @property
    def incomplete(self) -> Path:
        """Where downloads lie until they are whole."""
        return self.incomplete_dir or self.data_dir / "incomplete"

    @property
    def complete(self) -> Path:
        """Where downloads lie for good, in the folders of their categories."""
        return self.complete_dir or self.data_dir / "complete"

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
        frozenset(name.upper() for name in _singles(Settings)),
        {
            section.upper(): frozenset(field.upper() for field in model.model_fields)
            for section, model in Settings.SECTIONS.items()
        },
    )


def section(settings: Settings, name: str) -> Mapping[str, BaseModel]:
    """Return the entries of one of SECTIONS, by their names."""
    found: Any = settings
    for part in name.split("__"):
        found = getattr(found, part)
    entries: Mapping[str, BaseModel] = found
    return entries


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
    return list(_lines(settings, ""))


def _lines(model: BaseModel, within: str) -> Iterator[tuple[str, str | None]]:
    for field in type(model).model_fields:
        name, value = f"{within}{field}", getattr(model, field)
        if name in Settings.SECTIONS:
            for entry, part in value.items():
                yield from _lines(part, f"{name}__{entry}__")
        elif isinstance(value, BaseModel):
            yield from _lines(value, f"{name}__")
        else:
            yield f"{PREFIX}{name}".upper(), _written(model, field)


def _singles(model: type[BaseModel], within: str = "") -> Iterator[str]:
    """Give the names of what stands once, and not in an entry."""
    for field, info in model.model_fields.items():
        name, kind = f"{within}{field}", info.annotation
        if name in Settings.SECTIONS:
            continue
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _singles(kind, f"{name}__")
        else:
            yield name


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
    model: type[BaseModel] = Settings
    for name, entry in Settings.SECTIONS.items():
        if "__".join(loc).startswith(f"{name}__"):
            model = entry
    field = model.model_fields.get(loc[-1])
    return field is not None and "SecretStr" in str(field.annotation)
