"""Kind, version and tags from the names of the files of a page, parsed once per page version."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import msgspec
from cachetools import LRUCache
from packaging.version import Version

from proxy.advisories import OrderedVersions
from proxy.distributions import DistributionKind, kind_of, parse_filename, version_of
from proxy.model import METADATA, PROVENANCE, File, ProjectName, ProjectPage, with_distributions

MAX_PARSED_FILES = 50_000
"""Files of the parsed pages that are kept; a page counts as one more."""


SIBLINGS = (METADATA, PROVENANCE)


class ParsedFile(msgspec.Struct, frozen=True, gc=False):
    """The parts of the name of one file. A sibling has those of its distribution."""

    distribution: str
    """The name of the file itself, or of the distribution that it is a sibling of."""
    kind: DistributionKind | None
    """None: neither a wheel, nor an sdist, nor of an old format."""
    tags: str
    """``py3-none-any``, perhaps with several values joined by dots; empty for other kinds."""
    release: int
    """The position in ``ParsedPage.releases``."""


class Release(msgspec.Struct, frozen=True):
    """The files of one version."""

    text: str
    """The version, normalized if it is one (PEP 440); empty if the name has none."""
    version: Version | None
    """None: the name has no version, or none of PEP 440."""
    positions: Sequence[int]
    """Of its files on the page."""
    last_upload: str | None
    """The latest ``File.uploaded``; None if that of any file is unknown."""


class ParsedPage(msgspec.Struct, frozen=True, dict=True):
    """Positions are those of ``ProjectPage.files``."""

    files: Sequence[ParsedFile]
    digests: Sequence[str]
    """Of each file, see ``digest_of``: what is known of files is looked up by them."""
    releases: Sequence[Release]
    siblings: Sequence[int]
    """Those of ``.metadata`` and ``.provenance`` files that are listed as files."""

    @cached_property
    def ordered(self) -> OrderedVersions:
        """The releases in the order of their versions, to compare them with advisories."""
        return OrderedVersions([(each.text, each.version) for each in self.releases])


class ParsedPages:
    """Keeps what was parsed, for all policies and indexes that judge the same page."""

    def __init__(self, max_files: int = MAX_PARSED_FILES) -> None:
        self._max_files = max_files
        self._pages: LRUCache[tuple[ProjectName, str, str], ParsedPage]
        self._pages = LRUCache(max_files, getsizeof=self._weight)

    def get(self, page: ProjectPage) -> ParsedPage | None:
        return self._pages.get((page.project, page.source, page.version))

    def put(self, page: ProjectPage, parsed: ParsedPage) -> None:
        if page.version:
            self._pages[page.project, page.source, page.version] = parsed

    def _weight(self, parsed: ParsedPage) -> int:
        return min(1 + len(parsed.files), self._max_files)


def parse_names(page: ProjectPage) -> ParsedPage:
    """Parse the name of every file of the page."""
    numbers: dict[object, int] = {}
    by_text: dict[str, int] = {}
    releases: list[tuple[str, Version | None, list[int]]] = []
    files = []
    for position, file in enumerate(page.files):
        name, kind, version, tags = _split(file.filename, page.project)
        number = by_text.get(version)
        if number is None:
            parsed = parse_version(version)
            number = numbers.setdefault(version if parsed is None else parsed, len(releases))
            by_text[version] = number
            if number == len(releases):
                releases.append((str(parsed) if parsed else version, parsed, []))
        releases[number][2].append(position)
        files.append(ParsedFile(name, kind, tags, number))
    return ParsedPage(
        files,
        [digest_of(file) for file in page.files],
        [
            Release(text, version, positions, _last_upload(page.files, positions))
            for text, version, positions in releases
        ],
        [at for at, file in enumerate(page.files) if file.filename.endswith(SIBLINGS)],
    )


def digest_of(file: File) -> str:
    """As ``File.address_digest``; of a file without any digest its name."""
    digest = file.address_digest
    return file.filename if digest == "-" else digest


def _split(filename: str, project: ProjectName) -> tuple[str, DistributionKind | None, str, str]:
    """The name of the distribution, its kind, the version as written, and the tags."""
    if filename.endswith(".whl"):
        parts = filename[:-4].split("-")
        if len(parts) in (5, 6):
            return filename, DistributionKind.WHEEL, parts[1], "-".join(parts[-3:])
    *_, name = with_distributions(filename)
    if name != filename:
        return _split(name, project)
    kind = kind_of(filename)
    version = version_of(filename, project) or ""
    if not version and (found := parse_filename(filename)) and found.project == project:
        version = found.version
    return filename, kind, version, ""


def parse_version(text: str) -> Version | None:
    """None if it is not a version of PEP 440."""
    try:
        return Version(text)
    except ValueError:  # InvalidVersion, or a number of thousands of digits
        return None


def _last_upload(files: Sequence[File], positions: Sequence[int]) -> str | None:
    latest = ""
    for position in positions:
        uploaded = files[position].uploaded
        if uploaded is None:
            return None
        latest = max(latest, uploaded[:-1])  # without the Z, which sorts after fractions
    return f"{latest}Z"
