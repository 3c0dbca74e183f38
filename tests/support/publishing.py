"""An open publisher, and uploads to it as its web handler makes them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from proxy.distributions import parse_filename
from proxy.indexes import LocalDirectory
from proxy.model import ProjectName
from proxy.publish import (
    DirectoryPackages,
    Editor,
    Limits,
    PackageStore,
    Publisher,
    check_archive,
    check_digests,
    check_form,
)
from tests.support.clock import Clock
from tests.support.directories import opened

ANA, BEN, ADMIN = Editor("ana"), Editor("ben"), Editor("root", is_administrator=True)
P = TypeVar("P", bound=Publisher)


class DirectoryPublisher(Publisher):
    """A publisher with the parts of its directory."""

    packages: DirectoryPackages

    @property
    def directory(self) -> LocalDirectory:
        return self.packages.index

    @property
    def root(self) -> Path:
        return self.packages.root

    @property
    def private_folder(self) -> Path:
        return self.packages.journal.folder

    def folder(self, project: ProjectName) -> Path:
        return self.packages.folder(project)


@asynccontextmanager
async def publishing(
    root: Path,
    upstream: Collection[str] = (),
    clock: Clock | None = None,
    **limits: Any,
) -> AsyncIterator[DirectoryPublisher]:
    """Over a directory; arguments as for ``publishing_to``."""
    root.mkdir(exist_ok=True)
    async with opened(root) as directory:
        packages = DirectoryPackages(directory)
        async with publishing_to(packages, DirectoryPublisher, upstream, clock, **limits) as made:
            yield made


@asynccontextmanager
async def publishing_to(
    packages: PackageStore,
    kind: type[P],
    upstream: Collection[str] = (),
    clock: Clock | None = None,
    name: str = "private",
    **limits: Any,
) -> AsyncIterator[P]:
    """``upstream``: names that another index has; ``limits`` as for ``Limits``."""

    async def is_upstream(project: ProjectName) -> bool:
        return project in upstream

    clock = clock or Clock(1_800_000_000.0)
    publisher = kind(name, packages, Limits(**limits), is_upstream, clock)
    await publisher.open()
    try:
        yield publisher
    finally:
        await publisher.close()


def form_of(path: Path, **changed: str | list[str]) -> dict[str, list[str]]:
    """The form that a tool sends with the file; ``changed`` fields replace its own."""
    said = parse_filename(path.name)
    assert said
    wheel = path.name.endswith(".whl")
    fields: dict[str, str | list[str]] = {
        ":action": "file_upload",
        "protocol_version": "1",
        "filetype": "bdist_wheel" if wheel else "sdist",
        "pyversion": "py3" if wheel else "source",
        "name": said.project,
        "version": said.version,
        "sha256_digest": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    fields |= {name.replace("action", ":action"): value for name, value in changed.items()}
    return {name: [text] if isinstance(text, str) else text for name, text in fields.items()}


async def publish(
    publisher: Publisher,
    path: Path,
    editor: Editor = ANA,
    beside: Mapping[str, bytes] | None = None,
    **changed: str | list[str],
) -> bool:
    """Upload a file; whether it is new. ``changed`` as in ``form_of``."""
    fields = form_of(path, **changed)
    content = publisher.receive()
    try:
        await content.write(path.read_bytes())
        await content.finish()
        release = check_form(fields, path.name)
        check_digests(fields, content.digests)
        check_archive(content.path, release, fields)
        return await publisher.publish(release, content, editor, beside or {})
    finally:
        await content.discard()
