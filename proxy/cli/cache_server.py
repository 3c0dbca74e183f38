"""The commands of ``waystation cache`` on the cache of a running server (``--via``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from proxy.cli.admin_client import act, ask
from proxy.model import ProjectName
from proxy.runtime import count_text, size_text


def stats_via(via: str) -> Iterator[str]:
    found = ask(via, "status")["cache"]
    yield f"projects  {found['projects']}"
    yield f"files     {found['files']}"
    yield f"bytes     {found['bytes']} ({size_text(found['bytes'])})"
    yield f"changed   {found['changed']}"
    yield f"pinned    {found['pinned']}"


def list_via(via: str, projects: Sequence[ProjectName]) -> Iterator[str]:
    """All projects come in parts."""
    for project in projects:
        yield from _listed(ask(via, "cache", project=project)["projects"])
    after = "" if not projects else None
    while after is not None:
        part = ask(via, "cache", after=after)
        yield from _listed(part["projects"])
        after = part["next"]


def purge_via(via: str, projects: Sequence[ProjectName], filename: str) -> Iterator[str]:
    """Of each project all files, or one; of all projects without any."""
    bodies: list[dict[str, object]] = [{"project": each, "filename": filename} for each in projects]
    for body in bodies or [{"everything": True}]:
        done = act(via, "purge", **body)
        what = f"{body.get('project', 'all projects')}: "
        yield f"{what}purged {count_text(done['files'], 'file')}, {size_text(done['bytes'])}"
        for name in done["released"]:
            yield f"{name} is no longer private, unless the directory has files or a folder for it"


def refresh_via(via: str, project: ProjectName, index: str) -> str:
    done = act(via, "refresh", project=project, index=index)
    return (
        f"{project}: asked upstream, {count_text(done['files'], 'file')} in index {done['index']}"
    )


def pin_via(via: str, action: str, project: ProjectName, filename: str) -> Iterator[str]:
    """``action``: ``pin`` or ``unpin``."""
    for name in act(via, action, project=project, filename=filename)[f"{action}ned"]:
        yield f"{action}ned: {name}"


def pins_via(via: str) -> Iterator[str]:
    for project, files in ask(via, "pins")["projects"].items():
        yield project
        yield from (f"  {name}" for name in files)


def _listed(projects: dict[str, list[dict[str, object]]]) -> Iterator[str]:
    for project, files in projects.items():
        yield project
        for file in files:
            pinned = "  pinned" if file["pinned"] else ""
            yield f"  {file['size']:>12}  {file['sha256']}  {file['filename']}{pinned}"
