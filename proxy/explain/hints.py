"""The report in sentences: what decides, and what to do."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.explain.report import FileReport, PageReport, Report, VerdictReport
from proxy.runtime import count_text

MAX_SENTENCES = 8
"""Sentences about verdicts, and files with sentences of their own; the report has all of them."""


def hints(report: Report) -> list[str]:
    """The reasons in the order in which they decide."""
    found = list(_about_route(report))
    if report.page:
        found += _about_page(report, report.page)
        found += _about_files(report, report.page)
    return found


def _about_route(report: Report) -> Iterator[str]:
    last = report.route[-1]
    by_rule = f" by rule {last.rule}" if last.rule else ""
    detail = f": {last.detail}" if last.detail else ""
    if last.result == "refused":
        yield f"{last.index} refuses {report.project}{by_rule}{detail}"
    elif last.result == "unavailable":
        yield f"{last.index} cannot answer now{detail}; no other index may answer instead"
    elif last.result == "unknown":
        yield f"{last.index}{detail}; request the page, and ask again"
    elif report.page is None:
        yield f"{report.index} has no project {report.project}"
        for step in report.route:
            if step.result == "absent" and (step.rule or step.detail):
                rule = f" by rule {step.rule}" if step.rule else ""
                detail = f": {step.detail}" if step.detail else ""
                asked = "does not have it" if step.kind == "mirror" else "is not asked for it"
                yield f"{step.index} {asked}{rule}{detail}"
    elif last.kind == "local":
        yield (
            f"{last.index} is a local index and has the project, so no other index is asked: "
            "versions elsewhere do not count"
        )


def _about_page(report: Report, page: PageReport) -> Iterator[str]:
    if page.status == "quarantined":
        yield f"{page.source} has put {report.project} in quarantine, so no file is offered"
    elif page.status != "active":
        yield f"{page.source} says that {report.project} is {page.status}"
    if page.state == "expired":
        yield f"the cached page is of {page.checked} and expired; the next request revalidates it"
    elif page.state == "stale":
        yield f"the cached page is of {page.checked} and stale; it is revalidated in the background"


def _about_files(report: Report, page: PageReport) -> Iterator[str]:
    if report.asked and not report.files:
        newest = f"; the newest it shows is {report.versions[-1]}" if report.versions else ""
        checked = f", last checked at {page.checked}" if page.checked else ""
        yield f"the page of {page.source}{checked}, has no {report.project} {report.asked}{newest}"
        return
    yield from list(_about_verdicts(report))[:MAX_SENTENCES]
    if report.asked:
        for file in report.files[:MAX_SENTENCES]:
            yield from _about_file(file)
    if any(file.look == "listed" and file.fits is not False for file in report.files):
        yield from _about_client(report, page)


def _about_verdicts(report: Report) -> Iterator[str]:
    """A sentence for each verdict, with all files that it is about; those of the newest first."""
    groups: dict[VerdictReport, list[str]] = {}
    for file in reversed(report.files):
        for verdict in file.verdicts:
            groups.setdefault(verdict, []).append(file.filename)
    for verdict, (first, *more) in groups.items():
        names = f"{first} and {count_text(len(more), 'other file')}" if more else first
        if verdict.exemption:
            yield f"exempt from rule {verdict.rule} ({verdict.exemption}): {names}"
        else:
            does = "would refuse" if verdict.mode == "observe" else "refuses"
            yield f"rule {verdict.rule} {does} {names}: {verdict.reason}"


def _about_file(file: FileReport) -> Iterator[str]:
    if file.yanked:
        why = f": {file.yanked}" if isinstance(file.yanked, str) else ""
        yield f"{file.filename} is yanked by its index{why}; only an exact version installs it"
    if file.fits is False:
        needs = f" (it needs Python {file.requires_python})" if file.requires_python else ""
        yield f"{file.filename} does not fit the Python and platform that are asked about{needs}"


def _about_client(report: Report, page: PageReport) -> Iterator[str]:
    yield (
        "if a client does not see a listed file: pip may reuse its page"
        + (f" until {page.fresh_until}" if page.fresh_until else "")
        + " (pip install --no-cache-dir), uv may be given exclude-newer, pip uploaded-prior-to, or "
        "both another index"
    )
