"""``/project/NAME/``: the page of a project and of each of its versions.

Opening one may cost one request for its page, and one for the metadata of the version that is
shown; a program that follows links costs none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote

from aiohttp import web

from proxy.access import Scope
from proxy.distributions import Description
from proxy.errors import NoSuchProject, ProxyError, UpstreamError
from proxy.face.descriptions import Descriptions, Readmes
from proxy.face.needs import needs_of
from proxy.face.notices import notices
from proxy.face.problems import missing_page, problem_page
from proxy.face.project_view import ProjectView, view_of
from proxy.face.recent import Recent
from proxy.face.shell import ListPart, Place, Shell, part_of, see_other, sees_all
from proxy.face.snippets import Address
from proxy.indexes import Explanation
from proxy.model import ProjectName, normalize
from proxy.presentation import FileLine
from proxy.releases import ProjectRelease
from proxy.simple import relative_links
from proxy.web import plain, redirect, require

TOOLS = (("pip", "pip"), ("uv", "uv"), ("requirement", "requirement with hash"))
FILES, VERSIONS = 60, 200
"""Of them on one page: some 50 kB of HTML each."""
SORTS = {
    "name": lambda row: row.file.filename,
    "size": lambda row: -(row.file.size or 0),
    "date": lambda row: row.file.uploaded or "",
}
_ROBOT = re.compile(r"bot|crawl|spider|slurp|preview|fetch", re.IGNORECASE)
NEWEST = 10
"""Versions that are shown without a click."""


class ProjectPages:
    def __init__(
        self, shell: Shell, descriptions: Descriptions, readmes: Readmes, recent: Recent
    ) -> None:
        self._shell = shell
        self._recent = recent
        self._descriptions = descriptions
        self._readmes = readmes

    async def page(self, place: Place) -> web.Response:
        """A project, or with ``version`` in the address one version of it."""
        request = place.request
        if elsewhere := for_installers(self._shell, place) or to_normal_form(place):
            return elsewhere
        project = project_of(place)
        found, failure = await self._look(place, project, ask=is_person(request))
        if found.page is None:
            return await self._without_page(place, project, found, failure)
        now = self._shell.around.clock()
        try:
            view = await view_of(found, request.match_info.get("version", ""), now)
        except LookupError as error:
            return missing_page(self._shell, place, f"{project} has no version {error} here")
        if "version" in request.match_info and request.match_info["version"] != view.version:
            return redirect(request, f"../{quote(view.version)}/")
        return await self._show(place, view, failure)

    async def ask(self, place: Place) -> web.Response:
        """Have the page of the project fetched, then show it. The answer to a form."""
        project = project_of(place)
        await place.index.page(project)
        return see_other(place.link(f"project/{project}/"))

    async def add_slash(self, place: Place) -> web.Response:
        return redirect(place.request, place.request.rel_url.raw_path.rpartition("/")[2] + "/")

    async def _look(
        self, place: Place, project: ProjectName, *, ask: bool
    ) -> tuple[Explanation, UpstreamError | None]:
        """The explanation of the index, after a request to the upstream if that is needed and
        allowed."""
        found, failure = await place.index.explain(project), None
        now = self._shell.around.clock()
        old = found.page and found.page.fresh_until is not None and found.page.fresh_until <= now
        if ask and (old or found.result == "unknown"):
            try:
                await place.index.page(project)
            except UpstreamError as error:
                failure = error
            except NoSuchProject:
                pass  # the explanation says so
            found = await place.index.explain(project)
        return found, failure

    async def _without_page(
        self, place: Place, project: ProjectName, found: Explanation, failure: UpstreamError | None
    ) -> web.Response:
        if failure:
            return problem_page(self._shell, place, failure, project, found.steps)
        if found.result == "unknown" and not is_person(place.request):
            return self._shell.page(place, "unheld.html", project=project)
        try:
            await place.index.page(project)
        except ProxyError as error:
            return problem_page(self._shell, place, error, project, found.steps)
        return see_other(place.link(f"project/{project}/"))  # it has come meanwhile

    async def _show(
        self, place: Place, view: ProjectView, failure: UpstreamError | None
    ) -> web.Response:
        description = await self._describe(place, view)
        readme = await self._readmes.html(description) if description.text else ""
        versions = list(view.versions())
        return self._shell.page(
            place,
            "project.html",
            200 if view.is_offered or not view.releases else 403,  # a rule hides all of it
            private=view.private,
            view=view,
            description=description,
            readme=readme,
            needs=needs_of(description.requires),
            tool=_choice(place.request.query.get("tool", ""), TOOLS),
            tools=TOOLS,
            commands=self._commands(place, view),
            files=self._lines(place, view),
            sort=place.request.query.get("sort", ""),
            count=len(versions),
            versions=part_of(place, versions, VERSIONS, "versions")
            if "versions" in place.request.query
            else ListPart(versions[:NEWEST], 1, range(0)),
            newest=NEWEST,
            one="version" in place.request.match_info,
            notices=notices(view, str(failure) if failure else self._trouble(place, view)),
        )

    def _trouble(self, place: Place, view: ProjectView) -> str:
        """Why a page is old: an index answers from what is stored, without waiting."""
        last = self._recent.trouble()
        if last is None or view.state not in ("stale", "expired"):
            return ""
        return last.text if sees_all(place) else "An upstream fails"

    async def _describe(self, place: Place, view: ProjectView) -> Description:
        fetch = view.private or is_person(place.request)
        return await self._descriptions.of(place.index, view, fetch=fetch) or Description()

    def _commands(self, place: Place, view: ProjectView) -> dict[str, str]:
        at = Address(self._shell.index_address(place))
        exact = "version" in place.request.match_info or view.version != view.latest
        name = f"{view.project}=={view.version}" if exact and view.version else view.project
        return {
            "pip": f"pip install --index-url {at.url}{at.trust} {name}",
            "uv": f"uv pip install --index-url {at.url} {name}",
            "requirement": _requirement(view.project, view.release),
        }

    def _lines(self, place: Place, view: ProjectView) -> ListPart[FileLine]:
        """The files of the asked part."""
        rows = view.files
        if key := SORTS.get(place.request.query.get("sort", "")):
            rows = sorted(rows, key=key)
        part = part_of(place, rows, FILES)
        links = relative_links(view.project, [row.file for row in part.rows])
        offline = self._shell.around.offline
        lines = [
            row.line(
                place.up + link.removeprefix("../../")
                if row.shown and (row.held or not offline)
                else "",
                private=view.private,
            )
            for row, link in zip(part.rows, links, strict=True)
        ]
        return ListPart(lines, part.number, part.numbers)


def _requirement(project: ProjectName, release: ProjectRelease | None) -> str:
    if release is None or not release.version:
        return project
    digests = [file.sha256 for file in release.files if file.sha256]
    lines = [f"{project}=={release.version}", *(f"--hash=sha256:{each}" for each in digests)]
    return " \\\n    ".join(lines)


def _choice(wanted: str, choices: Sequence[tuple[str, str]]) -> str:
    return wanted if wanted in dict(choices) else choices[0][0]


def project_of(place: Place) -> ProjectName:
    """The project that the address names.

    Raises ``NoSuchProject`` if that is no name, and as ``require`` without the right to read it.
    """
    name = place.request.match_info["name"]
    try:
        project = normalize(name)
    except ValueError:
        raise NoSuchProject(name[:100], "that is not a project name") from None
    require(place.request, Scope.READ, place.index.name, project)
    return project


def to_normal_form(place: Place) -> web.Response | None:
    """A redirect if the name is not normalized (PEP 503)."""
    request, project = place.request, project_of(place)
    name = request.match_info["name"]
    if name == project:
        return None
    tail = request.rel_url.raw_path.split("/project/", 1)[-1].partition("/")[2]
    return redirect(request, f"{place.up}project/{project}/{tail}")


def is_person(request: web.Request) -> bool:
    """Whether a person has opened the page, and not a program that follows or prefetches links."""
    purpose = request.headers.get("Sec-Purpose", "") + request.headers.get("Purpose", "")
    return (
        request.method == "GET"
        and "prefetch" not in purpose
        and "text/html" in request.headers.get("Accept", "")
        and not _ROBOT.search(request.headers.get("User-Agent", ""))
    )


def for_installers(shell: Shell, place: Place) -> web.Response | None:
    """406 for an installer that has the wrong address: no link of a README may become a file."""
    if "vnd.pypi.simple" not in place.request.headers.get("Accept", ""):
        return None
    return plain(406, f"these pages are for people; the index is at {shell.index_address(place)}")
