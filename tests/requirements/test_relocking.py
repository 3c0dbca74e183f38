"""Lock files that are moved to another index: the addresses change, and nothing else."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from proxy.errors import ConfigurationError
from proxy.requirements import NewIndex, UnreadableSource, relock
from tests.support.locked_project import locked_project
from tests.support.requirement_sources import document

__all__ = ["locked_project"]

NEW = "https://new.example.com/team/simple/"
DIGEST = "0123456789abcdef" * 4
WHEEL = "foo-1.0+x-py3-none-any.whl"
MOVED = f"https://new.example.com/team/files/foo/{DIGEST}/foo-1.0%2Bx-py3-none-any.whl"
_ADDRESS = re.compile(r"https?://[^\"'\s\\#]+")


def moved(text: str, name: str, *former: str, to: str = NEW) -> tuple[str, NewIndex]:
    index = NewIndex(to, former)
    _, content = relock(Path(name), document(text, name=name), index)
    return content.decode(), index


@pytest.mark.parametrize("name", ["uv.lock", "pylock.toml", "pylock.pip.toml", "hashed.txt"])
def test_locks_of_real_tools_lead_to_the_new_index_alone(locked_project: Path, name: str) -> None:
    text = (locked_project / name).read_text()
    found, index = moved(text, name)
    assert index.left == {}
    addresses = set(_ADDRESS.findall(found))
    assert addresses and all(each.startswith("https://new.example.com/") for each in addresses)
    digests = re.compile(r"\b[0-9a-f]{64}\b")
    before = digests.findall(_ADDRESS.sub("", text))
    assert digests.findall(_ADDRESS.sub("", found)) == before
    again, _ = moved(found, name)
    assert again == found


UV = f"""\
version = 1
# a comment: https://old.example.com/simple
[[package]]
name = "foo"
version = "1.0"
source = {{ registry = "https://old.example.com/simple" }}
sdist = {{ url = "https://f.example.com/foo-1.0.tar.gz", hash = "sha256:{DIGEST}", size = 9 }}
wheels = [
    {{ url = "https://f.example.com/a/foo-1.0%2Bx-py3-none-any.whl", hash = "sha256:{DIGEST}" }},
]

[package.metadata]
requires-dist = [{{ name = "bar", index = "https://old.example.com/simple" }}]

[[package]]
name = "bar"
version = "1.0"
source = {{ registry = "https://other.example.com/simple/" }}
wheels = [ {{ url = 'https://f.example.com/bar-1.0-py3-none-any.whl', hash = "sha256:{DIGEST}" }} ]

[[package]]
name = "near"
source = {{ url = "https://f.example.com/near-1.0.tar.gz" }}
sdist = {{ hash = "sha256:{DIGEST}" }}

[[package]]
name = "local"
source = {{ registry = "../dist" }}
wheels = [ {{ path = "local-1.0-py3-none-any.whl" }} ]
"""


def test_uv_keeps_everything_but_the_addresses_of_indexes() -> None:
    found, index = moved(UV, "uv.lock")
    root = "https://new.example.com/team"
    expected = UV.replace(
        'registry = "https://old.example.com/simple"', f'registry = "{root}/simple"'
    )
    expected = expected.replace(
        'index = "https://old.example.com/simple"', f'index = "{root}/simple"'
    )
    expected = expected.replace("https://other.example.com/simple/", f"{root}/simple/")
    expected = expected.replace(
        "https://f.example.com/foo-1.0.tar.gz", f"{root}/files/foo/{DIGEST}/foo-1.0.tar.gz"
    )
    expected = expected.replace("https://f.example.com/a/foo-1.0%2Bx-py3-none-any.whl", MOVED)
    expected = expected.replace(
        "'https://f.example.com/bar-1.0-py3-none-any.whl'",
        f'"{root}/files/bar/{DIGEST}/bar-1.0-py3-none-any.whl"',
    )
    assert found == expected
    assert dict(index.replaced) == {
        "https://old.example.com/simple": 1,
        "https://other.example.com/simple/": 1,
    }


def test_only_the_named_indexes_are_replaced() -> None:
    found, _ = moved(UV, "uv.lock", "https://OLD.example.com/simple/")
    assert "https://other.example.com/simple/" in found
    assert "https://f.example.com/bar-1.0-py3-none-any.whl" in found
    assert MOVED in found


def test_a_file_without_sha256_keeps_the_path_that_this_server_answers_too() -> None:
    path = "packages/aa/bb/cc/foo-1.0-py3-none-any.whl"
    text = UV.replace("foo-1.0.tar.gz", "packages/source/f/foo/foo-1.0.tar.gz").replace(
        f'hash = "sha256:{DIGEST}", size', 'hash = "md5:00", size'
    )
    found, index = moved(text, "uv.lock")
    address = "https://new.example.com/team/packages/source/f/foo/foo-1.0.tar.gz"
    assert address in found
    text = UV.replace(f'hash = "sha256:{DIGEST}", size', 'hash = "md5:00", size')
    found, index = moved(text, "uv.lock")
    assert "https://f.example.com/foo-1.0.tar.gz" in found
    assert list(index.left.values()) == ["the lock file has no sha256 of it"]
    assert path not in found


POETRY = """\
[[package]]
name = "foo"
version = "1.0"
files = [{file = "foo-1.0.tar.gz", hash = "sha256:00"}]

