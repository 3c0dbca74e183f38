"""Users of an LDAP directory: found by a search, proved by a bind with their password."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, NamedTuple

from proxy.access.authenticator import Presented, ProvenIdentity
from proxy.access.principals import Principal, is_person
from proxy.errors import ConfigurationError, DirectoryUnavailable, how_to_add

log = logging.getLogger(__name__)

KEEP = 300.0
"""Seconds for which a user is not verified again; a change in the directory acts after that."""
TIMEOUT = 10.0
"""Seconds of a verification."""
MAX_GROUPS = 500
"""Groups of a user that count."""
PARALLEL_BINDS = 8
"""Verifications at a time."""


class LdapSettings(NamedTuple):
    """How the directory is asked."""

    url: str
    users: str
    """The base of the search for users."""
    user_filter: str
    """With ``{user}`` for the name."""
    groups: str = ""
    """The base of the search for groups; empty: there are none."""
    group_filter: str = "(member={dn})"
    """With ``{dn}`` for the name of the user's entry, or ``{user}``."""
    group_name: str = "cn"
    """The attribute that is the name of a group."""
    bind_dn: str = ""
    """The account that searches; empty: the search is anonymous."""
    bind_password: str = ""
    start_tls: bool = False
    ca: Path | None = None


class LdapUsers:
    """Authenticates users of a directory."""

    kind = "ldap"

    def __init__(self, settings: LdapSettings) -> None:
        self._settings = settings
        self._slots = asyncio.Semaphore(PARALLEL_BINDS)

    def owns(self, presented: Presented) -> bool:
        return False

    async def verify(self, presented: Presented) -> ProvenIdentity | None:
        # An empty password would be an anonymous bind, which succeeds (RFC 4513, 5.1.2).
        if not presented.secret or not is_person(presented.user):
            return None
        import bonsai

        try:
            async with self._slots, asyncio.timeout(TIMEOUT):
                groups = await self._prove(presented)
        except bonsai.AuthenticationError:
            return None
        except (bonsai.LDAPError, OSError, TimeoutError) as error:
            log.error("%s cannot be asked: %s", self._settings.url, type(error).__name__)
            raise DirectoryUnavailable from None
        if groups is None:
            return None
        principal = Principal(presented.user, self.kind, groups)
        return ProvenIdentity(principal, keep=KEEP)

    async def refresh(self) -> bool:
        return False

    def confirms(self, verified: ProvenIdentity) -> bool:
        return True  # until it is verified again

    async def _prove(self, presented: Presented) -> frozenset[str] | None:
        """The groups of the user; None if there is no such user. Raises ``bonsai.LDAPError``."""
        given = self._settings
        async with self._client(given.bind_dn, given.bind_password).connect(is_async=True) as found:
            wanted = given.user_filter.format(user=escaped(presented.user))
            users = await found.search(given.users, 2, wanted, ["1.1"], sizelimit=2)
            if len(users) != 1:
                return None
            dn = str(users[0].dn)
            async with self._client(dn, presented.secret).connect(is_async=True):
                pass
            if not given.groups:
                return frozenset()
            wanted = given.group_filter.format(dn=escaped(dn), user=escaped(presented.user))
            groups = await found.search(given.groups, 2, wanted, [given.group_name])
        names = (str(name) for each in groups for name in each.get(given.group_name, []))
        return frozenset(list(names)[:MAX_GROUPS])

    def _client(self, dn: str, password: str) -> Any:
        import bonsai

        client = bonsai.LDAPClient(self._settings.url, self._settings.start_tls)
        if self._settings.ca:
            client.set_ca_cert(str(self._settings.ca))
        if dn:
            client.set_credentials("SIMPLE", dn, password)
        client.set_server_chase_referrals(False)
        return client


def escaped(text: str) -> str:
    """The text as a value in a filter, where it means nothing else (RFC 4515, 3)."""
    return "".join(
        f"\\{byte:02x}" if byte in b"\0()*\\" or byte > 126 else chr(byte) for byte in text.encode()
    )


def require_bonsai(key: str) -> None:
    """Raises ``ConfigurationError``, for the setting ``key``."""
    try:
        import bonsai

        del bonsai
    except ImportError:
        raise ConfigurationError(key, "bonsai is not installed", how_to_add("ldap")) from None
