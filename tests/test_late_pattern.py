"""Regular expressions that are compiled when they are first used."""

from __future__ import annotations

import re

import pytest

from proxy import late_pattern


def test_a_late_pattern_is_compiled_by_its_first_use() -> None:
    wrong = late_pattern("(")
    with pytest.raises(re.error):
        wrong.match("")


def test_a_late_pattern_has_the_methods_and_the_flags_of_a_pattern() -> None:
    pattern = late_pattern("a(b+)", re.IGNORECASE)
    for _ in range(2):
        found = pattern.fullmatch("ABB")
        assert found and found[1] == "BB"
    assert pattern.sub(r"\1", "abab") == "bb"
    assert pattern.pattern == "a(b+)"
    assert late_pattern(b"a").search(b"ba")
