"""Checks of settings that depend on each other, and of the files that settings name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from proxy.config.index_base import NAME, name_problems
from proxy.config.index_tables import MirrorTable, ReleasesTable, UpstreamTable
from proxy.config.settings import Settings
from proxy.config.storage_table import storage_problems
from proxy.errors import ConfigurationError

if TYPE_CHECKING:
    from proxy.config.access_table import AccessTable
    from proxy.config.operation_tables import WebhookTable

REQUIRED_TOGETHER = {
    "tls_certificate": "tls_key",
    "tls_key": "tls_certificate",
    "client_key": "client_certificate",
    "upstream_username": "upstream_password",
    "upstream_password": "upstream_username",
}
LOOPBACK = ("localhost", "127.0.0.1", "::1")
FOREIGN_AUDIENCES = ("pypi", "testpypi")
"""Those of PyPI and its test instance: their tokens must not work here, nor ours there."""
FILES_OF_UPSTREAM = ("ca_bundle", "client_certificate", "client_key")
FILES = ("tls_certificate", "tls_key", *FILES_OF_UPSTREAM)


def consistency_problems(
    settings: Settings, given: Mapping[str, Any]
) -> Iterator[ConfigurationError]:
    """``given``: the values that sources set, wrong ones included."""
    for one, other in REQUIRED_TOGETHER.items():
        if getattr(settings, one) is not None and given.get(other) is None:
            yield ConfigurationError(one, f"it is set but {other} is not", f"set {other} too")
    for name in FILES:
        yield from _file_problems(name, getattr(settings, name))
    for path in settings.trusted_keys:
        yield from _file_problems("trusted_keys", path)
    if settings.access:
        yield from _access_problems(settings, settings.access)
    if settings.storage:
        yield from storage_problems(settings.storage)
    yield from _page_ttl_problems("page_ttl_min", settings)
    yield from _policy_problems(settings, given)
    yield from name_problems(settings.indexes, settings.prefix)
    for name, table in settings.indexes.items():
        if isinstance(table, UpstreamTable):
            yield from _upstream_problems(f"indexes.{name}", table, settings)
    for name, webhook in settings.webhooks.items():
        yield from _webhook_problems(name, webhook)


def _policy_problems(settings: Settings, given: Mapping[str, Any]) -> Iterator[ConfigurationError]:
    if settings.all_policies or settings.exempt or settings.indexes:
        from proxy.config.policy_checks import policy_problems  # the models of all policies

        yield from policy_problems(settings, given.get("policies"))


def _webhook_problems(name: str, table: WebhookTable) -> Iterator[ConfigurationError]:
    """A name is a part of file names."""
    key = f"webhooks.{name}"
    if not NAME.fullmatch(name):
        remedy = 'use small letters, digits and "-", at most 63, beginning with none of "-"'
        yield ConfigurationError(key, f"{name!r} cannot be the name of a webhook", remedy)
    if table.url.username is not None or table.url.password is not None:
        problem = "it has credentials, which not every receiver keeps out of its log"
        yield ConfigurationError(f"{key}.url", problem, "leave them out: requests are signed")


def _access_problems(settings: Settings, table: AccessTable) -> Iterator[ConfigurationError]:
    if certificates := table.certificates:
        yield from _file_problems("access.certificates.ca", certificates.ca)
        if settings.tls_certificate is None:
            problem = "clients show certificates only where TLS ends here"
            remedy = "set tls_certificate and tls_key, or use access.proxy"
            yield ConfigurationError("access.certificates", problem, remedy)
    yield from _publisher_problems(table)
    if ldap := table.ldap:
        yield from _file_problems("access.ldap.ca", ldap.ca)
        host = urlsplit(ldap.url).hostname
        if ldap.url.startswith("ldap:") and not ldap.start_tls and host not in LOOPBACK:
            problem = f"{ldap.url} would get passwords in clear text"
            remedy = "write ldaps:// or set start_tls = true"
            yield ConfigurationError("access.ldap.url", problem, remedy)


def _publisher_problems(table: AccessTable) -> Iterator[ConfigurationError]:
    """Clients ask for one audience, and an identity token is accepted by one table."""
    issuers: set[str] = set()
    audience = ""
    for name, issuer in table.oidc.items():
        if not issuer.publishes:
            continue
        key = f"access.oidc.{name}"
        if issuer.audience.lower() in FOREIGN_AUDIENCES:
            problem = f"{issuer.audience!r} is the audience of another server"
            yield ConfigurationError(f"{key}.audience", problem, "use the name of this server")
        elif issuer.audience != (audience := audience or issuer.audience):
            problem = f"{issuer.audience!r} is not {audience!r}, and clients that publish get one"
            remedy = "give all issuers with a right to upload the same audience"
            yield ConfigurationError(f"{key}.audience", problem, remedy)
        if issuer.issuer in issuers:
            problem = f"another table with a right to upload has the issuer {issuer.issuer}"
            yield ConfigurationError(f"{key}.issuer", problem, "move its rules into one table")
        issuers.add(issuer.issuer)


def _releases_problems(key: str, table: ReleasesTable) -> Iterator[ConfigurationError]:
    if table.token and table.mode == "redirect":
        problem = "clients are sent to addresses for which they have no token"
        yield ConfigurationError(f"{key}.mode", problem, 'use "proxy" or "stream"')
    if table.api.username is not None or table.api.password is not None:
        problem, remedy = "it has credentials", "set token, and leave them out"
        yield ConfigurationError(f"{key}.api", problem, remedy)


def _follow_problems(key: str, table: MirrorTable) -> Iterator[ConfigurationError]:
    if table.url is None or not str(table.url).rstrip("/").endswith("/simple"):
        problem = "only another Waystation can be followed, and url is not the address of one"
        remedy = 'set url, such as "https://first.example.com/NAME/simple/"'
        yield ConfigurationError(f"{key}.follow", problem, remedy)


def _upstream_problems(
    key: str, table: UpstreamTable, settings: Settings
) -> Iterator[ConfigurationError]:
    """``key``: of the table."""
    if isinstance(table, ReleasesTable):
        yield from _releases_problems(key, table)
    if isinstance(table, MirrorTable) and table.follow:
        yield from _follow_problems(key, table)
    in_force = settings.of_index(table)
    for name in FILES_OF_UPSTREAM:
        if name in table.upstream_settings:
            yield from _file_problems(f"{key}.{name}", getattr(table, name))
    if table.client_key and not in_force.client_certificate:
        problem = "it is set but client_certificate is not"
        yield ConfigurationError(f"{key}.client_key", problem, "set client_certificate too")
    if table.page_ttl is not None or table.page_ttl_min is not None:
        yield from _page_ttl_problems(f"{key}.page_ttl_min", in_force)


def _file_problems(key: str, path: Any) -> Iterator[ConfigurationError]:
    if path is not None and not path.is_file():
        yield ConfigurationError(key, f"there is no file {path}", "name a file that exists")


def _page_ttl_problems(key: str, settings: Settings) -> Iterator[ConfigurationError]:
    if settings.page_ttl_min > settings.page_ttl:
        problem = f"{settings.page_ttl_min:g} is greater than page_ttl, {settings.page_ttl:g}"
        yield ConfigurationError(key, problem, "set at most page_ttl")
