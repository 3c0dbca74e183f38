"""Releases: the files of a project by version, and documents about them (PyPI's JSON API)."""

from proxy.releases.documents import json_document, json_documents, json_paths
from proxy.releases.grouping import (
    ProjectRelease,
    file_in_words,
    find_release,
    group_by_release,
    is_preliminary,
    newest_release,
    version_key,
)
from proxy.releases.upstream_documents import JsonDocument, completed, is_about, parse_document

__all__ = [
    "JsonDocument",
    "ProjectRelease",
    "completed",
    "file_in_words",
    "find_release",
    "group_by_release",
    "is_about",
    "is_preliminary",
    "json_document",
    "json_documents",
    "json_paths",
    "newest_release",
    "parse_document",
    "version_key",
]
