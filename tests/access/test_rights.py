"""The meaning of grants, and of their union."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.access import Grant, GrantTable, Principal, Rights, Scope, check_member, parse_grant
from proxy.model import ProjectName

AAA, ACME = ProjectName("aaa"), ProjectName("acme-tool")
GRANTS = [
    *("read:main", "read:main:acme-*", "read:team:aaa", "read:*", "upload:team:acme-tool"),
    *("admin", "metrics", "audit", "refresh", "read:*:acme-*"),
]


@pytest.mark.parametrize("text", GRANTS)
def test_a_grant_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_grant(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "read",
        "upload",
        "write:main",
        "read:",
        "read:main:",
        "read::x",
        "admin:main",
        "read:a:b:c",
        "read:main:ä",
        "READ:main",
    ],
)
def test_what_is_no_grant_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"(?s)."):
        parse_grant(text)


def test_grants_add_up() -> None:
    rights = Rights(map(parse_grant, ["read:main:acme-*", "read:team", "metrics"]))
    assert rights.allows(Scope.READ, "main", ACME)
    assert not rights.allows(Scope.READ, "main", AAA)
    assert rights.allows(Scope.READ, "main")
    assert not rights.allows_all(Scope.READ, "main")
    assert rights.allows_all(Scope.READ, "team")
    assert not rights.allows(Scope.READ, "other")
    assert not rights.allows(Scope.UPLOAD, "main", ACME)
    assert rights.allows(Scope.METRICS)
    assert not rights.allows(Scope.ADMIN)


def test_patterns_match_normalized_names() -> None:
    rights = Rights([parse_grant("read:main:Acme_*")])
    assert rights.allows(Scope.READ, "main", ACME)


@given(st.lists(st.sampled_from(GRANTS)), st.lists(st.sampled_from(GRANTS)))
def test_equal_rights_have_equal_classes_and_others_have_others(
    one: list[str], other: list[str]
) -> None:
    first, second = Rights(map(parse_grant, one)), Rights(map(parse_grant, other))
    assert (first.tag == second.tag) is (set(one) == set(other))


@given(st.lists(st.sampled_from(GRANTS)), st.lists(st.sampled_from(GRANTS)))
def test_a_union_allows_what_one_of_its_parts_allows(one: list[str], other: list[str]) -> None:
    parts = [Rights(map(parse_grant, each)) for each in (one, other)]
    union = Rights(parts[0].grants | parts[1].grants)
    for scope in Scope:
        for index in ("main", "team", "other"):
            for project in (None, AAA, ACME):
                allowed = [each.allows(scope, index, project) for each in parts]
                assert union.allows(scope, index, project) is any(allowed)


def test_names_groups_and_everyone_get_rights() -> None:
    table = GrantTable(
        {
            "*": [parse_grant("read:main")],
            "alice": [parse_grant("admin")],
            "@dev": [parse_grant("upload:team")],
            "@ldap group": [parse_grant("audit")],
            "ci": [parse_grant("read:fast")],
            "@ci": [parse_grant("metrics")],
        },
        {"dev": ["alice", "token:ci"], "ci": ["oidc:github"]},
    )

    def granted(name: str, *groups: str) -> set[str]:
        principal = Principal(name, "password", frozenset(groups))
        return set(map(str, table.rights_of(principal).grants))

    assert granted("alice") == {"read:main", "admin", "upload:team"}
    assert granted("token:ci") == {"read:main", "upload:team"}
    assert granted("bob", "ldap group") == {"read:main", "audit"}
    assert granted("dev") == {"read:main"}
    assert granted("oidc:github") == {"read:main", "read:fast", "metrics"}
    assert granted("ci") == {"read:main"}  # the group of that name, and no user
    more = table.rights_of(Principal("x", "token"), [Grant(Scope.METRICS)])
    assert set(map(str, more.grants)) == {"read:main", "metrics"}


@pytest.mark.parametrize(
    "name", ["alice", "alice@example.com", "spiffe://x/y", "token:ci", "oidc:gh"]
)
def test_names_of_principals(name: str) -> None:
    assert check_member(name) == name


@pytest.mark.parametrize(
    "name", ["", "*", "@dev", ":x", "token:", "oidc:a b", "a\nb", " a", "\udcff"]
)
def test_names_that_no_principal_has(name: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        check_member(name)
