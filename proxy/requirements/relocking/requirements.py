"""Moves requirements files with digests to another index."""

from __future__ import annotations

import re

from proxy.distributions import parse_filename
from proxy.requirements.relocking.addresses import NewIndex
from proxy.requirements.sources.document import SourceDocument
from proxy.simple import last_segment

_INDEX = re.compile(r"(?m)^([ \t]*(?:-i|--index-url|--pypi-url)(?:[ \t]*=[ \t]*|[ \t]+))(\S+)")
_OTHER_INDEX = re.compile(
    r"(?m)^[ \t]*(?:--extra-index-url|-f|--find-links)(?:[ \t]*=[ \t]*|[ \t]+)(\S+)"
)
_FILE_REQUIREMENT = re.compile(
    r"(?m)(?P<before>^[ \t]*(?:[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[^\]\n]*\])?[ \t]*@[ \t]*)?)"
    r"(?P<url>https?://[^\s#;]+)(?P<fragment>#[^\s;]*)?"
    r"(?P<rest>[^\n\\]*(?:\\\r?\n[^\n\\]*)*)"
)
"""A requirement by the address of a file, with its options on this and continued lines."""
_OF_INDEX = re.compile(r"/(?:packages/(?:[^/]+/){3,}|files/[^/]+/[^/]+/)[^/]+\Z")
"""The path of a file as PyPI or this server has it; others are not from an index."""
_HASH_OPTION_DIGEST = re.compile(r"\bsha256[:=][0-9A-Fa-f]{64}\b")


def relock_requirements(document: SourceDocument, index: NewIndex) -> bytes:
    """The file with the new index, which is added if the file names none.

    Addresses of files are replaced if they are of an index. Raises ``UnreadableSource``.
    """
    text = document.text()
    mark = "\ufeff" if document.content.startswith("\ufeff".encode()) else ""
    for other in _OTHER_INDEX.findall(text):
        index.left[other] = "an installer requests from it too"
    named = [found[2] for found in _INDEX.finditer(text)]
    text = _INDEX.sub(lambda found: _moved_option(found, index), text)
    text = _FILE_REQUIREMENT.sub(lambda found: _moved_file(found, index), text)
    if not named:
        end = "\r\n" if "\r\n" in text else "\n"
        text = f"--index-url {index.address}{end}{text}"
        index.replaced[""] += 1
    return (mark + text).encode()


def _moved_option(found: re.Match[str], index: NewIndex) -> str:
    former = found[2]
    if not index.replaces(former):
        return found[0]
    index.replaced[former] += 1
    return found[1] + index.moved_index(former)


def _moved_file(found: re.Match[str], index: NewIndex) -> str:
    url, fragment = found["url"], found["fragment"] or ""
    parsed = parse_filename(last_segment(url) or "")
    if parsed is None or not _OF_INDEX.search(url):
        index.left[url] = "it is not an address of a file of an index"
        return found[0]
    digests = _HASH_OPTION_DIGEST.findall(fragment) or _HASH_OPTION_DIGEST.findall(found["rest"])
    if len(set(digests)) != 1:
        digests = []
    moved = index.moved_file(parsed.project, url, digests)
    index.replaced[""] += moved != url
    return found["before"] + moved + fragment + found["rest"]
