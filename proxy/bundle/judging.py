"""The rules of an index in a bundle: what they refuse is left out, and their verdicts are noted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from msgspec import UNSET

from proxy.bundle.bundle_selection import BundleSelection, SelectedFiles
from proxy.bundle.format import BundledRules, BundledVerdict, VerdictOutcome, is_sha256
from proxy.errors import Denied, IndexUnavailable, NotFound
from proxy.indexes import Explanation, Index
from proxy.model import ProjectName, distribution_of, sources_of
from proxy.policies import Verdict
from proxy.storage import RecordKind, Records
from proxy.upstream import UpstreamOrigin

FileKey = tuple[str, str]
"""Filename, and digest in addresses."""


async def judge_selection(
    index: Index,
    policies: Iterable[str],
    records: Records,
    origins: Mapping[str, UpstreamOrigin],
    selection: BundleSelection,
) -> BundleSelection:
    """The part of the selection that the index serves, with the verdicts of its rules.

    ``index``: an offline one. ``policies``: the names of all that are in force for it.
    ``origins``: by name of the index. Raises ``IndexUnavailable`` if a rule fails.
    """
    judging = _Judging(index, origins)
    files: dict[str, dict[ProjectName, SelectedFiles]] = {}
    refused: set[tuple[str, ProjectName, str, str]] = set()
    for namespace, projects in selection.files.items():
        files[namespace] = {}
        held = await _held_files(records, namespace)
        for project, names in projects.items():
            known = held.get(project, frozenset()) if names is None else names
            left_out = await judging.left_out(namespace, project, known)
            if left_out is not None:
                files[namespace][project] = names if names is None else names - left_out
                refused |= {(namespace, project, *file) for file in left_out}
    named = tuple(sorted(set(policies)))
    verdicts = tuple(judging.verdicts[key] for key in sorted(judging.verdicts))
    rules = BundledRules(index=index.name, policies=named, verdicts=verdicts)
    return BundleSelection(files, frozenset(refused), rules if named or verdicts else UNSET)


async def _held_files(records: Records, namespace: str) -> dict[str, set[FileKey]]:
    """By project: the files of which the cache has a record."""
    found: dict[str, set[FileKey]] = {}
    for kind in (RecordKind.CACHED_FILE, RecordKind.PROVENANCE):
        for key in await records.keys(kind, namespace):
            found.setdefault(key.project, set()).add((key.filename, key.digest))
    return found


@dataclass(slots=True)
class _Judging:
    index: Index
    origins: Mapping[str, UpstreamOrigin]
    verdicts: dict[tuple[str, ...], BundledVerdict] = field(default_factory=dict)

    async def left_out(
        self, namespace: str, project: ProjectName, files: Iterable[FileKey]
    ) -> set[FileKey] | None:
        """The files that the index does not serve; None: it serves nothing of the project from
        there."""
        found = await self.index.explain(project)
        last = found.steps[-1]
        if last.result == "unavailable":
            raise IndexUnavailable(last.index, last.detail)
        if last.result == "refused":
            self._note(project, "", [Verdict(last.rule, last.detail)], "refused", found)
            return None
        if found.listed:
            origins = (self.origins.get(name) for name in sources_of(found.listed))
            if namespace not in {origin.namespace for origin in origins if origin}:
                return None
        left_out = {each for each in files if not await self._passes(project, *each, found)}
        return left_out if found.listed or len(left_out) < len(set(files)) else None

    async def _passes(
        self, project: ProjectName, filename: str, digest: str, found: Explanation
    ) -> bool:
        """Whether the index serves the file. Notes the verdicts on it."""
        owner = distribution_of(filename)
        listed = found.listed.files if found.listed else ()
        if (owner, digest) not in {(each.filename, each.address_digest) for each in listed}:
            return await self._passes_unlisted(project, filename, digest, found)
        verdicts = found.refusals.get(owner, ())
        if is_sha256(digest):
            verdicts = tuple(each for each in verdicts if not each.spares_locked)
        self._note(project, owner, verdicts, "refused", found)
        self._note(project, owner, found.observed.get(owner, ()), "observed", found)
        self._note(project, owner, found.exempted.get(owner, ()), "exempted", found)
        return not verdicts

    async def _passes_unlisted(
        self, project: ProjectName, filename: str, digest: str, found: Explanation
    ) -> bool:
        """A cached file that its page does not list any more is judged when it is requested."""
        try:
            await self.index.file(project, filename, digest)
        except Denied as error:
            verdict = Verdict(error.rule, error.reason)
            self._note(project, distribution_of(filename), [verdict], "refused", found)
            return False
        except NotFound:
            return False
        return True

    def _note(
        self,
        project: ProjectName,
        filename: str,
        verdicts: Iterable[Verdict],
        outcome: VerdictOutcome,
        found: Explanation,
    ) -> None:
        for each in verdicts:
            noted = BundledVerdict(
                project=project,
                filename=filename,
                rule=each.rule,
                kind=found.kinds.get(each.rule, ""),
                outcome=outcome,
                reason=_printable(each.reason),
                until=each.until,
                exemption=_printable(each.exemption),
            )
            self.verdicts.setdefault(noted.key, noted)


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)
