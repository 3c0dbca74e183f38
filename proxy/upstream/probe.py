"""Is there an index at the address of an upstream? Asked once, with no name of a project."""

from __future__ import annotations

from http import HTTPStatus

from proxy.errors import UpstreamError
from proxy.upstream.transport import Transport, UpstreamAnswer

_ACCEPT = {
    "Accept": "application/vnd.pypi.simple.v1+json,"
    " application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
}
_REFUSED = {401, 403, 407}


async def probe(transport: Transport, url: str) -> str | None:
    """What is wrong with the index at ``url``, in words for a person; None if nothing is known.

    ``url`` ends with a slash. One HEAD request for the list of projects. If the answer does not
    show that it is one (PEP 691), and ``url`` does not end with ``/simple/``, one more for
    ``simple/`` below it. An index need not have a list, so a 404 alone is no fault.
    """
    try:
        answer = await _head(transport, url)
    except UpstreamError as error:
        return error.reason
    if answer.status in _REFUSED:
        phrase = HTTPStatus(answer.status).phrase
        return f"it answered {answer.status} {phrase}; are the credentials right?"
    if _is_index(answer) or url.endswith("/simple/"):
        return None
    below = f"{url}simple/"
    try:
        found = await _head(transport, below)
    except UpstreamError:
        return None
    if found.status != 200:
        return None
    sure = _is_index(found) or answer.status != 200
    return f"there is {'' if sure else 'perhaps '}an index at {below}; is that the address?"


async def _head(transport: Transport, url: str) -> UpstreamAnswer:
    answer, _ = await transport.fetch(url, _ACCEPT, limit=0, method="HEAD", named=True)
    return answer


def _is_index(answer: UpstreamAnswer) -> bool:
    kind = answer.headers.get("Content-Type", "").lower()
    return answer.status == 200 and kind.startswith("application/vnd.pypi.simple.")
