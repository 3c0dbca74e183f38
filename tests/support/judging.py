"""Judges pages by tables as the settings have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from proxy.composition.policies import Epoch, Knowledge
from proxy.composition.policy_rules import build_policy
from proxy.config import load_settings
from proxy.indexes import Judged
from proxy.indexes.judged import judge_page
from proxy.model import File, ProjectPage, normalize
from proxy.policies import PageView, ParsedPage, Policy, parse_names

NOW = 1_780_000_000.0
"""2026-05-28T20:26:40Z."""


def judge(
    files: Iterable[File | str],
    *tables: Mapping[str, Any],
    project: str = "demo",
    now: float = NOW,
    exempt: Sequence[Mapping[str, Any]] = (),
    **page: Any,
) -> Judged:
    """A page judged by policies that are named p0, p1 and so on."""
    listed = tuple(File(each, "") if isinstance(each, str) else each for each in files)
    judged = ProjectPage(normalize(project), listed, **page)
    policies = policies_of(*tables, now=now, exempt=exempt)
    return judge_listed(judged, policies, parse_names(judged), now)


def judge_listed(
    page: ProjectPage, policies: Sequence[Policy], parsed: ParsedPage, now: float = NOW
) -> Judged:
    return judge_page("main", policies, PageView(page, now, parsed))


def policies_of(
    *tables: Mapping[str, Any], now: float = NOW, exempt: Sequence[Mapping[str, Any]] = ()
) -> list[Policy]:
    named = {f"p{number}": table for number, table in enumerate(tables)}
    settings = load_settings({"policies": named, "exempt": list(exempt)}).settings
    knowledge = Knowledge(Epoch(lambda event: None), lambda: now)
    return [build_policy(*each, settings.exempt, knowledge) for each in settings.policies.items()]


def shown(files: Iterable[File | str], *tables: Mapping[str, Any], **options: Any) -> list[str]:
    """The names of the files that are listed, and not yanked."""
    page = judge(files, *tables, **options).page
    return [file.filename for file in page.files if not file.yanked]
