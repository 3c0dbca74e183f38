"""Rule ``licence``: expressions against lists."""

from __future__ import annotations

import pytest

from proxy.policies import Licences, parse_licence
from tests.support.rule_views import refused_by, view_of, wheel

PERMISSIVE = ["MIT", "Apache-2.0", "BSD-3-Clause"]
COPYLEFT = ["GPL-3.0-only", "GPL-3.0-or-later", "AGPL-3.0-only"]


@pytest.mark.parametrize(
    ("expression", "allowed", "denied", "passes"),
    [
        ("MIT", PERMISSIVE, [], True),
        ("MIT", [], COPYLEFT, True),
        ("MIT", [], ["mit"], False),
        ("MIT", ["MIT"], ["MIT"], False),
        ("ISC", PERMISSIVE, [], False),
        ("ISC", PERMISSIVE, COPYLEFT, False),
        ("GPL-3.0-only", [], COPYLEFT, False),
        ("GPL-3.0", [], COPYLEFT, False),
        ("GPL-3.0+", [], COPYLEFT, False),
        ("GPL-3.0-or-later", [], ["GPL-3.0+"], False),
        ("GPL-3.0-or-later", [], ["GPL-3.0-only"], True),
        ("GPL-2.0", ["GPL-2.0-only"], [], True),
        ("GPL-2.0-only", ["GPL-2.0"], [], True),
        ("GPL-2.0-or-later", ["GPL-2.0-only"], [], False),
        ("Apache-2.0+", ["Apache-2.0"], [], False),
        ("MIT OR GPL-3.0-only", [], COPYLEFT, True),
        ("MIT AND GPL-3.0-only", [], COPYLEFT, False),
        ("GPL-3.0-only OR AGPL-3.0-only", [], COPYLEFT, False),
        ("MIT AND (ISC OR Apache-2.0)", PERMISSIVE, [], True),
        ("(MIT AND ISC) OR GPL-3.0-only", PERMISSIVE, [], False),
        ("MIT AND ISC OR Apache-2.0", PERMISSIVE, [], True),
        ("Apache-2.0 OR MIT AND ISC", PERMISSIVE, [], True),
        ("ISC OR MIT AND ISC", PERMISSIVE, [], False),
        ("MIT AND (Apache-2.0 AND (BSD-3-Clause OR ISC))", PERMISSIVE, [], True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", [], ["GPL-2.0-only"], False),
        (
            "GPL-2.0-only WITH Classpath-exception-2.0",
            ["GPL-2.0-only WITH Classpath-exception-2.0"],
            ["GPL-2.0-only"],
            True,
        ),
        (
            "GPL-2.0-only WITH Classpath-exception-2.0",
            ["GPL-2.0-only"],
            ["GPL-2.0-only WITH Classpath-exception-2.0"],
            False,
        ),
        ("GPL-2.0-only", ["GPL-2.0-only WITH Classpath-exception-2.0"], [], False),
        ("LicenseRef-BSD", PERMISSIVE, [], False),
        ("LicenseRef-BSD", ["BSD-2-Clause", "BSD-3-Clause", "0BSD"], [], True),
        ("LicenseRef-BSD", ["LicenseRef-BSD"], [], True),
        ("LicenseRef-BSD", [], ["0BSD"], False),
        ("LicenseRef-BSD", [], COPYLEFT, True),
        ("LicenseRef-Ours", [], ["LicenseRef-ours"], False),
    ],
)
def test_expressions(expression: str, allowed: list[str], denied: list[str], passes: bool) -> None:
    rule = Licences(lambda project: lambda digest: None, allowed=allowed, denied=denied)
    assert rule.permits(expression) is passes


@pytest.mark.parametrize("text", ["BSD", "MIT OR ISC", "(MIT)", "", "MIT AND ISC", "GPL"])
def test_a_list_has_single_licences(text: str) -> None:
    with pytest.raises(ValueError):
        parse_licence(text)


def test_each_file_is_judged_by_its_own_licence() -> None:
    known: dict[str, str] = {wheel("1.0"): "GPL-3.0-only", wheel("2.0"): "MIT", wheel("3.0"): ""}
    view = view_of("1.0", "2.0", "3.0", "4.0")
    for refuses_unknown, expected in ((False, {"1.0"}), (True, {"1.0", "3.0", "4.0"})):
        rule = Licences(
            lambda project: known.get,
            allowed=["MIT"],
            refuses_unknown=refuses_unknown,
        )
        reasons = refused_by(rule, view)
        assert reasons.keys() == expected
        assert reasons["1.0"] == f"{wheel('1.0')} has the licence GPL-3.0-only"
