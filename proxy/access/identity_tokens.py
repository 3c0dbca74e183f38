"""Identity tokens of CI systems (OpenID Connect): verified, and matched with claims."""

from __future__ import annotations

import binascii
import logging
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from proxy import late_pattern
from proxy.access.authenticator import Presented, ProvenIdentity
from proxy.access.issuer_keys import IssuerKeys
from proxy.access.principals import Principal
from proxy.access.rights import Grant
from proxy.errors import ConfigurationError, ProxyError, how_to_add

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
_JWT = late_pattern(r"[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\Z", re.ASCII)
_CASELESS = frozenset(("repository", "repository_owner", "environment"))
"""Claims of GitHub whose values are names that it compares without regard to case."""
ACCOUNT_CLAIMS = ("repository_id", "project_id", "pipeline_id", "oidc.circleci.com/project-id")
"""Numbers and the like of GitHub, GitLab, Buildkite and CircleCI, by which a repository or project
is known though its name changes; the first that a token has. Else its subject counts."""
MAX_SHOWN = 300
"""Characters of claims in a name."""
MAX_ACCOUNT = 200
"""Characters; of a longer name of an account a digest is used."""
_MALFORMED = "it is no valid token"
_FAULTS = {
    "ExpiredSignatureError": "it has expired",
    "ImmatureSignatureError": "it is not valid yet; is the clock of this server right?",
    "InvalidAudienceError": "its audience is not that of this server",
    "InvalidSignatureError": "its signature is wrong",
    "MissingRequiredClaimError": f"it has not all of the claims {', '.join(REQUIRED_CLAIMS)}",
}
"""By the names of the errors of PyJWT."""
_NOT_SHOWN = late_pattern(r"[^\x21-\x7e]")


class ClaimRule(NamedTuple):
    """Grants for tokens of which all these claims match."""

    claims: Mapping[str, frozenset[str]]
    """The values of which a claim has to have one."""
    grants: frozenset[Grant]


class InvalidIdentity(ProxyError):
    """An identity token proves nothing; the message says why, without its content."""


class IdentityTokens:
    """Authenticates the identity tokens of one issuer."""

    kind = "oidc"

    def __init__(
        self, name: str, issuer: str, audience: str, rules: Sequence[ClaimRule], keys: IssuerKeys
    ) -> None:
        """``name``: of the principals, after ``oidc:``. ``audience``: of this deployment."""
        self._name = name
        self.issuer = issuer
        self.audience = audience
        self._rules = tuple(rules)
        self._keys = keys
        self._caseless = _CASELESS if _is_github(issuer) else frozenset[str]()

    def owns(self, presented: Presented) -> bool:
        return unverified_issuer(presented.token) == self.issuer

    async def verify(self, presented: Presented) -> ProvenIdentity | None:
        token = presented.token
        if len(token) > MAX_TOKEN or not self.owns(presented):
            return None
        try:
            claims = await self.claims_of(token)
        except InvalidIdentity as error:
            log.info("a token of %s is refused: %s", self.issuer, error)
            return None
        grants = self.grants_of(claims)
        if grants is None:
            return None
        principal = self.principal_of(claims, shown_text(str(claims["sub"])))
        return ProvenIdentity(principal, grants, float(claims["exp"]), KEEP)

    async def refresh(self) -> bool:
        return False

    def confirms(self, verified: ProvenIdentity) -> bool:
        return True  # until it expires

    async def claims_of(self, token: str) -> Mapping[str, Any]:
        """The claims of a valid token of the issuer, for this audience.

        Raises ``InvalidIdentity``.
        """
        import jwt

        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                raise InvalidIdentity(f"it is not signed by {' or '.join(ALGORITHMS)}")
            key = await self._keys.find(str(header.get("kid")))
            if key is None:
                raise InvalidIdentity(
                    f"its key is not among those that {self.issuer} is known to have"
                )
            found: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self.audience,
                issuer=self.issuer,
                leeway=LEEWAY,
                options={"require": REQUIRED_CLAIMS},
            )
        except jwt.exceptions.PyJWTError as error:
            raise InvalidIdentity(
                _FAULTS.get(type(error).__name__, "it is no valid token")
            ) from None
        except (ValueError, TypeError):
            raise InvalidIdentity("it is no valid token") from None
        return found

    def principal_of(self, claims: Mapping[str, Any], detail: str) -> Principal:
        """The principal, which owns projects as the repository or account that does not change."""
        claim = next((each for each in ACCOUNT_CLAIMS if claim_text(claims.get(each))), "sub")
        account = quote(str(claim_text(claims.get(claim))), "/:@", errors="surrogatepass")
        if len(account) > MAX_ACCOUNT:
            account = sha256(account.encode()).hexdigest()
        name = f"oidc:{self._name}"
        return Principal(name, self.kind, detail=detail, account=f"{name}:{claim}:{account}")

    @property
    def rights(self) -> frozenset[Grant]:
        """All that the rules of the issuer grant."""
        return frozenset[Grant]().union(*(rule.grants for rule in self._rules))

    def grants_of(self, claims: Mapping[str, Any]) -> frozenset[Grant] | None:
        """The union over all rules that match; None if none does."""
        found = [rule.grants for rule in self._rules if self._matches(rule, claims)]
        return frozenset[Grant]().union(*found) if found else None

    def _matches(self, rule: ClaimRule, claims: Mapping[str, Any]) -> bool:
        return all(self._has_one(name, claims.get(name), rule.claims[name]) for name in rule.claims)

    def _has_one(self, name: str, value: Any, wanted: frozenset[str]) -> bool:
        values = {text for each in _listed(value) if (text := claim_text(each)) is not None}
        if name in self._caseless:
            return not {each.casefold() for each in values}.isdisjoint(map(str.casefold, wanted))
        return not values.isdisjoint(wanted)


def unverified_issuer(token: str) -> str | None:
    """The claim ``iss`` of a token, before verification: it selects the keys that verify the
    token."""
    found = _JWT.match(token)
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


def shown_text(text: str) -> str:
    """As much of a text from outside as a name in logs has, which has no spaces."""
    return _NOT_SHOWN.sub("?", text)[:MAX_SHOWN]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def claim_text(value: Any) -> str | None:
    """The value as settings write it: numbers and booleans as text."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int) else None
