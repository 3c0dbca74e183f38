"""The kinds deny and allow: which files of a page pass."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import Denied
from proxy.model import File, normalize
from tests.support.judging import judge, policies_of, shown

WHEEL, SDIST = "demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz"
EARLY, LOCAL = "demo-1.0rc1-py3-none-any.whl", "demo-1.0+cu121-py3-none-any.whl"
NEXT, ODD = "demo-2.0.tar.gz", "demo-banana.tar.gz"
FILES = [EARLY, WHEEL, SDIST, LOCAL, NEXT, ODD]
DIGEST = "0" * 64


def versions(*specifiers: str) -> dict[str, Any]:
    return {"versions": {"Demo": list(specifiers)}}


@pytest.mark.parametrize(
    ("criteria", "named"),
    [
        ({"projects": ["demo"]}, FILES),
        ({"projects": ["DE*"]}, FILES),
        ({"projects": ["other"]}, []),
        (versions("==1.0"), [WHEEL, SDIST, LOCAL]),
        (versions("===1.0"), [WHEEL, SDIST]),
        (versions("==1.0rc1"), [EARLY]),
        (versions("<1.0"), []),  # PEP 440: a pre-release of 1.0 is not less than 1.0
        (versions("<=1.0rc1"), [EARLY]),
        (versions(">=1.0a0"), [EARLY, WHEEL, SDIST, LOCAL, NEXT]),
        (versions("==1.0+cu121"), [LOCAL]),
        (versions("==1.0rc1", ">=2,<2.3"), [EARLY, NEXT]),
        ({"versions": {"d?mo": ">=2"}}, [NEXT]),
        ({"versions": {"other": ">=2"}}, []),
        ({"versions": {"demo-": ">=2"}}, []),
        ({"filenames": ["*.TAR.gz"]}, [SDIST, NEXT, ODD]),
        ({"filenames": ["demo-1.0.tar.gz"]}, [SDIST]),
        ({"filenames": ["DEMO-[12].0*", "x"]}, [EARLY, WHEEL, SDIST, LOCAL, NEXT]),
        ({"filenames": ["*"]}, FILES),
        ({"filenames": ["demo-1.0-*"], "projects": ["other"]}, [WHEEL]),
    ],
)
def test_what_a_list_names_is_refused_by_deny_and_passes_allow(
    criteria: dict[str, Any], named: list[str]
) -> None:
    about = criteria.get("versions", {}).keys() - {"other", "demo-"}
    odd = {ODD} if about else set()
    refused = set(FILES) - set(shown(FILES, {"kind": "deny", **criteria}))
    assert refused == set(named) | odd, "a version that cannot be read counts as denied"
    assert shown(FILES, {"kind": "allow", **criteria}) == named, "and is not allowed"


@pytest.mark.parametrize("digest", [f"sha256:{DIGEST}", DIGEST, f"SHA256:{DIGEST}"])
@pytest.mark.parametrize("suffix", ["", ".metadata"])
def test_a_digest_names_one_file_and_its_siblings(digest: str, suffix: str) -> None:
    listed = [File(WHEEL, "", {"sha256": DIGEST}), File(SDIST, "", {"sha256": "1" * 64})]
    judged = judge(listed, {"kind": "deny", "digests": [digest]})
    assert set(judged.refusals) == {WHEEL}
    with pytest.raises(Denied, match=f"Refused by rule p0: {WHEEL} is denied"):
        judged.check(WHEEL + suffix)
    assert shown(listed, {"kind": "allow", "digests": [digest]}) == [WHEEL]


@pytest.mark.parametrize("name", [f"{WHEEL}.metadata", f"{WHEEL}.metadata.provenance"])
def test_a_sibling_that_is_listed_as_a_file_is_named_with_its_distribution(name: str) -> None:
    for criteria in (versions("==1.0"), {"filenames": [WHEEL]}):
        assert shown([name, NEXT], {"kind": "deny", **criteria}) == [NEXT]


def test_excepted_projects_are_on_no_list() -> None:
    for kind in ("deny", "allow"):
        table = {"kind": kind, "projects": ["d*"], "except_projects": ["demo"]}
        assert shown(FILES, table) == FILES


def test_a_list_refuses_projects_before_any_question_to_upstream() -> None:
    other = normalize("other")
    for table, refused in (
        ({"kind": "deny", "projects": ["oth*"], "show": "hide"}, True),
        ({"kind": "deny", "projects": ["oth*"]}, False),  # the page is shown, all yanked
        ({"kind": "deny", "versions": {"other": ">0"}, "show": "hide"}, False),
        ({"kind": "allow", "projects": ["demo"]}, True),
        ({"kind": "allow", "projects": ["demo"], "mode": "observe"}, False),
        ({"kind": "allow", "versions": {"other": "==1"}}, False),
        ({"kind": "allow", "digests": [DIGEST]}, False),  # perhaps of a file of the project
    ):
        (policy,) = policies_of(table)
        if refused:
            with pytest.raises(Denied, match="Refused by rule p0: other is"):
                policy.admit(other)
        else:
            policy.admit(other)


def test_the_reason_of_the_table_is_added_and_upstream_yanks_are_kept() -> None:
    files = [File(WHEEL, "", yanked="broken"), File(SDIST, "", yanked=True), File(NEXT, "")]
    judged = judge(files, {"kind": "deny", "projects": ["demo"], "reason": "see wiki/banned"})
    said = "refused by rule p0: demo is denied; see wiki/banned"
    assert [file.yanked for file in judged.page.files] == [
        f"{said} (yanked upstream: broken)",
        f"{said} (yanked upstream)",
        said,
    ]
