"""Access as the settings describe it: authenticators, rights, and what they are read from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.access import (
    ANY,
    Access,
    Authenticator,
    ClaimRule,
    FailureLimits,
    FrontProxies,
    Grant,
    GrantTable,
    IdentityTokens,
    IssuerKeys,
    LdapSettings,
    LdapUsers,
    MintedTokens,
    PasswordFile,
    Passwords,
    SharedMinted,
    SharedTokens,
    Tokens,
    TokenStore,
    TrustedPublishing,
    parse_grant,
    require_bonsai,
    require_jwt,
    require_libraries,
)
from proxy.composition.index_tree import resolve_tree
from proxy.config import Settings, cache_folder
from proxy.errors import ConfigurationError, reason
from proxy.events import Observer
from proxy.upstream import DocumentFetcher

if TYPE_CHECKING:
    from proxy.config import AccessTable
    from proxy.scale import SmallObjects

TOKENS = "tokens.sqlite"
"""In the cache folder."""


@asynccontextmanager
async def open_access(
    table: AccessTable,
    settings: Settings,
    events: Observer,
    limits: FailureLimits,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Access]:
    """``table``: that of the settings. Raises ``ConfigurationError``."""
    others = [*_passwords(table), *_directory(table)]
    async with AsyncExitStack() as stack:
        store = await asyncio.to_thread(open_token_store, settings)
        tokens = Tokens(store, clock)
        stack.push_async_callback(tokens.close)
        issuers = _issuers(settings, table, stack, clock)
        publishing = await _publishing(settings, issuers, stack, clock)
        first: list[Authenticator] = [tokens, *([publishing] if publishing else []), *issuers]
        access = _access(table, [*first, *others], events, limits, clock, publishing)
        await stack.enter_async_context(access.watching())
        yield access


def _access(
    table: AccessTable,
    authenticators: Sequence[Authenticator],
    events: Observer,
    limits: FailureLimits,
    clock: Callable[[], float],
    publishing: TrustedPublishing | None,
) -> Access:
    return Access(
        authenticators,
        GrantTable(table.grants, table.groups),
        anonymous=map(parse_grant, table.anonymous),
        hide_names=table.hide_names,
        front=_front(table),
        certificates=table.certificates.identity if table.certificates else None,
        limits=limits,
        clock=clock,
        events=events,
        publishing=publishing,
    )


async def _publishing(
    settings: Settings,
    issuers: Sequence[IdentityTokens],
    stack: AsyncExitStack,
    clock: Callable[[], float],
) -> TrustedPublishing | None:
    """None without issuers of identity tokens."""
    if not issuers:
        return None
    minted = await asyncio.to_thread(_open_minted, settings)
    publishing = TrustedPublishing(issuers, minted, resolve_tree(settings).accepting_uploads, clock)
    stack.push_async_callback(publishing.close)
    return publishing


def open_token_store(settings: Settings) -> TokenStore | SharedTokens:
    """Blocks. Raises ``ConfigurationError``."""
    objects = _token_objects(settings)
    return SharedTokens(objects) if objects else TokenStore(_token_file(settings))


def _open_minted(settings: Settings) -> MintedTokens | SharedMinted:
    objects = _token_objects(settings)
    return SharedMinted(objects) if objects else MintedTokens(_token_file(settings))


def _token_objects(settings: Settings) -> SmallObjects | None:
    """The object store of the files, unless the settings name a file for tokens."""
    table = settings.storage
    if table is None or table.files is None or table.files_are_local:
        return None
    if settings.access and settings.access.tokens:
        return None
    from proxy.scale import SmallObjects

    return SmallObjects(table.files)


def _token_file(settings: Settings) -> Path:
    """Raises ``ConfigurationError`` as ``cache_folder``."""
    if settings.access and settings.access.tokens:
        return settings.access.tokens.absolute()
    return cache_folder(settings) / TOKENS


def password_problems(path: Path) -> list[str]:
    """Why the file, or users of it, cannot be used, for people."""
    file = PasswordFile(path)
    try:
        require_libraries("htpasswd")
        file.load()
    except (OSError, ValueError) as error:
        return [f"cannot be read: {reason(error)}"]
    except ConfigurationError as error:
        return [error.problem + f"; {error.remedy}"]
    advice = "run `waystation user passwd`, or htpasswd -B"
    return [f"user {name}: {problem}; {advice}" for name, problem in file.refused.items()]


def access_remarks(settings: Settings) -> Iterator[str]:
    """What is odd about the rights: indexes and issuers that do not exist."""
    table = settings.access
    if table is None:
        return
    if table.proxy and table.proxy.user_header and table.anonymous:
        header = table.proxy.user_header
        yield f"requests without {header} have the rights of access.anonymous"
    yield from unknown_indexes(settings, table.all_rights)
    for group, members in table.groups.items():
        for name in members:
            if name.startswith("oidc:") and name.removeprefix("oidc:") not in table.oidc:
                yield f"group {group}: {name} has no table [access.{name.replace(':', '.')}]"


def unknown_indexes(settings: Settings, grants: Iterable[Grant]) -> Iterator[str]:
    """Rights on indexes that do not exist, in words."""
    for grant in grants:
        if grant.index not in (ANY, *settings.indexes, settings.index):
            yield f"the right {grant} names no index of the settings"


def _issuers(
    settings: Settings, table: AccessTable, stack: AsyncExitStack, clock: Callable[[], float]
) -> list[IdentityTokens]:
    """The issuers of identity tokens; their keys are fetched when a token needs them."""
    found: list[IdentityTokens] = []
    for name, issuer in table.oidc.items():
        require_jwt(f"access.oidc.{name}")
        fetcher = DocumentFetcher(f"access.oidc.{name}", ca_bundle=settings.ca_bundle)
        keys = IssuerKeys(issuer.issuer, fetcher.fetch, issuer.key_hosts, clock)
        stack.push_async_callback(fetcher.close)
        stack.push_async_callback(keys.close)
        rules = [
            ClaimRule(
                {claim: frozenset(values) for claim, values in rule.claims.items()},
                frozenset(map(parse_grant, rule.rights)),
            )
            for rule in issuer.allow
        ]
        found.append(IdentityTokens(name, issuer.issuer, issuer.audience, rules, keys))
    return found


def _directory(table: AccessTable) -> list[Authenticator]:
    if table.ldap is None:
        return []
    require_bonsai("access.ldap")
    given = table.ldap.model_dump(exclude={"bind_password"})
    password = table.ldap.bind_password.get_secret_value()
    return [LdapUsers(LdapSettings(**given, bind_password=password))]


def _front(table: AccessTable) -> FrontProxies | None:
    front = table.proxy
    return FrontProxies(front.from_, front.user_header, front.groups_header) if front else None


def _passwords(table: AccessTable) -> list[Authenticator]:
    if table.htpasswd is None:
        return []
    require_libraries("access.htpasswd")
    file = PasswordFile(table.htpasswd)
    try:
        file.load()
    except (OSError, ValueError) as error:
        problem = f"{table.htpasswd} cannot be read: {reason(error)}"
        remedy = "create it with `waystation user add`"
        raise ConfigurationError("access.htpasswd", problem, remedy) from None
    file.warn()
    return [Passwords(file)]
