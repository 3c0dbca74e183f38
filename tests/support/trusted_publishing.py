"""Trusted publishing with an issuer over TLS, and access by its rules."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from proxy.access import (
    Access,
    ClaimRule,
    GrantTable,
    IdentityTokens,
    IssuerKeys,
    MintedTokens,
    TrustedPublishing,
    parse_grant,
)
from proxy.upstream import DocumentFetcher
from tests.support.issuer import Issuer, running_issuer
from tests.support.pki import Authority

AUDIENCE = "waystation.example.com"


def publisher(*rights: str, **claims: str) -> ClaimRule:
    wanted = {name: frozenset([value]) for name, value in claims.items()}
    return ClaimRule(wanted, frozenset(map(parse_grant, rights)))


ACME = publisher("upload:private:acme-*", "read:main", repository_id="7")


class PublishingRig(NamedTuple):
    """One process of a server."""

    issuer: Issuer
    publishing: TrustedPublishing
    access: Access

    def job(self, **claims: Any) -> str:
        """The identity token of a job of the publisher ``ACME``, unless claims say otherwise."""
        return self.issuer.token(**{"repository_id": "7", "jti": f"{time.time_ns()}"} | claims)


@asynccontextmanager
async def trusting(
    authority: Authority,
    folder: Path,
    *rules: ClaimRule,
    accepting: Collection[str] = ("private",),
    clock: Callable[[], float] = time.time,
    issuer: Issuer | None = None,
    anonymous: Sequence[str] = (),
) -> AsyncIterator[PublishingRig]:
    """``folder`` gets the file of the tokens. ``issuer``: one that runs already."""
    if issuer is None:
        async with running_issuer(authority) as issuer:
            more: dict[str, Any] = {"accepting": accepting, "clock": clock, "anonymous": anonymous}
            async with trusting(authority, folder, *rules, issuer=issuer, **more) as rig:
                yield rig
        return
    fetcher = DocumentFetcher("ci", ca_bundle=authority.bundle)
    keys = IssuerKeys(issuer.url, fetcher.fetch, (), clock)
    tokens = IdentityTokens("ci", issuer.url, AUDIENCE, rules or [ACME], keys)
    minted = MintedTokens(folder / "tokens.sqlite")
    publishing = TrustedPublishing([tokens], minted, accepting, clock)
    grants = GrantTable({"*": [parse_grant("read:main")]})
    access = Access(
        [publishing, tokens],
        grants,
        anonymous=map(parse_grant, anonymous),
        clock=clock,
        publishing=publishing,
    )
    yield PublishingRig(issuer, publishing, access)
    await publishing.close()
    await keys.close()
    await fetcher.close()
