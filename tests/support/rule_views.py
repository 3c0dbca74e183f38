"""Pages to judge: versions and facts in a few words, without a server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from proxy.advisories import Advisories
from proxy.advisories.osv import read_record
from proxy.model import File, ProjectPage, normalize
from proxy.policies import PageView, Rule, parse_names

NOW = 1_800_000_000.0


def view_of(
    *versions: str,
    project: str = "aaa",
    now: float = NOW,
    refused: Iterable[str] = (),
    url: str = "",
    files: Mapping[str, Mapping[str, Any]] | None = None,
) -> PageView:
    """A page with a wheel of each version. ``files``: further facts by version."""
    facts = files or {}
    page = ProjectPage(
        normalize(project),
        tuple(File(wheel(each, project), url, **facts.get(each, {})) for each in versions),
        source="world",
    )
    positions = {versions.index(each) for each in refused}
    return PageView(page, now, parse_names(page), frozenset(positions))


def wheel(version: str, project: str = "aaa") -> str:
    return f"{project}-{version}-py3-none-any.whl"


def refused_by(rule: Rule, view: PageView) -> dict[str, str]:
    """The reasons by version of what the rule refuses."""
    return {
        view.parsed.releases[view.parsed.files[position].release].text: finding.reason
        for finding in rule.judge(view)
        if finding.refuses
        for position in finding.files
    }


def advisories_of(*records: Mapping[str, Any]) -> Advisories:
    return Advisories.of([read_record(json.dumps(each).encode()) for each in records])
