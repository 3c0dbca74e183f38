"""Judging: what the policies of an index say about a page, and the page that results."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence, Set

import msgspec

from proxy.errors import Denied, PolicyFailed
from proxy.model import File, ProjectPage, with_distributions
from proxy.policies import PageView, ParsedPage, Policy, Verdict, parse_version

log = logging.getLogger(__name__)

Verdicts = Mapping[str, tuple[Verdict, ...]]
"""By file name, in the order of the policies."""

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class Judged(msgspec.Struct, frozen=True):
    """A page after its policies have judged it."""

    page: ProjectPage
    """As it is shown."""
    refusals: Verdicts
    observed: Verdicts
    """What policies in mode ``observe`` would refuse."""
    exempted: Verdicts
    """What policies of either mode would refuse without an exemption."""
    not_after: float | None
    """The earliest instant at which a verdict may change, as in ``ProjectPage``."""

    def check(self, filename: str, digest: str | None = None) -> None:
        """Raises ``Denied`` for a refused file and for the siblings of one.

        ``digest`` is that in the address, which some rules spare if it is a full sha256.
        """
        locked = digest is not None and bool(_SHA256.match(digest))
        for verdict in verdicts_on(self.refusals, filename):
            if not (locked and verdict.spares_locked):
                raise Denied(self.page.project, verdict.reason, verdict.rule, filename)


def judge_page(index: str, policies: Sequence[Policy], view: PageView) -> Judged:
    """Ask every policy, those last that need the verdicts of the others.

    Raises ``PolicyFailed``, which names the index.
    """
    page = view.page
    found: dict[int, list[tuple[int, Verdict]]] = {}
    refused: set[int] = set()
    for number in sorted(range(len(policies)), key=lambda number: policies[number].judges_last):
        policy = policies[number]
        if policy.judges_last:
            view = msgspec.structs.replace(view, refused=frozenset(refused))
        found[number] = _ask(index, policy, view)
        if policy.mode == "enforce":
            refused.update(position for position, verdict in found[number] if verdict.refuses)
    ends = {page.not_after}
    refusals: dict[str, tuple[Verdict, ...]] = {}
    observed: dict[str, tuple[Verdict, ...]] = {}
    exempted: dict[str, tuple[Verdict, ...]] = {}
    hidden: set[int] = set()
    for number, policy in enumerate(policies):
        kept = refusals if policy.mode == "enforce" else observed
        for position, verdict in found[number]:
            ends.add(verdict.until)
            name = page.files[position].filename
            if verdict.refuses:
                kept[name] = (*kept.get(name, ()), verdict)
                if policy.mode == "enforce" and policy.show == "hide":
                    hidden.add(position)
            elif verdict.exemption:
                exempted[name] = (*exempted.get(name, ()), verdict)
    not_after = min((end for end in ends if end is not None), default=None)
    shown = _shown(page, view.parsed, refusals, hidden) if refusals else page
    return Judged(shown, refusals, observed, exempted, not_after)


def verdicts_on(verdicts: Verdicts, filename: str) -> Iterator[Verdict]:
    """The verdicts on a file, and on the distribution that it is a sibling of."""
    for name in with_distributions(filename):
        yield from verdicts.get(name, ())


def observations(judged: Judged, filename: str) -> tuple[tuple[str, str], ...]:
    """Rules in mode ``observe`` that would refuse the file, each with its reason."""
    return tuple((each.rule, each.reason) for each in verdicts_on(judged.observed, filename))


def _ask(index: str, policy: Policy, view: PageView) -> list[tuple[int, Verdict]]:
    files = range(len(view.page.files))
    try:
        return [(files[position], verdict) for position, verdict in policy.judge(view)]
    except Exception as error:
        log.exception("the policy %s failed on %s", policy.name, view.page.project)
        raise PolicyFailed(index, policy.name) from error


def _shown(
    page: ProjectPage, parsed: ParsedPage, refusals: Verdicts, hidden: Set[int]
) -> ProjectPage:
    """The page without the hidden files, with the other refused ones yanked."""
    hidden_names = {page.files[position].filename for position in hidden}
    files = []
    gone = set(hidden)
    for position, file in enumerate(page.files):
        verdict = next(verdicts_on(refusals, file.filename), None)
        if verdict is None:
            files.append(file)
        elif hidden_names.isdisjoint(with_distributions(file.filename)):
            files.append(msgspec.structs.replace(file, yanked=_yank_reason(verdict, file)))
        else:
            gone.add(position)
    content = msgspec.msgpack.encode((page.version, [each.filename for each in files], refusals))
    return msgspec.structs.replace(
        page,
        files=tuple(files),
        versions=_shown_versions(page, parsed, gone),
        refused=page.refused + len(refusals),
        version=hashlib.sha256(content).hexdigest() if page.version else "",
    )


def _yank_reason(verdict: Verdict, file: File) -> str:
    """What installers print: the refusal, and then the reason that upstream gave."""
    reason = f"refused by rule {verdict.rule}: {verdict.reason}"
    if isinstance(file.yanked, str) and file.yanked:
        return f"{reason} (yanked upstream: {file.yanked})"
    return f"{reason} (yanked upstream)" if file.yanked else reason


def _shown_versions(page: ProjectPage, parsed: ParsedPage, gone: Set[int]) -> tuple[str, ...]:
    """``versions`` (PEP 700) without those of which every file is hidden.

    Tools that propose updates read them, and would propose what is refused.
    """
    lost = {release.text: gone >= set(release.positions) for release in parsed.releases}
    if not any(lost.values()):
        return page.versions
    by_version = {release.version: lost[release.text] for release in parsed.releases}
    return tuple(
        text for text in page.versions if not lost.get(text, by_version.get(parse_version(text)))
    )
