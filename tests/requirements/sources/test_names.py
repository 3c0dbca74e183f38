from __future__ import annotations

import pytest
from packaging.specifiers import SpecifierSet

from proxy.model import normalize
from proxy.requirements.model import (
    LatestVersions,
    ResolverInput,
    SourceRequirements,
    UnreadableSource,
)
from proxy.requirements.sources.document import read_named_project


@pytest.mark.parametrize("text", ["requests", "requests<3,>=2", "requests[socks]==2.*"])
def test_name_is_resolved_with_all_it_needs(text: str) -> None:
    assert read_named_project(text) == SourceRequirements(
        requirements=(ResolverInput(text, f"{text}\n"),)
    )


def test_latest_names_versions_beside_the_one_that_is_resolved() -> None:
    wants = read_named_project("Foo_Bar>=2", 3)
    assert wants.latest == (LatestVersions(normalize("foo-bar"), SpecifierSet(">=2"), 3),)
    assert wants.requirements


def test_a_requirement_with_an_address_is_reported() -> None:
    (skipped,) = read_named_project("foo @ https://me:secret@example.com/x.zip").skipped
    assert str(skipped) == "foo: foo: comes from an address, not from an index"


@pytest.mark.parametrize(
    "text", ["", "-x", "a b", "a=1", "é", "a;x", "https://me:secret@example.com"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(UnreadableSource) as caught:
        read_named_project(text)
    assert "secret" not in str(caught.value)
