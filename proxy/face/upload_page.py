"""``/-/upload``: publish with a browser, by the same checks as uploads of twine."""

from __future__ import annotations

import ipaddress
import logging
from urllib.parse import urlsplit

from aiohttp import web

from proxy.errors import NoRight, NotAuthenticated, UploadRefused, reason
from proxy.face.shell import Place, Shell
from proxy.web import REQUEST_STATE, origin_of, plain, status_of

log = logging.getLogger(__name__)


class UploadPage:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    async def page(self, place: Place) -> web.Response:
        if not place.mount.accepts_uploads:
            raise web.HTTPNotFound
        return self._show(place)

    async def publish(self, place: Place) -> web.Response:
        """The answer to the form: for each file, what is published now, or why it is not."""
        if not place.mount.accepts_uploads:
            raise web.HTTPNotFound
        request = place.request
        if not self._is_own_host(place):
            return plain(403, "this form was not sent by a page of this server")
        try:
            results = await place.mount.uploads.publish_files(request)
        except (NotAuthenticated, NoRight):
            raise
        except UploadRefused as error:
            request[REQUEST_STATE].reason = str(error)
            return self._show(place, status_of(error), problem=str(error))
        except OSError as error:
            log.error("a change of packages could not be stored: %s", reason(error))
            return self._show(place, 507, problem="It could not be stored; see the server's log.")
        refused = next((each.problem for each in results if each.problem), None)
        return self._show(place, status_of(refused) if refused else 200, results=results)

    def _show(self, place: Place, status: int = 200, **values: object) -> web.Response:
        shown = {"problem": "", "results": []} | values
        response = self._shell.page(
            place, "upload.html", status, private=True, section="upload", **shown
        )
        response.headers["Cache-Control"] = "no-store"
        return response

    def _is_own_host(self, place: Place) -> bool:
        """Whether the request names this server by an address that no other site can have.

        Without access control, a page of another site whose name leads to this machine (DNS
        rebinding) could otherwise send our forms. With access control, such a page has no
        credentials.
        """
        if place.request[REQUEST_STATE].rights is not None:
            return True
        host = urlsplit(origin_of(place.request) or "").hostname or ""
        if host == "localhost" or host == urlsplit(self._shell.around.index_url()).hostname:
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True
