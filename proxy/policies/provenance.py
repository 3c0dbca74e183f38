"""Rule ``provenance``: files need attestations (PEP 740), perhaps of the publisher of before.

A publisher is known by the numbers in its certificate: a repository that was deleted and
registered by another account has the same name and other numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from proxy.model import File, ProjectName
from proxy.policies.base import Facts, PageView
from proxy.policies.configured import Finding, Rule
from proxy.policies.parsed_page import Release

COMPARED = 3
"""Releases before a release that tell whether attestations are usual."""

Require = Literal["any", "unchanged", "pinned"]


class Proof(msgspec.Struct, frozen=True, gc=False):
    """The result of verifying the attestations of one file."""

    state: Literal["valid", "invalid", "unknown"]
    """``unknown``: they are unavailable, or their kind or log is not known."""
    reason: str = ""
    """Why they are not valid."""
    publisher: str = ""
    """For people and settings, such as ``github:psf/requests:release.yml``."""
    identity: str = ""
    """Equal for the same publisher under another name."""
    until: float | None = None
    """Unix time in seconds at which it is verified again; None: it stays true."""


ProofsOf = Callable[[ProjectName], Callable[[str], Proof | None]]
"""Of the files of a project by their ``ParsedPage.digests``; None: the attestations have not been
verified."""


class Provenance(Rule):
    """Refuses files by their attestations. A page lists files whose attestations are not verified
    yet; a request for such a file verifies them first."""

    is_changing = True

    def __init__(
        self,
        proofs_of: ProofsOf,
        facts: Facts | None,
        *,
        require: Require,
        pinned: Mapping[ProjectName, Collection[str]],
        refuses_unknown: bool,
    ) -> None:
        """``pinned``: the publishers that a project may have."""
        self._proofs_of = proofs_of
        self.facts = facts
        self._require = require
        self._pinned = pinned
        self._refuses_unknown = refuses_unknown

    def judge(self, view: PageView) -> Iterator[Finding]:
        allowed = self._pinned.get(view.page.project)
        if self._require == "pinned" and allowed is None:
            return
        proofs = list(map(self._proofs_of(view.page.project), view.parsed.digests))
        if self._require == "unchanged" and allowed is None:
            yield from self._judge_changes(view, proofs)
            return
        for position, (file, proof) in enumerate(zip(view.page.files, proofs, strict=True)):
            why = self._problem(file, proof)
            is_valid = file.provenance is not None and proof is not None and proof.state == "valid"
            if proof and is_valid and allowed is not None and proof.publisher not in allowed:
                why = f"it is published by {proof.publisher}, which is not pinned"
            yield from _finding(view, position, why, proof)

    def _judge_changes(self, view: PageView, proofs: Sequence[Proof | None]) -> Iterator[Finding]:
        """Each release against those that were uploaded before it and passed."""
        trusted: Proof | None = None
        earlier: list[bool] = []
        for release in by_upload(view):
            has_any = any(view.page.files[position].provenance for position in release.positions)
            is_usual = len(earlier) >= COMPARED and all(earlier[-COMPARED:])
            missing = (
                "it has no attestations, and other files of the release do"
                if has_any
                else f"it has no attestations, and the {COMPARED} releases before it do"
                if is_usual
                else ""
            )
            valid = None
            for position in release.positions:
                file, proof = view.page.files[position], proofs[position]
                why = self._problem(file, proof) if file.provenance else missing
                if file.provenance and proof and proof.state == "valid":
                    if trusted and proof.identity != trusted.identity:
                        why = f"the publisher changed from {trusted.publisher} to {proof.publisher}"
                    else:
                        valid = proof
                if why or (proof and proof.until is not None):
                    yield from _finding(view, position, why, proof)
            trusted = valid or trusted
            earlier.append(has_any)

    def _problem(self, file: File, proof: Proof | None) -> str:
        """Why a file is refused, apart from its publisher; empty if it is not."""
        if not file.provenance:
            return "it has no attestations"
        if proof is None or proof.state == "valid":
            return ""
        if proof.state == "invalid":
            return f"its attestations are not valid: {proof.reason}"
        return (
            f"its attestations cannot be verified: {proof.reason}" if self._refuses_unknown else ""
        )


def by_upload(view: PageView) -> Sequence[Release]:
    """Releases in the order of their uploads: back-ports of old versions come late."""
    files = view.page.files

    def first(release: Release) -> str:
        return min(files[position].uploaded or "" for position in release.positions)

    return sorted(view.parsed.releases, key=first)


def _finding(view: PageView, position: int, why: str, proof: Proof | None) -> Iterator[Finding]:
    until = proof.until if proof else None
    if until is not None and until <= view.now:
        until = view.now + 60.0  # until a request has it verified again
    if why or until is not None:
        reason = f"{view.page.files[position].filename}: {why}"
        yield Finding((position,), reason, until, refuses=bool(why))
