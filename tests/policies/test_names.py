from __future__ import annotations

import pytest

from proxy.errors import NoSuchProject
from proxy.model import ProjectName, normalize
from proxy.policies.names import Reserved


@pytest.mark.parametrize("asked", ["Corp_Tool", "corp.tool", "corp--tool", "CORP-x", "exact"])
def test_reserved_names_match_in_any_spelling(asked: str) -> None:
    with pytest.raises(NoSuchProject, match="reserved for private"):
        Reserved(["Corp_*", "Exact"]).admit(normalize(asked))


@pytest.mark.parametrize("asked", ["corp", "corporate", "mycorp-x", "exactly", "x"])
def test_other_names_are_admitted(asked: str) -> None:
    Reserved(["corp-*", "exact"]).admit(normalize(asked))


def test_nothing_reserved_admits_everything() -> None:
    Reserved([]).admit(ProjectName("anything"))


@pytest.mark.parametrize("pattern", ["", "a/b", "-x", "[abc]", "a b", "é*", "a\n"])
def test_what_cannot_match_a_name_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="not a project name or pattern"):
        Reserved([pattern])
