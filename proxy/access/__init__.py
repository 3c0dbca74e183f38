"""Access: which principal a request comes from, and what that principal may do.

Knows no HTTP server and no settings: credentials come in as header values, and principals with
their rights go out.
"""

from typing import TYPE_CHECKING

from proxy import late_names
from proxy.access.authenticator import Authenticator, Presented, ProvenIdentity, parse_authorization
from proxy.access.connection_names import (
    CertificateName,
    FrontProxies,
    certificate_end,
    certificate_name,
    group_names,
)
from proxy.access.control import Access, Caller
from proxy.access.failures import FailureLimits, network
from proxy.access.principals import GrantTable, Principal, check_member, is_person
from proxy.access.rights import ANY, Grant, Rights, Scope, parse_grant

if TYPE_CHECKING:
    from proxy.access.htpasswd import (
        PasswordFile,
        Passwords,
        check_hash,
        hash_password,
        require_libraries,
    )
    from proxy.access.identity_tokens import ClaimRule, IdentityTokens, require_jwt
    from proxy.access.issuer_keys import IssuerKeys
    from proxy.access.ldap_directory import LdapSettings, LdapUsers, require_bonsai
    from proxy.access.minted_tokens import MintedTokens
    from proxy.access.password_changes import remove_user, set_password
    from proxy.access.shared_tokens import SharedMinted, SharedTokens
    from proxy.access.token_store import Token, TokenStore
    from proxy.access.tokens import Tokens, new_token, token_digest
    from proxy.access.trusted_publishing import MintRefused, TrustedPublishing
else:  # what a start without such settings does not need
    __getattr__ = late_names(
        __name__,
        "htpasswd",
        "identity_tokens",
        "issuer_keys",
        "ldap_directory",
        "minted_tokens",
        "password_changes",
        "shared_tokens",
        "token_store",
        "tokens",
        "trusted_publishing",
    )

__all__ = [
    "ANY",
    "Access",
    "Authenticator",
    "Caller",
    "CertificateName",
    "ClaimRule",
    "FailureLimits",
    "FrontProxies",
    "Grant",
    "GrantTable",
    "IdentityTokens",
    "IssuerKeys",
    "LdapSettings",
    "LdapUsers",
    "MintRefused",
    "MintedTokens",
    "PasswordFile",
    "Passwords",
    "Presented",
    "Principal",
    "ProvenIdentity",
    "Rights",
    "Scope",
    "SharedMinted",
    "SharedTokens",
    "Token",
    "TokenStore",
    "Tokens",
    "TrustedPublishing",
    "certificate_end",
    "certificate_name",
    "check_hash",
    "check_member",
    "group_names",
    "hash_password",
    "is_person",
    "network",
    "new_token",
    "parse_authorization",
    "parse_grant",
    "remove_user",
    "require_bonsai",
    "require_jwt",
    "require_libraries",
    "set_password",
    "token_digest",
]
