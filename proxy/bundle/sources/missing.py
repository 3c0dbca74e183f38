"""Reads lines as ``ready`` writes them: files by project, name and digest; requirements."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from proxy.bundle.choice import Choice
from proxy.bundle.sources import requirements
from proxy.bundle.sources.document import Document
from proxy.bundle.wants import Touched, Wants, joined
from proxy.model import ProjectName
from proxy.simple.names import safe_filename

_FILE = re.compile(
    r"(?P<project>[a-z0-9]+(?:-[a-z0-9]+)*)/(?P<filename>[^/]+)"
    r"#(?P<digest>[0-9a-f]{64}|[a-z0-9_]+-[0-9a-f]{16,128}|-)\Z"
)


def read(document: Document, choice: Choice, environ: Mapping[str, str]) -> Wants:
    """Files whatever the targets; all other lines are those of a requirements file.

    Raises ``UnreadableSource``.
    """
    touched = []
    rest = []
    for line in document.text().splitlines():
        found = _FILE.match(line)
        if found and safe_filename(found["filename"]):
            digest = None if found["digest"] == "-" else found["digest"]
            touched.append(Touched(ProjectName(found["project"]), found["filename"], digest))
        rest.append("" if found else line)  # lines keep their numbers
    others = replace(document, content="\n".join(rest).encode())
    return joined((Wants(touched=tuple(touched)), requirements.read(others, choice, environ)))
