"""Whatever a source holds: it is read, or it is an ``UnreadableSource``."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from proxy.requirements.model import SourceRequirements, UnreadableSource
from proxy.requirements.sources import read_source
from proxy.requirements.sources.document import SourceDocument, read_named_project
from proxy.requirements.sources.lock_files import read_pylock
from proxy.requirements.sources.pdm_lock import read_pdm_lock
from proxy.requirements.sources.poetry_lock import read_poetry_lock
from proxy.requirements.sources.pyproject import read_pyproject
from proxy.requirements.sources.requirements_txt import read_requirements
from proxy.requirements.sources.uv_lock import read_uv_lock
from tests.support.requirement_sources import choice, document

CHOICE = choice()

READERS: dict[str, Callable[[SourceDocument], SourceRequirements]] = {
    "uv_lock": lambda each: read_uv_lock(each, CHOICE),
    "pylock": lambda each: read_pylock(each, CHOICE),
    "poetry_lock": lambda each: read_poetry_lock(each, CHOICE),
    "pdm_lock": lambda each: read_pdm_lock(each, CHOICE),
    "pyproject": read_pyproject,
    "requirements": lambda each: read_requirements(each, CHOICE, {}),
}
LOCKS = ("uv_lock", "pylock", "poetry_lock", "pdm_lock", "pyproject")

KEYS = [
    "package",
    "packages",
    "name",
    "version",
    "source",
    "registry",
    "editable",
    "directory",
    "virtual",
    "path",
    "url",
    "git",
    "hash",
    "file",
    "files",
    "metadata",
    "hashes",
    "markers",
    "marker",
    "wheels",
    "sdist",
    "dependencies",
    "optional-dependencies",
    "resolution-markers",
    "requires-python",
    "lock-version",
    "created-by",
    "vcs",
    "archive",
    "type",
    "project",
    "dynamic",
    "dependency-groups",
    "build-system",
    "requires",
    "tool",
    "uv",
    "sources",
    "include-group",
    "foo",
    "manifest",
    "requirements",
]
WORDS = [
    *KEYS,
    "1.0",
    "foo",
    "https://example.com/foo-1.0-py3-none-any.whl",
    "foo-1.0.tar.gz",
    "sha256:" + "a" * 64,
    "python_version > '3'",
    "9" * 5000,
    "(" * 500,
    "a\0b",
    "x" * 5000,
    "../..",
    ">=3.8",
    ">=" + "9" * 5000,
    f"python_full_version > '{'9' * 5000}'",
]
TEXT = st.sampled_from(WORDS) | st.text(max_size=10)
VALUES = st.recursive(
    TEXT | st.integers(-5, 5) | st.booleans() | st.datetimes() | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=25,
)
TABLES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8)

ENTRY = st.fixed_dictionaries(
    {"name": st.just("foo") | TEXT, "version": st.just("1.0") | TEXT},
    optional={
        "source": st.dictionaries(st.sampled_from(KEYS), TEXT, max_size=2),
        "marker": TEXT,
        "markers": TEXT,
        "path": TEXT,
        "files": st.lists(st.fixed_dictionaries({"file": TEXT, "hash": TEXT}), max_size=2),
        "wheels": st.lists(st.fixed_dictionaries({"url": TEXT, "hashes": TABLES}), max_size=2),
        "directory": st.fixed_dictionaries({"path": TEXT}),
        "dependencies": st.lists(st.fixed_dictionaries({"name": TEXT}), max_size=2),
    },
)
LIKELY = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "lock-version": st.just("1.0"),
        "created-by": TEXT,
        "metadata": st.just({}) | TABLES,
        "package": st.lists(ENTRY, max_size=3),
        "packages": st.lists(ENTRY, max_size=3),
    },
    optional={
        "project": st.fixed_dictionaries(
            {"name": TEXT}, optional={"dependencies": st.lists(TEXT, max_size=3)}
        ),
        "dependency-groups": st.dictionaries(TEXT, st.lists(TEXT | TABLES, max_size=3)),
        "tool": st.fixed_dictionaries({"uv": st.fixed_dictionaries({"sources": TABLES})}),
    },
)


def survives(reader: str, content: bytes) -> None:
    with suppress(UnreadableSource):
        assert isinstance(READERS[reader](document(content)), SourceRequirements)


@pytest.mark.parametrize("reader", READERS)
@given(content=st.binary(max_size=200))
def test_any_bytes(reader: str, content: bytes) -> None:
    survives(reader, content)


@pytest.mark.parametrize("reader", LOCKS)
@given(table=TABLES | LIKELY)
def test_any_tables(reader: str, table: dict[str, Any]) -> None:
    try:
        text = tomli_w.dumps(table)
    except ValueError:
        return
    survives(reader, text.encode("utf-8", "surrogatepass"))


@given(
    parts=st.lists(TEXT | st.sampled_from([" ", "\n", "\\\n", "#", "-r", "-c", "-e", "--hash="]))
)
def test_any_requirements(parts: list[str]) -> None:
    survives("requirements", "".join(parts).encode("utf-8", "surrogatepass"))


@given(text=TEXT)
def test_any_argument(text: str) -> None:
    with suppress(UnreadableSource):
        read_named_project(text)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "content", [b"a = " + b"[" * 100_000, b"a." * 2_000, b"a = " + b"9" * 9000]
)
def test_nesting_and_numbers_beyond_use(reader: str, content: bytes) -> None:
    with pytest.raises(UnreadableSource):
        READERS[reader](document(content))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["uv.lock", "pylock.toml", "hashed.txt", "pyproject.toml"])
def test_real_file_with_a_byte_changed(name: str, locked_project: Path, tmp_path: Path) -> None:
    content = (locked_project / name).read_bytes()
    chance = random.Random(name)
    for _ in range(150):
        at = chance.randrange(len(content))
        broken = content[:at] + bytes([chance.randrange(256)]) + content[at + 1 :]
        (tmp_path / name).write_bytes(broken)
        with suppress(UnreadableSource):
            read_source(str(tmp_path / name), CHOICE)


@pytest.mark.parametrize("reader", ["uv_lock", "pylock"])
def test_python_with_a_number_beyond_use_is_refused(reader: str) -> None:
    text = 'version = 1\nlock-version = "1.0"\ncreated-by = "x"\npackages = []\n'
    text += f'requires-python = ">={"9" * 5000}"\n'
    with pytest.raises(UnreadableSource):
        READERS[reader](document(text))
