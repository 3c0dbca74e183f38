"""Each class that follows a contract is in the suite of that contract, the fakes of tests too."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = {
    "test_index.py": {"projects", "page", "file", "explain"},
    "test_blob_store.py": {"get", "put", "has", "present", "entries"},
    "test_records.py": {"get", "put", "put_if"},
    "test_purge_log.py": {"append", "read_new"},
}
"""Methods that only classes of the contract have together."""


@cache
def methods() -> dict[str, set[str]]:
    """The methods of each class, apart from those that the class inherits, and from protocols."""
    found: dict[str, set[str]] = {}
    for folder in ("proxy", "tests/support"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and "Protocol" not in map(
                    ast.unparse, node.bases
                ):
                    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
                    names = {each.name for each in node.body if isinstance(each, functions)}
                    found[node.name] = found.get(node.name, set()) | names
    return found


@pytest.mark.parametrize("suite", CONTRACTS)
def test_every_implementation_is_in_the_suite_of_its_contract(suite: str) -> None:
    words = set(re.findall(r"\w+", (Path(__file__).parent / suite).read_text(encoding="utf-8")))
    following = {name for name, found in methods().items() if found >= CONTRACTS[suite]}
    assert following, "the methods of the contract have other names now"
    assert following - words == set()
