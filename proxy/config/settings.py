"""A ``[[keep]]`` table of the settings as a type; ``settings.example.toml`` explains its keys.

The settings as types: what may be set, and what holds if it is not. No behaviour.

``settings.example.toml`` explains every one; ``proxy.config.loading`` finds the values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    HttpUrl,
    SecretStr,
    UrlConstraints,
    field_validator,
)

from proxy.errors import ConfigurationError
from proxy.policies import Reserved, matcher
from proxy.runtime import seconds


class KeepTable(BaseModel):
    """What is kept warm: sources as ``waystation warm`` takes them, for which targets."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    sources: Annotated[list[str], Field(min_length=1)]
    python: list[Annotated[str, Field(pattern=r"^3\.\d{1,2}(\.\d{1,2})?$")]] = []
    platform: list[str] = []
    every: Annotated[float, BeforeValidator(seconds), Field(ge=1, allow_inf_nan=False)] = 3600.0
    names: list[str] = []
    versions: str = ""
    latest: Annotated[int, Field(gt=0)] | None = None
    sdists: Literal["also", "none", "only"] = "also"
    all_files: bool = False
    max_file_size: ByteSize | None = None

    @field_validator("sources")
    @classmethod
    def _home(cls, value: list[str]) -> list[str]:
        try:
            return [str(Path(each).expanduser()) if each[:1] == "~" else each for each in value]
        except RuntimeError:
            raise ValueError("the home directory in one of them is not known") from None

    @field_validator("names")
    @classmethod
    def _patterns(cls, value: list[str]) -> list[str]:
        matcher(value)
        return value

    @field_validator("platform")
    @classmethod
    def _platforms(cls, value: list[str]) -> list[str]:
        from proxy.distributions import parse_platform

        try:
            for each in value:
                parse_platform(each)
        except ConfigurationError as error:
            raise ValueError(f"{error.problem}; {error.remedy}") from None
        return value

    @field_validator("versions")
    @classmethod
    def _specifier(cls, value: str) -> str:
        try:
            SpecifierSet(value)
        except InvalidSpecifier:
            raise ValueError(f"{value!r} is no version specifier such as '>=2,<3'") from None
        return value


def _expanded(path: Path) -> Path:
    """With ``~`` as the home directory of the user."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"the home directory in {path} is not known") from None


UserPath = Annotated[Path, AfterValidator(_expanded)]
Seconds = Annotated[float, BeforeValidator(seconds), Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, BeforeValidator(seconds), Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]
Status = Annotated[int, Field(ge=400, le=499)]

DAY = 86400.0


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class LocalTable(Table):
    """A directory of private distributions."""

    kind: Literal["local"]
    path: UserPath
    legacy_files: bool = False
    watch: bool = True


class MirrorTable(Table):
    """An upstream index."""

    kind: Literal["mirror"]
    url: HttpUrl
    username: str | None = None
    password: SecretStr | None = None
    file_hosts: list[str] = []
    missing_statuses: list[Status] = [404, 410]
    reserved: list[str] = []

    @field_validator("reserved")
    @classmethod
    def _patterns(cls, value: list[str]) -> list[str]:
        Reserved(value)
        return value


class FallthroughTable(Table):
    """Other indexes, by name, in the order in which they are asked."""

    kind: Literal["fallthrough"]
    of: Annotated[list[str], Field(min_length=1)]


IndexTable = Annotated[LocalTable | MirrorTable | FallthroughTable, Field(discriminator="kind")]


class Settings(Table):
    """All settings, as ``settings.example.toml`` lists them."""

    # Where it listens
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    prefix: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*$")] = ""
    public_url: HttpUrl | None = None
    workers: Count | Literal["auto"] = 1
    tls_certificate: UserPath | None = None
    tls_key: UserPath | None = None

    # What it serves, in short
    packages: UserPath | None = None
    legacy_files: bool = False
    watch: bool = True
    reserved: list[str] = []
    upstream: HttpUrl | None = None
    upstream_username: str | None = None
    upstream_password: SecretStr | None = None
    upstream_missing_statuses: list[Status] = [404, 410]
    file_hosts: list[str] = []
    # ... and in full
    indexes: dict[str, IndexTable] = {}
    index: str = "main"

    # The cache
    cache_dir: UserPath | None = None
    max_size: ByteSize = ByteSize(20 * 10**9)
    page_ttl: Seconds = 600.0
    page_ttl_min: Seconds = 0.0
    honour_no_store: bool = False
    absence_ttl: Seconds = 30.0
    stale_while_revalidate: Seconds = 600.0
    stale_if_error: Seconds = 7 * DAY
    soft_deadline: Positive = 3.0

    on_changed_file: Literal["refuse", "warn", "accept"] = "refuse"

    vanished_files: Literal["hide", "show"] = "hide"

    # What is kept warm
    keep: list[KeepTable] = []
    change_lists: UserPath | None = None

    # Without a network
    offline: bool = False
    offline_list_all: bool = False
    trusted_keys: list[UserPath] = []

    # How upstream is asked
    netrc: bool = True
    outgoing_proxy: Annotated[HttpUrl, UrlConstraints(allowed_schemes=["http"])] | None = None
    ca_bundle: UserPath | None = None
    client_certificate: UserPath | None = None
    client_key: UserPath | None = None
    connect_timeout: Positive = 10.0
    read_timeout: Positive = 60.0
    page_timeout: Positive = 30.0
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    upstream_connections: Count = 64
    speculate: Literal["off", "metadata", "files"] = "files"
    max_file_size: ByteSize = ByteSize(5 * 2**30)
    max_page_size: ByteSize = ByteSize(64 * 2**20)

    # Clients
    client_refresh: Literal["never", "no-cache", "always"] = "no-cache"
    max_connections: Count = 1000
    keepalive_timeout: Positive = 75.0
    write_timeout: Positive = 60.0
    shutdown_grace: Seconds = 60.0

    # Logs
    log_format: Literal["plain", "json"] = "plain"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    access_log: bool = True

    @field_validator(
        "reserved", "file_hosts", "upstream_missing_statuses", "trusted_keys", mode="before"
    )
    @classmethod
    def _list(cls, value: object) -> object:
        """Environment and flags give lists as text, with commas between."""
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("reserved")
    @classmethod
    def _patterns(cls, value: list[str]) -> list[str]:
        Reserved(value)
        return value
