"""Our own answers as files, so that nginx serves exactly the bytes that we serve."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from benchmarks import agents
from benchmarks.clients import Client
from benchmarks.processes import Broken, Server
from benchmarks.scenario import Context
from benchmarks.servers import FakeUpstream, fake_upstream, nginx, waystation

FORMS = {
    "JSON": (agents.UV, "simple", "index.json"),
    "HTML": (agents.OLD_PIP, "html", "index.html"),
}
"""By form of page: the client that requests it, and its path in nginx."""
LASTING = {"page_ttl": "86400", "page_ttl_min": "86400"}
"""Pages do not expire while they are measured as warm ones."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Ours with everything warm, and nginx with the same bytes as files."""

    upstream: FakeUpstream
    ours: Server
    nginx: Server
    tuned: Server
    """Another nginx, without a log and with an open-file cache."""
    root: Path

    def page(self, server: Server, project: str, form: str = "JSON") -> str:
        """The path of the page on this server."""
        _, folder, file = FORMS[form]
        return f"/{folder}/{project}/{file}" if server is not self.ours else f"/simple/{project}/"

    def check_same(self, project: str, form: str) -> None:
        """Raises ``Broken`` if the two do not send the same body."""
        headers = FORMS[form][0]
        bodies = [
            _fetch(server.url, self.page(server, project, form), headers) for server in self.servers
        ]
        if len(set(bodies)) != 1:
            raise Broken(f"nginx and ours send other bytes for the page of {project} in {form}")

    @property
    def both(self) -> tuple[Server, Server]:
        return self.nginx, self.ours

    @property
    def servers(self) -> tuple[Server, Server, Server]:
        return self.nginx, self.tuned, self.ours


@contextlib.contextmanager
def pair(context: Context, wheels: Path | None = None) -> Iterator[Pair]:
    folder = context.folder("pair")
    root = folder / "static"
    root.mkdir()
    with (
        fake_upstream(folder / "upstream", wheels) as upstream,
        waystation(folder / "ours", upstream.url, settings=LASTING) as ours,
        nginx(folder / "nginx", root) as static,
        nginx(folder / "tuned", root, tuned=True) as tuned,
    ):
        yield Pair(upstream, ours, static, tuned, root)


def copy_page(ours: Server, root: Path, project: str) -> dict[str, str]:
    """Write the page in every form; the path of each of its files, by name."""
    for headers, folder, file in FORMS.values():
        target = root / folder / project / file
        target.parent.mkdir(parents=True, exist_ok=True)
        content = _fetch(ours.url, f"/simple/{project}/", headers | {"Accept-Encoding": "identity"})
        target.write_bytes(content)
        zipped = _fetch(ours.url, f"/simple/{project}/", headers)
        if zipped != content:
            if gzip.decompress(zipped) != content:
                raise Broken(f"the page of {project} differs with and without gzip")
            target.with_name(f"{file}.gz").write_bytes(zipped)
    page = json.loads((root / "simple" / project / "index.json").read_bytes())
    base = f"{ours.url}/simple/{project}/"
    return {each["filename"]: urlsplit(urljoin(base, each["url"])).path for each in page["files"]}


def copy_file(ours: Server, root: Path, path: str) -> None:
    """Write one file, or core metadata, to where its address says."""
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(_fetch(ours.url, path, agents.UV_FILE))


def _fetch(url: str, path: str, headers: Mapping[str, str]) -> bytes:
    client = Client(url)
    try:
        return client.get(path, headers).body
    finally:
        client.close()
