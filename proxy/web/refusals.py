"""Refusals of policies, as clients see them and as events.

pip and uv print the reason phrase of an error and nothing else, so the reason is in it. HTTP/2 has
no phrase, and some servers in front drop it; then the body and the header say the same.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

import msgspec
from aiohttp import web

from proxy.errors import Denied
from proxy.events import AnswerServed, Event, FileRefused, Observer
from proxy.runtime import BoundedDict
from proxy.web.errors import phrase, plain
from proxy.web.home import origin_of

HOUR = 3600.0
"""Seconds."""
MAX_NOTED = 20_000
"""Observed refusals of which it is known when they were last announced."""

log = logging.getLogger(__name__)

_FIRST_SEGMENTS = frozenset(("simple", "files", "packages", "pypi", "+explain"))
"""Of the addresses below the root of an index."""


class Contact(msgspec.Struct, frozen=True):
    """The help that a refusal names."""

    base: Callable[[], str] | None = None
    """The address of the server, without a slash at its end; None: that of the request."""
    prefix: str = ""
    """A path that the address contains already."""
    help: str = ""
    """A text of the operator, such as "ask #python in chat"."""


CONTACT: web.AppKey[Contact] = web.AppKey("contact")


def refused(request: web.Request, error: Denied) -> web.Response:
    """403 with the reason in the phrase and the body; a problem document (RFC 9457) as asked."""
    sentence, contact = str(error), request.app[CONTACT]
    explained = _explained_at(request, error)
    if "json" in request.headers.get("Accept", ""):
        response = plain(403, "")
        response.text = json.dumps(
            {
                "title": "Refused by a rule",
                "status": 403,
                "detail": sentence,
                "rule": error.rule,
                "explained-at": explained,
                **({"help": contact.help} if contact.help else {}),
            }
        )
        response.content_type = "application/problem+json"
    else:
        lines = [sentence, f"More about it: {explained}", *filter(None, [contact.help])]
        response = plain(403, "\n".join(lines))
    response.headers["Waystation-Rule"] = error.rule
    response.set_status(403, phrase(sentence))
    return response


def _explained_at(request: web.Request, error: Denied) -> str:
    parts = [error.project, *filter(None, [error.filename])]
    names = "/".join(request.rel_url.build(path=each).raw_path for each in parts)
    return f"{index_address(request)}/+explain/{names}"


def index_address(request: web.Request) -> str:
    """The address of the index that a request is for, without a slash at its end."""
    contact, root = request.app[CONTACT], _index_root(request)
    if contact.base:
        return contact.base() + root.removeprefix(contact.prefix)
    return (origin_of(request) or "") + root


def _index_root(request: web.Request) -> str:
    """The path of the index: what is before the last fixed segment of the route that begins an
    address of an index. A name of an index, or a prefix, may be the same word."""
    resource = request.match_info.route.resource
    pattern = resource.canonical.split("/") if resource else []
    starts = [place for place, each in enumerate(pattern) if each in _FIRST_SEGMENTS]
    return "/".join(request.rel_url.raw_path.split("/")[: starts[-1]]) if starts else ""


class RefusalEvents:
    """An observer that emits ``FileRefused``, once an hour where a policy only observes.

    Resolvers repeat their requests, and a client that is let pass would be announced each time.
    """

    def __init__(
        self,
        events: Observer,
        kind_of: Callable[[str], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``kind_of``: the kind of the policy with that name."""
        self._events = events
        self._kind_of = kind_of
        self._clock = clock
        self._noted: BoundedDict[tuple[str, ...], float] = BoundedDict(MAX_NOTED)

    def observe(self, event: Event) -> None:
        if not isinstance(event, AnswerServed):
            return
        if event.rule:
            self._emit(event, event.rule, event.reason, "enforce")
        for rule, reason in event.observed:
            key = (event.index, event.project or "", event.filename, rule, event.client)
            now = self._clock()
            if now >= self._noted.get(key, -HOUR) + HOUR:
                self._noted[key] = now
                self._emit(event, rule, reason, "observe")

    def _emit(self, event: AnswerServed, rule: str, reason: str, mode: str) -> None:
        self._events(
            FileRefused(
                index=event.index,
                rule=rule,
                kind=self._kind_of(rule),
                mode=mode,
                project=event.project,
                filename=event.filename,
                client=event.client,
                reason=reason,
            )
        )


def log_observed_refusals(event: Event) -> None:
    """An observer. Enforced refusals are in the access log, with the other errors."""
    if isinstance(event, FileRefused) and event.mode == "observe":
        fields = {
            key: getattr(event, key)
            for key in ("rule", "mode", "index", "project", "filename", "client", "reason")
        }
        log.info("a file passed that rule %s refuses", event.rule, extra={"fields": fields})