[package.source]
type = "legacy"
url = "https://old.example.com/simple"
reference = "old"

[[package]]
name = "bar"
version = "1.0"

[package.source]
type = "git"
url = "https://git.example.com/bar"

[metadata]
lock-version = "2.1"
content-hash = "00"
"""
PDM = f"""\
[metadata]
lock_version = "4.5.0"

[[package]]
name = "foo"
version = "1.0+x"
files = [
    {{url = "https://f.example.com/foo-1.0%2Bx-py3-none-any.whl", hash = "sha256:{DIGEST}"}},
    {{file = "foo-1.0.tar.gz", hash = "sha256:{DIGEST}"}},
]

[[package]]
name = "near"
version = "1.0"
url = "https://f.example.com/near-1.0-py3-none-any.whl"
files = [{{url = "https://f.example.com/near-1.0-py3-none-any.whl", hash = "sha256:{DIGEST}"}}]
"""


def test_poetry_and_pdm() -> None:
    found, _ = moved(POETRY, "poetry.lock")
    assert found == POETRY.replace("https://old.example.com/", "https://new.example.com/team/")
    found, _ = moved(PDM, "pdm.lock")
    assert found == PDM.replace("https://f.example.com/foo-1.0%2Bx-py3-none-any.whl", MOVED)


REQUIREMENTS = f"""\
# by hand\r
-i https://old.example.com/simple\r
--extra-index-url https://extra.example.com/simple\r
foo==1.0 \\\r
    --hash=sha256:{DIGEST}\r
bar @ https://f.example.com/packages/a/b/c/bar-1.0-py3-none-any.whl \\\r
    --hash=sha256:{DIGEST}\r
https://f.example.com/files/baz/x/baz-1.0.tar.gz#sha256={DIGEST} ; python_version > "3"\r
git+https://git.example.com/x.git\r
far @ https://code.example.com/far-1.0.zip\r
"""


def test_requirements() -> None:
    found, index = moved(REQUIREMENTS, "requirements.txt")
    root = "https://new.example.com/team"
    expected = REQUIREMENTS.replace("https://old.example.com/", f"{root}/")
    expected = expected.replace(
        "https://f.example.com/packages/a/b/c/", f"{root}/files/bar/{DIGEST}/"
    )
    expected = expected.replace("https://f.example.com/files/baz/x/", f"{root}/files/baz/{DIGEST}/")
    assert found == expected
    assert list(index.left) == [
        "https://extra.example.com/simple",
        "https://code.example.com/far-1.0.zip",
    ]


def test_requirements_without_an_index_get_one() -> None:
    found, _ = moved("foo==1.0 --hash=sha256:00\n", "requirements.txt")
    assert found == f"--index-url {NEW}\nfoo==1.0 --hash=sha256:00\n"


@pytest.mark.parametrize(
    "to",
    [
        "new.example.com/simple/",
        "ftp://new.example.com/simple/",
        "https://new.example.com/",
        "https://user:secret@new.example.com/simple/",
        "https://new.example.com/simple/?x",
        "https://new.example.com/simple/#x",
        "https://[::1/simple/",
        "https:///simple/",
        "https://new.example.com/\n/simple/",
    ],
)
def test_an_address_that_is_no_index_is_refused(to: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        NewIndex(to)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("uv.lock", "version = 1\n[[package]]\nname = 'foo'\n"),
        ("uv.lock", "version = 1\npackage = 3"),
        ("uv.lock", "version = 1\n[[package]]\nname = 'f'\nsource = 'x'"),
        ("pylock.toml", "packages = [1]"),
        ("pdm.lock", "[[package]]\nfiles = [2]"),
        ("poetry.lock", "[[package]]\n[package.source]\ntype = 'legacy'"),
        ("uv.lock", "this is no TOML"),
        ("uv.lock", UV.replace('name = "foo"', 'name = "../x"')),
        ("pyproject.toml", "[project]\nname = 'x'"),
    ],
)
def test_what_is_no_lock_file_is_refused(name: str, text: str) -> None:
    with pytest.raises(UnreadableSource):
        moved(text, name)


def test_an_address_in_an_unusual_spelling_is_refused_and_not_half_changed() -> None:
    text = UV.replace(
        "https://f.example.com/foo-1.0.tar.gz", "https:\\u002f/f.example.com/foo-1.0.tar.gz"
    )
    assert tomllib.loads(text)
    with pytest.raises(UnreadableSource):
        moved(text, "uv.lock")


@pytest.mark.parametrize("name", ["foo-1.0.exe/..", "baz-1.0-py3-none-any.whl", "%2e%2e", "x"])
def test_a_file_of_another_project_stays(name: str) -> None:
    found, index = moved(UV.replace("foo-1.0.tar.gz", name), "uv.lock")
    assert f"https://f.example.com/{name}" in found
    assert list(index.left.values()) == ["its name is not that of a file of foo"]
