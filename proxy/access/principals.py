"""Principals: authenticated identities, their groups, and the rights that settings grant them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from proxy import late_pattern
from proxy.access.rights import Grant, Rights

EVERYONE = "*"
"""In the table of rights: every principal."""
GROUP = "@"
"""Begins the name of a group in the table of rights."""
_PERSON = late_pattern(r"[^\x00-\x20\x7f*@:\ud800-\udfff][^\x00-\x1f\x7f\ud800-\udfff]{0,254}\Z")
_MACHINE = late_pattern(r"(?:token|oidc):[^\x00-\x20\x7f]{1,255}\Z")


class Principal(msgspec.Struct, frozen=True):
    """An authenticated identity."""

    name: str
    """As settings and logs write it: ``alice``, ``token:ci``, ``oidc:github``."""
    kind: str
    """How the identity was proved: ``password``, ``token``, ``oidc``, ``ldap``, ``proxy``,
    ``certificate``.
    """
    groups: frozenset[str] = frozenset()
    """Those that the proof names, without those of the settings."""
    detail: str = ""
    """Which of several holders of the name it is, such as the repository of a CI job."""
    account: str = ""
    """The owner of projects, if that is not the name: several principals can have one name."""

    @property
    def owner(self) -> str:
        """The name under which it owns the projects that it publishes."""
        return self.account or self.name

    @property
    def label(self) -> str:
        """The name for logs and audit."""
        return f"{self.name}:{self.detail}" if self.detail else self.name


def is_person(name: str) -> bool:
    """Whether a directory, a proxy or a certificate may name a principal so.

    A name that could be mistaken for a group, a token or an identity of CI would gain its rights.
    """
    return bool(_PERSON.match(name)) and not name.startswith(("token:", "oidc:"))


def check_member(name: str) -> str:
    """Raises ``ValueError`` if no principal can have that name."""
    if is_person(name) or _MACHINE.match(name):
        return name
    raise ValueError(f'{name!r} is no name such as "alice", "token:ci" or "oidc:github"')


class GrantTable:
    """The rights that the settings grant: to names, to groups, and to every principal."""

    def __init__(
        self,
        rights: Mapping[str, Iterable[Grant]] = {},
        groups: Mapping[str, Iterable[str]] = {},
    ) -> None:
        """``rights`` by name, ``@group`` or ``*``; ``groups``: the names of their members.

        The name of one of ``groups`` means that group without ``@`` too, and no user.
        """
        self._rights: dict[str, frozenset[Grant]] = {}
        for name, grants in rights.items():
            key = GROUP + name if name in groups else name
            self._rights[key] = self._rights.get(key, frozenset()).union(grants)
        self._groups = {name: frozenset(members) for name, members in groups.items()}

    def rights_of(self, principal: Principal, more: Iterable[Grant] = ()) -> Rights:
        """The union of all grants to the principal; ``more``: those of its credentials."""
        names = [EVERYONE, principal.name, *(GROUP + each for each in self.groups_of(principal))]
        return Rights(frozenset(more).union(*(self._rights.get(each, ()) for each in names)))

    def groups_of(self, principal: Principal) -> frozenset[str]:
        """The groups of the proof and those of the settings."""
        ours = {name for name, members in self._groups.items() if principal.name in members}
        return principal.groups | ours
