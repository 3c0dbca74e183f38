"""The table ``[access]``: how identities are proved, and the rights of principals."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_network
from string import Formatter
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator

from proxy import late_pattern
from proxy.access import CertificateName, Grant, Scope, check_member, parse_grant
from proxy.config.values import Age, Table, UserPath

_GROUP = late_pattern(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,99}\Z", re.ASCII)


_HEADER = late_pattern(r"[A-Za-z0-9-]{1,80}\Z", re.ASCII)
NOT_FOR_USERS = ("authorization", "host", "connection", "x-forwarded-for", "content-length")
"""Headers, in lower case, that cannot name a user."""


def _check_right(text: str) -> str:
    parse_grant(text)
    return text


def _check_network(text: str) -> str:
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no address or network such as 10.0.0.0/8") from None
    return text


def _check_header(name: str) -> str:
    if name and not _HEADER.match(name):
        raise ValueError(f"{name!r} is no name of a header such as X-Forwarded-User")
    if name.lower() in NOT_FOR_USERS:
        raise ValueError(f"{name!r} has another meaning")
    return name


def _check_issuer(text: str) -> str:
    found = urlsplit(text)
    if found.scheme != "https" or not found.hostname or found.query or "@" in found.netloc:
        raise ValueError(f"{text!r} is no address of an issuer such as https://ci.example.com")
    return text


def _check_ldap(text: str) -> str:
    found = urlsplit(text)
    if found.scheme not in ("ldap", "ldaps") or not found.hostname or "@" in found.netloc:
        raise ValueError(f"{text!r} is no address such as ldaps://ldap.example.com")
    return text


def _has_place(*places: str) -> Callable[[str], str]:
    """A check of filters: they have one of these places, and no others."""

    def check(text: str) -> str:
        fields = {f"{{{field}}}" for _, field, _, _ in Formatter().parse(text) if field is not None}
        if not fields or not fields <= set(places) or not text.startswith("("):
            raise ValueError(f"{text!r} is no filter with {' or '.join(places)}")
        return text

    return check


def _values(value: Any) -> Any:
    """A list of texts: single values, numbers and booleans may be written as they are."""
    values = value if isinstance(value, list) else [value]
    return [str(each).lower() if isinstance(each, bool | int) else each for each in values]


ClaimValues = Annotated[list[str], Field(min_length=1), BeforeValidator(_values)]
Network = Annotated[str, AfterValidator(_check_network)]
HeaderName = Annotated[str, AfterValidator(_check_header)]
Right = Annotated[str, AfterValidator(_check_right)]
"""Such as ``read:main``, ``upload:private:acme-*`` or ``admin``."""


class FrontProxyTable(Table):
    """Proxies in front that name the user."""

    from_: Annotated[list[Network], Field(alias="from", min_length=1)]
    user_header: HeaderName = ""
    groups_header: HeaderName = ""


class CertificatesTable(Table):
    """Certificates of clients, checked where TLS ends here."""

    ca: UserPath
    identity: CertificateName = "san-uri"
    required: bool = False


class OidcRuleTable(Table):
    """Rights for identity tokens of which all these claims match."""

    claims: Annotated[dict[str, ClaimValues], Field(min_length=1)]
    rights: Annotated[list[Right], Field(min_length=1)]

    @property
    def uploads(self) -> list[Grant]:
        """The rights to upload: with one, the rule is a trusted publisher."""
        return [each for each in map(parse_grant, self.rights) if each.scope is Scope.UPLOAD]


class OidcTable(Table):
    """An issuer of identity tokens of CI."""

    issuer: Annotated[str, AfterValidator(_check_issuer)]
    audience: Annotated[str, Field(min_length=1)]
    key_hosts: list[str] = []
    allow: Annotated[list[OidcRuleTable], Field(min_length=1)]

    @property
    def publishes(self) -> bool:
        """Whether some of its tokens may upload."""
        return any(rule.uploads for rule in self.allow)


class LdapTable(Table):
    """A directory of users and groups."""

    url: Annotated[str, AfterValidator(_check_ldap)]
    start_tls: bool = False
    ca: UserPath | None = None
    users: Annotated[str, Field(min_length=1)]
    user_filter: Annotated[str, AfterValidator(_has_place("{user}"))] = "(uid={user})"
    groups: str = ""
    group_filter: Annotated[str, AfterValidator(_has_place("{dn}", "{user}"))] = "(member={dn})"
    group_name: str = "cn"
    bind_dn: str = ""
    bind_password: SecretStr = SecretStr("")


class AccessTable(Table):
    """Identities and rights. Without this table every client may read everything."""

    htpasswd: UserPath | None = None
    tokens: UserPath | None = None
    """None: in the object store of ``storage.files``, else in the cache folder."""
    token_max_age: Age = "366d"  # noqa: S105 (a time)
    hide_names: bool = True
    anonymous: list[Right] = []
    groups: dict[str, list[str]] = {}
    rights: dict[str, list[Right]] = {}
    proxy: FrontProxyTable | None = None
    certificates: CertificatesTable | None = None
    oidc: dict[str, OidcTable] = {}
    ldap: LdapTable | None = None

    @field_validator("groups")
    @classmethod
    def _check_groups(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        for name, members in value.items():
            _check_group(name)
            for member in members:
                check_member(member)
        return value

    @field_validator("rights")
    @classmethod
    def _check_names(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        for name in value:
            if name.startswith("@"):
                _check_group(name[1:])
            elif name != "*":
                check_member(name)
        return value

    @property
    def grants(self) -> dict[str, list[Grant]]:
        """The rights by name, ``@group`` or ``*``."""
        return {name: list(map(parse_grant, rights)) for name, rights in self.rights.items()}

    @property
    def all_rights(self) -> list[Grant]:
        """All rights that the table grants."""
        by_claims = [rule.rights for table in self.oidc.values() for rule in table.allow]
        granted = [self.anonymous, *self.rights.values(), *by_claims]
        return [parse_grant(right) for rights in granted for right in rights]


def _check_group(name: str) -> None:
    if not _GROUP.match(name):
        raise ValueError(f'{name!r} is no name of a group such as "dev"')
