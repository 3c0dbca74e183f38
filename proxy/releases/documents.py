"""Documents of projects and releases in the form of PyPI's JSON API.

``pypi/NAME/json`` is about a project and its newest release, ``pypi/NAME/VERSION/json`` about one
release. They are made from pages and core metadata: no vulnerabilities, no counts of downloads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from proxy.distributions import DistributionKind, core_fields, kind_of
from proxy.model import SIGNATURE, File, ProjectName
from proxy.releases.grouping import ProjectRelease, newest_release, version_key
from proxy.simple import Links

_FILETYPES = {DistributionKind.WHEEL: "bdist_wheel", DistributionKind.SDIST: "sdist"}
_LEGACY_KINDS = {".egg": "bdist_egg", ".exe": "bdist_wininst", ".msi": "bdist_msi"}
_TEXT_FIELDS = {
    **dict.fromkeys(("author", "author_email", "maintainer", "maintainer_email"), ""),
    **dict.fromkeys(("description", "summary", "home_page", "download_url", "keywords"), ""),
    **dict.fromkeys(("description_content_type", "license", "license_expression"), None),
    "requires_python": None,
}
"""Fields of core metadata that ``info`` has under the same name, and their default."""
_LIST_FIELDS = ("dynamic", "license_files", "project_urls", "provides_extra", "requires_dist")
_NO_DOWNLOADS = {"last_day": -1, "last_month": -1, "last_week": -1}


def json_paths(project: ProjectName, releases: Sequence[ProjectRelease]) -> Iterator[str]:
    """The paths of the documents in the tree."""
    yield f"pypi/{project}/json"
    for release in filter(_has_document, releases):
        yield f"pypi/{project}/{release.version}/json"


def json_documents(
    project: ProjectName,
    releases: Sequence[ProjectRelease],
    metadata: Mapping[str, bytes],
    links: Links,
) -> dict[str, bytes]:
    """The documents by path. ``metadata``: METADATA or PKG-INFO by version, as far as known.

    Addresses of files are relative to the document if ``links`` gives relative ones.
    """
    listed = {each.version: _files(project, each, links) for each in releases if each.version}
    latest = newest_release(releases)
    infos = {each.version: _info(project, each, metadata.get(each.version)) for each in releases}
    documents = {
        f"pypi/{project}/json": _encoded(
            infos[latest.version], listed.get(latest.version, []), releases=listed
        )
    }
    for release in filter(_has_document, releases):
        urls = [{**each, "url": _one_deeper(each["url"])} for each in listed[release.version]]
        path = f"pypi/{project}/{release.version}/json"
        documents[path] = _encoded(infos[release.version], urls)
    return documents


def json_document(
    project: ProjectName,
    release: ProjectRelease,
    links: Links,
    metadata: bytes | None = None,
    releases: Sequence[ProjectRelease] | None = None,
) -> dict[str, Any]:
    """The document about one release; of a project, which lists the files of all ``releases``.

    ``metadata``: METADATA or PKG-INFO of the release, if known.
    """
    more: dict[str, Any] = {}
    if releases is not None:
        more["releases"] = {
            each.version: _files(project, each, links) for each in releases if each.version
        }
    return _document(_info(project, release, metadata), _files(project, release, links), **more)


def _has_document(release: ProjectRelease) -> bool:
    """Only a valid version (PEP 440) is safe as a part of a path."""
    return version_key(release.version)[0] == 1


def _encoded(info: dict[str, Any], urls: list[dict[str, Any]], **more: Any) -> bytes:
    return msgspec.json.encode(_document(info, urls, **more))


def _document(info: dict[str, Any], urls: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"info": info, "last_serial": 0, **more, "urls": urls, "vulnerabilities": []}


def _info(project: ProjectName, release: ProjectRelease, metadata: bytes | None) -> dict[str, Any]:
    fields: dict[str, Any] = dict(core_fields(metadata)) if metadata else {}
    python = [file.requires_python for file in release.files if file.requires_python]
    fields.setdefault("requires_python", python[0] if python else None)
    reasons = [file.yanked for file in release.files if isinstance(file.yanked, str)]
    fields["keywords"] = ",".join(fields.get("keywords", ()))
    return {
        **{name: fields.get(name) or default for name, default in _TEXT_FIELDS.items()},
        **{name: fields.get(name) or None for name in _LIST_FIELDS},
        "name": fields.get("name") or project,
        "version": release.version,
        "classifiers": fields.get("classifiers", []),
        "platform": ",".join(fields.get("platforms", ())) or None,
        "downloads": _NO_DOWNLOADS,
        "bugtrack_url": None,
        "docs_url": None,
        "yanked": release.yanked,
        "yanked_reason": reasons[0] if release.yanked and reasons else None,
    }


def _files(project: ProjectName, release: ProjectRelease, links: Links) -> list[dict[str, Any]]:
    urls = links(project, release.files)
    return [_file(file, url) for file, url in zip(release.files, urls, strict=True)]


def _file(file: File, url: str) -> dict[str, Any]:
    names = {"blake2b": "blake2b_256"}
    return {
        "comment_text": None,
        "core-metadata": dict(file.metadata) if isinstance(file.metadata, Mapping) else False,
        "digests": {names.get(name, name): digest for name, digest in file.hashes.items()},
        "downloads": -1,
        "filename": file.filename,
        "has_sig": SIGNATURE in file.beside,
        "md5_digest": file.hashes.get("md5"),
        "packagetype": _package_type(file.filename),
        "python_version": _python_version(file.filename),
        "requires_python": file.requires_python,
        "size": file.size,
        "upload_time": file.uploaded[:19] if file.uploaded else None,
        "upload_time_iso_8601": file.uploaded,
        "url": url,
        "yanked": bool(file.yanked),
        "yanked_reason": file.yanked if isinstance(file.yanked, str) else None,
    }


def _package_type(filename: str) -> str:
    kind = kind_of(filename)
    legacy = _LEGACY_KINDS.get(filename[-4:], "bdist_dumb")
    return _FILETYPES.get(kind, legacy) if kind else legacy


def _python_version(filename: str) -> str:
    """The Python tag of a wheel; ``source`` for an sdist, as PyPI has it."""
    return filename.split("-")[-3] if kind_of(filename) is DistributionKind.WHEEL else "source"


def _one_deeper(url: str) -> str:
    """An address from a document in a folder below the one that the address is relative to."""
    return url if "://" in url or url.startswith("/") else f"../{url}"
