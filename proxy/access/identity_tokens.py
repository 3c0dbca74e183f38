"""Identity tokens of CI systems (OpenID Connect): verified, and matched with claims."""

from __future__ import annotations

import binascii
import logging
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from proxy.access.authenticator import Presented, ProvenIdentity
from proxy.access.issuer_keys import IssuerKeys
from proxy.access.principals import Principal
from proxy.access.rights import Grant
from proxy.errors import ConfigurationError, how_to_add

log = logging.getLogger(__name__)

ALGORITHMS = ("RS256", "ES256")
"""A fixed list: never what the token says, and no shared secrets."""
MAX_TOKEN = 16 * 1024
"""Characters."""
LEEWAY = 30.0
"""Seconds by which the clocks of issuer and server may differ."""
REQUIRED_CLAIMS = ["exp", "iat", "iss", "aud", "sub"]
KEEP = 300.0
"""Seconds for which a verified token is not verified again."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\Z", re.ASCII)
_CASELESS = frozenset(("repository", "repository_owner", "environment"))
"""Claims of GitHub whose values are names that it compares without regard to case."""
_NOT_SHOWN = re.compile(r"[^\x21-\x7e]")


class ClaimRule(NamedTuple):
    """Grants for tokens of which all these claims match."""

    claims: Mapping[str, frozenset[str]]
    """The values of which a claim has to have one."""
    grants: frozenset[Grant]


class IdentityTokens:
    """Authenticates the identity tokens of one issuer."""

    kind = "oidc"

    def __init__(
        self, name: str, issuer: str, audience: str, rules: Sequence[ClaimRule], keys: IssuerKeys
    ) -> None:
        """``name``: of the principals, after ``oidc:``. ``audience``: of this deployment."""
        self._name = name
        self._issuer = issuer
        self._audience = audience
        self._rules = tuple(rules)
        self._keys = keys
        self._caseless = _CASELESS if _is_github(issuer) else frozenset[str]()

    def owns(self, presented: Presented) -> bool:
        return unverified_issuer(presented.token) == self._issuer

    async def verify(self, presented: Presented) -> ProvenIdentity | None:
        token = presented.token
        if len(token) > MAX_TOKEN or not self.owns(presented):
            return None
        claims = await self.claims_of(token)
        grants = self._grants(claims) if claims else None
        if not claims or grants is None:
            return None
        detail = _NOT_SHOWN.sub("?", str(claims["sub"]))[:200]
        principal = Principal(f"oidc:{self._name}", self.kind, detail=detail)
        return ProvenIdentity(principal, grants, float(claims["exp"]), KEEP)

    async def refresh(self) -> bool:
        return False

    def confirms(self, verified: ProvenIdentity) -> bool:
        return True  # until it expires

    async def claims_of(self, token: str) -> Mapping[str, Any] | None:
        """The claims of a valid token of the issuer, for this audience; None if it is not."""
        import jwt

        try:
            header = jwt.get_unverified_header(token)
            key = await self._keys.find(str(header.get("kid")))
            if key is None or header.get("alg") not in ALGORITHMS:
                return None
            found: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY,
                options={"require": REQUIRED_CLAIMS},
            )
        except (jwt.exceptions.PyJWTError, ValueError, TypeError) as error:
            log.info("a token of %s is refused: %s", self._issuer, type(error).__name__)
            return None
        return found

    def _grants(self, claims: Mapping[str, Any]) -> frozenset[Grant] | None:
        """The union over all rules that match; None if none does."""
        found = [rule.grants for rule in self._rules if self._matches(rule, claims)]
        return frozenset[Grant]().union(*found) if found else None

    def _matches(self, rule: ClaimRule, claims: Mapping[str, Any]) -> bool:
        return all(self._has_one(name, claims.get(name), rule.claims[name]) for name in rule.claims)

    def _has_one(self, name: str, value: Any, wanted: frozenset[str]) -> bool:
        values = {text for each in _listed(value) if (text := _text(each)) is not None}
        if name in self._caseless:
            return not {each.casefold() for each in values}.isdisjoint(map(str.casefold, wanted))
        return not values.isdisjoint(wanted)


def unverified_issuer(token: str) -> str | None:
    """What a token says of its issuer, which says whose keys have to verify it."""
    found = _TOKEN.match(token)
    if found is None:
        return None
    try:
        claims = msgspec.json.decode(urlsafe_b64decode(found[1] + "=" * (-len(found[1]) % 4)))
    except (binascii.Error, msgspec.DecodeError, ValueError, RecursionError):
        return None
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    return issuer if isinstance(issuer, str) else None


def require_jwt(key: str) -> None:
    """Raises ``ConfigurationError``, for the setting ``key``."""
    try:
        import cryptography
        import jwt

        del cryptography, jwt
    except ImportError:
        problem = "PyJWT and cryptography are not installed"
        raise ConfigurationError(key, problem, how_to_add("oidc")) from None


def _is_github(issuer: str) -> bool:
    return "githubusercontent.com" in issuer or issuer.endswith("/_services/token")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str | None:
    """The value as settings write it: numbers and booleans as text."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int) else None
