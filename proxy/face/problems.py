"""Pages for errors: what is wrong, which index is sure of it, and the way on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from proxy.errors import (
    Denied,
    IndexUnavailable,
    NoRight,
    NotAuthenticated,
    NotFound,
    ProxyError,
    UpstreamError,
)
from proxy.face.shell import Place, Shell
from proxy.indexes import Step
from proxy.runtime import timestamp_text
from proxy.web import REQUEST_STATE, response_for, status_of

_TITLES: dict[type[Exception], str] = {
    Denied: "Refused by a rule",
    NotAuthenticated: "Sign in",
    NoRight: "You may not see this",
    NotFound: "Not found",
    IndexUnavailable: "Not available now",
    UpstreamError: "The upstream does not answer",
}
_DEFAULTS: dict[str, Any] = {"project": "", "retry": False, "steps": (), "who": ""}
"""Of ``problem.html``. ``who``: the principal that lacks a right."""


def problem_page(
    shell: Shell,
    place: Place,
    error: Exception,
    project: str = "",
    steps: Sequence[Step] = (),
) -> web.Response:
    """The error as a page. Its status is the one that installers get for the same error.

    ``steps``: the way of the project through the indexes, which says which of them is sure.
    """
    if not isinstance(error, ProxyError):
        return _failure(shell, place)
    status = status_of(error)
    title = next((text for kind, text in _TITLES.items() if isinstance(error, kind)), "An error")
    response = _page(
        *(shell, place, status, title, str(error)),
        project=project or getattr(error, "project", ""),
        retry=status in (502, 503, 504),
        steps=steps,
        who=_principal(place) if isinstance(error, NoRight) else "",
    )
    for name in ("Retry-After", "WWW-Authenticate"):
        if value := response_for(error).headers.get(name):
            response.headers[name] = value
    return response


def _principal(place: Place) -> str:
    principal = place.request[REQUEST_STATE].principal
    return principal.name if principal else ""


def missing_page(shell: Shell, place: Place, sentence: str) -> web.Response:
    """404 for what is no project, such as an unknown version."""
    return _page(shell, place, 404, "Not found", sentence)


def _failure(shell: Shell, place: Place) -> web.Response:
    """An error of ours: the log has the rest, under the time that is shown."""
    sentence = f"The log of the server says more, at {timestamp_text(shell.around.clock())}."
    return _page(shell, place, 500, "This page could not be made", sentence, retry=True)


def _page(
    shell: Shell, place: Place, status: int, title: str, sentence: str, **more: Any
) -> web.Response:
    values = _DEFAULTS | more
    return shell.page(
        place, "problem.html", status, private=True, title=title, sentence=sentence, **values
    )
