"""A query of the audit, as a command or a client over HTTP gives it."""

from __future__ import annotations

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from proxy.audit.entries import Result
from proxy.audit.search import Wanted
from proxy.errors import ConfigurationError
from proxy.events import RequestKind
from proxy.model import normalize


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which answers; a field that is not set restricts nothing."""

    project: str = ""
    versions: str = ""
    """A version specifier (PEP 440)."""
    digest: str = ""
    index: str = ""
    client: str = ""
    principal: str = ""
    rule: str = ""
    kinds: frozenset[RequestKind] = frozenset()
    results: frozenset[Result] = frozenset()
    since: float | None = None
    """This and the next are Unix times in seconds."""
    until: float | None = None

    def wanted(self) -> Wanted:
        """Raises ``ConfigurationError`` with the name of the field that is wrong."""
        return Wanted(
            project=self._project(),
            versions=self._specifiers(),
            digest=self.digest,
            index=self.index,
            client=self.client,
            principal=self.principal,
            rule=self.rule,
            kinds=self.kinds,
            results=self.results,
            since=float("-inf") if self.since is None else self.since,
            until=float("inf") if self.until is None else self.until,
        )

    def _project(self) -> str:
        if not self.project:
            if self.versions:
                raise ConfigurationError("versions", "they need a project", "name one too")
            return ""
        try:
            return normalize(self.project)
        except ValueError:
            problem = f"{self.project!r} is not a project name"
            raise ConfigurationError("project", problem, "give one such as requests") from None

    def _specifiers(self) -> SpecifierSet | None:
        try:
            return SpecifierSet(self.versions) if self.versions else None
        except InvalidSpecifier:
            problem = f"{self.versions!r} is not a version specifier"
            raise ConfigurationError("versions", problem, "give one such as ==2.32.0") from None
