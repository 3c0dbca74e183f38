"""Pages and their parts for the tests of this package, made up and made at random."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from hypothesis import strategies as st

from proxy.model import File, ProjectPage, ProjectStatus, normalize
from proxy.simple import parse_page

VENDOR_JSON = "application/vnd.pypi.simple.v1+json"
PROJECT = normalize("holy-grail")
URL = "https://index.example.org/simple/holy-grail/"
FILES = "https://files.example.org/packages"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
METADATA_SHA256 = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
WHEEL = "holy_grail-1.0-py3-none-any.whl"

GRAIL = File(
    "holy_grail-1.1+corp.2-py3-none-any.whl",
    f"{FILES}/9f/86/holy_grail-1.1+corp.2-py3-none-any.whl",
    {"sha256": SHA256},
    1337,
    ">=3.9,<4",
    "2026-10-01T12:30:00.000000Z",
    'bad build <1.1 & "wrong" tag',
    {"sha256": METADATA_SHA256},
    "https://index.example.org/integrity/holy-grail/provenance",
)
PAGE = ProjectPage(
    PROJECT,
    (GRAIL,),
    ("1.0", "1.1+corp.2"),
    ProjectStatus("deprecated", 'use the "other" grail'),
    meta={"_last-serial": 4711},
)


def read_json(page: Any, content_type: str = VENDOR_JSON, url: str = URL) -> ProjectPage:
    return parse_page(PROJECT, json.dumps(page).encode(), content_type, url, "upstream")


def read_html(body: str, content_type: str = "text/html", url: str = URL) -> ProjectPage:
    return parse_page(PROJECT, body.encode(), content_type, url, "upstream")


def read_file(**keys: Any) -> File:
    """The one file of a JSON page, with these keys (``_`` for ``-``) beside the needed ones."""
    item = {"filename": WHEEL, "url": f"{FILES}/{WHEEL}", "hashes": {"sha256": SHA256}}
    item |= {key.replace("_", "-"): value for key, value in keys.items()}
    (file,) = read_json({"meta": {"api-version": "1.0"}, "files": [item]}).files
    return file


HEX64 = st.text("0123456789abcdef", min_size=64, max_size=64)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)
VERSIONS = st.from_regex(r"[0-9]\.[0-9]{1,2}(\+[a-z]{1,3})?", fullmatch=True)
FILENAMES = st.builds(
    lambda version, form: form.format(version),
    VERSIONS,
    st.sampled_from(
        ["holy_grail-{}-py3-none-any.whl", "holy-grail-{}.tar.gz", "Holy.Grail-{}.zip"]
    ),
)
HASHES = st.fixed_dictionaries(
    {}, optional={"sha256": HEX64, "blake2b": HEX64, "md5": HEX64.map(lambda text: text[:32])}
)
_FIRST, _LAST = datetime.fromisoformat("0002-01-01"), datetime.fromisoformat("9998-12-31")
TIMES = st.datetimes(_FIRST, _LAST).map(lambda time: f"{time.isoformat()}Z")
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    st.lists,
    max_leaves=4,
)
EXTRA = st.dictionaries(st.sampled_from(["x-one", "x-two", "_three"]), JSON_VALUES, max_size=2)


@st.composite
def files(draw: st.DrawFn, *, with_extra: bool) -> File:
    name = draw(FILENAMES)
    wheel = name.endswith(".whl")
    metadata = st.booleans() | HEX64.map(lambda digits: {"sha256": digits})
    return File(
        name,
        f"{FILES}/{name}",
        draw(HASHES),
        draw(st.none() | st.integers(0, 2**63 - 1)),
        draw(st.none() | TEXTS),
        draw(st.none() | TIMES),
        draw(st.booleans() | TEXTS),
        draw(metadata) if wheel else False,
        draw(st.none() | st.just(f"{FILES}/{name}.provenance")),
        draw(EXTRA) if with_extra else {},
        draw(st.sampled_from([(), (".asc",)])),
    )


@st.composite
def pages(draw: st.DrawFn, *, with_extra: bool) -> ProjectPage:
    """Pages that say nothing which their form could not carry."""
    statuses = st.sampled_from(["active", "archived", "deprecated"])
    listed = st.lists(files(with_extra=with_extra), max_size=4, unique_by=lambda f: f.filename)
    return ProjectPage(
        PROJECT,
        tuple(draw(listed)),
        tuple(draw(st.lists(VERSIONS, unique=True, max_size=4))),
        draw(st.none() | st.builds(ProjectStatus, statuses, st.none() | TEXTS)),
        meta=draw(EXTRA) if with_extra else {},
        extra=draw(EXTRA) if with_extra else {},
    )
