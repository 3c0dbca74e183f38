"""``/-/why/NAME``: why a project, version or file is shown or not, for people."""

from __future__ import annotations

import msgspec
from aiohttp import web

from proxy.distributions import Target, parse_targets
from proxy.errors import ConfigurationError
from proxy.explain import FileReport, Question, Report, explain, hints
from proxy.face.project import project_of
from proxy.face.shell import Place, Shell
from proxy.presentation import day
from proxy.web import redirect

MAX_WANTED = 300
"""Characters of the version or file name that is asked about."""
MONTH = 30 * 86400.0
"""Seconds; an exemption that is proposed ends then."""
MAX_FILES = 200
"""Files that are shown; the report for programs has all."""


class Reason(msgspec.Struct, frozen=True):
    """A verdict, and how many files it is about."""

    rule: str
    kind: str
    mode: str
    reason: str
    until: str | None
    exemption: str | None
    files: int
    exempt: str
    """The settings that let the newest of the files pass."""


class WhyPages:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    async def page(self, place: Place) -> web.Response:
        request, project = place.request, project_of(place)
        if request.match_info["name"] != project:
            steps = "../" if "wanted" in request.match_info else ""
            rest = request.match_info.get("wanted", "")
            target = f"{steps}{project}" + (
                f"/{request.rel_url.build(path=rest).raw_path}" if rest else ""
            )
            return redirect(request, target)
        wanted = request.match_info.get("wanted", "").strip()[:MAX_WANTED]
        target_of_query, complaint = _target(request)
        question = Question(project, wanted, target_of_query)
        report = await explain(place.index, question, self._shell.around.clock())
        private = any(step.kind == "local" and step.result == "answers" for step in report.route)
        return self._shell.page(
            place,
            "why.html",
            private=private,
            report=report,
            hints=hints(report),
            reasons=_reasons(report, self._shell.around.clock() + MONTH),
            files=list(reversed(report.files))[:MAX_FILES],
            more=max(0, len(report.files) - MAX_FILES),
            complaint=complaint,
            python=request.query.get("python", "")[:20],
            platform=request.query.get("platform", "")[:100],
        )


def _target(request: web.Request) -> tuple[Target | None, str]:
    """The environment that the form names, and what is wrong with it."""
    python, platform = request.query.get("python"), request.query.get("platform")
    try:
        if python or platform:
            return parse_targets([python] if python else [], [platform] if platform else [])[0], ""
    except ConfigurationError as error:
        return None, "; ".join(map(str, error.parts))
    return None, ""


def _reasons(report: Report, until: float) -> list[Reason]:
    """All verdicts, each once, with those of the newest files first.

    ``until``: Unix time at which exemptions that are proposed end.
    """
    found: dict[tuple[str, ...], tuple[Reason, int]] = {}
    for file in reversed(report.files):
        for each in file.verdicts:
            key = (each.rule, each.mode, each.reason, each.until or "", each.exemption or "")
            values = msgspec.structs.asdict(each)
            reason, count = found.get(key) or (
                Reason(**values, files=0, exempt=_exemption(report, file, each.rule, until)),
                0,
            )
            found[key] = reason, count + 1
    return [msgspec.structs.replace(reason, files=count) for reason, count in found.values()]


def _exemption(report: Report, file: FileReport, rule: str, until: float) -> str:
    """An ``[[exempt]]`` table for that version."""
    version = f'version = "=={file.version}"\n' if file.version else ""
    return (
        f'[[exempt]]\npolicy = ["{rule}"]\nproject = "{report.project}"\n{version}'
        f'until = {day(until)}\nreason = "why this is right"'
    )
