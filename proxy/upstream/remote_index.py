"""The contract of what a mirror mirrors: one address, or several of the same content."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from proxy.model import ProjectName
from proxy.upstream.answers import Body, NotModified, UpstreamDocument, Validators


class RemoteIndex(Protocol):
    """Requests pages and files upstream, and stores nothing.

    Every method raises ``UpstreamError`` where upstream gives no usable answer.
    """

    @property
    def name(self) -> str:
        """As the settings call the index."""

    def allows(self, origin: str) -> bool:
        """Whether a page's links to ``scheme://host:port`` may be fetched."""

    async def page(
        self, project: ProjectName, validators: Validators | None = None
    ) -> UpstreamDocument | NotModified:
        """The project's page; "not modified" only with ``validators``. Raises ``NoSuchProject``."""

    async def project_document(self, project: ProjectName, version: str = "") -> bytes | None:
        """The document of PyPI's JSON API about a project that upstream has, or one version of it.

        None: upstream has no such document.
        """

    async def size(self, url: str) -> int | None:
        """Bytes of a file; None if upstream names no length. Raises ``GoneUpstream``."""

    async def read(self, url: str, limit: int) -> bytes:
        """A small file, at most ``limit`` bytes. Raises ``GoneUpstream``."""

    def open(
        self, url: str, *, start: int = 0, etag: str | None = None
    ) -> AbstractAsyncContextManager[Body]:
        """A file as it arrives, see ``Remote.open``. Raises ``GoneUpstream``."""
