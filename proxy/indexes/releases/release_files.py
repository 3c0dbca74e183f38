"""The distributions among the files of releases, and pages of projects made of them. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from proxy import late_pattern
from proxy.distributions import DistributionKind, kind_of, parse_filename
from proxy.model import ProjectName
from proxy.simple import clean_upload_time

_ASSET_DIGEST = late_pattern(r"(sha256:[0-9a-fA-F]{64}|sha512:[0-9a-fA-F]{128})\Z", re.ASCII)
PAGE_TYPE = "application/vnd.pypi.simple.v1+json"


class _Asset(msgspec.Struct):
    """Only what is used; servers that are like GitHub leave some of it out."""

    name: str
    url: str = ""
    browser_download_url: str = ""
    state: str = "uploaded"
    size: int | None = None
    digest: str | None = None
    created_at: str | None = None
    updated_at: str | None = None


class _Release(msgspec.Struct):
    draft: bool = False
    prerelease: bool = False
    published_at: str | None = None
    assets: list[_Asset] = []


class ReleaseFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A wheel or an sdist of a release."""

    project: ProjectName
    filename: str
    url: str
    """In the API, where a token counts."""
    download_url: str
    """Public; empty without one."""
    size: int | None = None
    digest: str = ""
    """Algorithm, colon and digits; empty if the API does not say."""
    uploaded: str = ""
    """As ``File.uploaded``: when the file could be downloaded first, as it is now."""
    prerelease: bool = False
    draft: bool = False


_decode = msgspec.json.Decoder(list[_Release]).decode


def read_releases(data: bytes, root: str) -> list[ReleaseFile]:
    """``root``: the address of the API, without a slash at its end. Raises ``ValueError``, of which
    msgspec's errors are a kind."""
    return [
        file
        for release in _decode(data)
        for asset in release.assets
        if (file := _file(asset, release, root))
    ]


def _file(asset: _Asset, release: _Release, root: str) -> ReleaseFile | None:
    kind = kind_of(asset.name)
    is_sdist = kind is DistributionKind.SDIST and asset.name.endswith(".tar.gz")  # PEP 625
    if asset.state != "uploaded" or not (is_sdist or kind is DistributionKind.WHEEL):
        return None
    named = parse_filename(asset.name)
    if named is None or not (asset.url or asset.browser_download_url):
        return None
    # An old file may be renamed, or its release be published later: then others see it first.
    times = (asset.created_at, asset.updated_at, release.published_at)
    return ReleaseFile(
        named.project,
        asset.name,
        _in_api(asset.url, root) or asset.browser_download_url,
        asset.browser_download_url,
        asset.size,
        asset.digest if asset.digest and _ASSET_DIGEST.match(asset.digest) else "",
        max(filter(None, map(clean_upload_time, times)), default=""),
        release.prerelease,
        release.draft,
    )


def _in_api(url: str, root: str) -> str:
    """The address below that of the settings: a server between may have another than the API says
    of itself, and the token goes to the former alone."""
    _, found, path = url.partition("/repos/")
    return f"{root}/repos/{path}" if found else url


def first_published(files: Iterable[ReleaseFile]) -> list[ReleaseFile]:
    """One file of each name: that of the release that had the name first."""
    found: dict[str, ReleaseFile] = {}
    for file in sorted(files, key=lambda file: file.uploaded):
        found.setdefault(file.filename, file)
    return list(found.values())


def page_of(
    project: ProjectName, files: Sequence[ReleaseFile], *, with_token: bool, with_metadata: bool
) -> bytes:
    """The page in JSON (PEP 691). ``with_token``: the addresses in the API are listed.
    ``with_metadata``: each wheel has metadata beside it (PEP 658)."""
    page = {
        "meta": {"api-version": "1.1"},
        "name": project,
        "files": [
            _listed(file, with_token=with_token)
            | {"core-metadata": with_metadata and file.filename.endswith(".whl")}
            for file in files
        ],
    }
    return msgspec.json.encode(page)


def _listed(file: ReleaseFile, *, with_token: bool) -> dict[str, Any]:
    algorithm, _, digits = file.digest.partition(":")
    # An address in the API has the number of the file, so it never leads to other bytes.
    in_api = with_token or not digits or not file.download_url
    listed = {
        "filename": file.filename,
        "url": file.url if in_api else file.download_url,
        "hashes": {algorithm: digits.lower()} if digits else {},
    }
    known = {"size": file.size, "upload-time": file.uploaded or None}
    return listed | {name: value for name, value in known.items() if value is not None}
