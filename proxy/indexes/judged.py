"""Judging: what the policies of an index say about a page, and the page that results."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

import msgspec
from packaging.version import Version

from proxy import late_pattern
from proxy.errors import Denied, PolicyFailed
from proxy.indexes.explanation import Verdicts
from proxy.model import File, ProjectPage, with_distributions
from proxy.policies import NoVerdict, PageView, ParsedPage, Policy, Verdict, parse_version

log = logging.getLogger(__name__)

_SHA256 = late_pattern(r"[0-9a-f]{64}\Z")


class Judged(msgspec.Struct, frozen=True):
    """A page after its policies have judged it."""

    page: ProjectPage
    """As it is shown."""
    refusals: Verdicts
    observed: Verdicts
    """The refusals by policies in mode ``observe``."""
    exempted: Verdicts
    """The refusals by policies of either mode, if there were no exemptions."""
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
    owners = _owners(page, view.parsed) if view.parsed.siblings else {}
    found: dict[int, list[tuple[int, Verdict]]] = {}
    refused: set[int] = set()
    for number in sorted(range(len(policies)), key=lambda number: policies[number].judges_last):
        policy = policies[number]
        if policy.judges_last:
            view = msgspec.structs.replace(view, refused=frozenset(refused))
        found[number] = _ask(index, policy, view)
        if owners:
            found[number] = _without_siblings(found[number], owners)
        if policy.mode == "enforce":
            refused.update(position for position, verdict in found[number] if verdict.refuses)
            refused.update(at for at, owner in owners.items() if owner in refused)
    result = _Collected(page, owners)
    for number, policy in enumerate(policies):
        result.add(policy, found[number])
    return result.judged(view.parsed)


def _owners(page: ProjectPage, parsed: ParsedPage) -> dict[int, int]:
    """The position of the distribution of each sibling that is listed as a file beside it."""
    positions = {file.filename: at for at, file in enumerate(page.files)}
    owners = {}
    for sibling in parsed.siblings:
        _, *names = with_distributions(page.files[sibling].filename)
        if listed := [positions[name] for name in names if name in positions]:
            owners[sibling] = listed[-1]
    return owners


def _without_siblings(
    verdicts: Iterable[tuple[int, Verdict]], owners: Mapping[int, int]
) -> list[tuple[int, Verdict]]:
    """A sibling has no verdict of its own, except for one that only says until when."""
    return [
        (position, verdict)
        for position, verdict in verdicts
        if position not in owners or not (verdict.refuses or verdict.exemption)
    ]


class _Collected:
    """Collects the verdicts of policies on one page."""

    def __init__(self, page: ProjectPage, owners: Mapping[int, int]) -> None:
        """``owners``: the positions of distributions by those of their siblings."""
        self._page = page
        self._owners = owners
        self._by_kind: tuple[dict[str, tuple[Verdict, ...]], ...] = ({}, {}, {})
        self._first: dict[int, Verdict] = {}
        """By position: the verdict that words the reason."""
        self._hidden: set[int] = set()
        self._ends = {page.not_after}

    def add(self, policy: Policy, verdicts: Iterable[tuple[int, Verdict]]) -> None:
        refusals, observed, exempted = self._by_kind
        enforced, hides = policy.mode == "enforce", policy.show == "hide"
        files = self._page.files
        last: Verdict | None = None
        alone: tuple[Verdict, ...] = ()
        for position, verdict in verdicts:
            if verdict is not last:  # most files of a page share one
                last, alone = verdict, (verdict,)
                self._ends.add(verdict.until)
            if verdict.refuses:
                kept = refusals if enforced else observed
            elif verdict.exemption:
                kept = exempted
            else:
                continue
            name = files[position].filename
            kept[name] = (*kept[name], verdict) if name in kept else alone
            if enforced and verdict.refuses:
                self._first.setdefault(position, verdict)
                if hides:
                    self._hidden.add(position)

    def judged(self, parsed: ParsedPage) -> Judged:
        refusals, observed, exempted = self._by_kind
        not_after = min((end for end in self._ends if end is not None), default=None)
        for sibling, owner in self._owners.items():  # a sibling looks as its distribution does
            if owner in self._first:
                self._first[sibling] = self._first[owner]
            if owner in self._hidden:
                self._hidden.add(sibling)
        page = _shown(self._page, parsed, self._first, self._hidden) if self._first else self._page
        return Judged(page, refusals, observed, exempted, not_after)


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
    except NoVerdict as error:
        log.error("the policy %s cannot judge %s", policy.name, error)
        raise PolicyFailed(index, policy.name) from error
    except Exception as error:
        log.exception("the policy %s failed on %s", policy.name, view.page.project)
        raise PolicyFailed(index, policy.name) from error


def _shown(
    page: ProjectPage, parsed: ParsedPage, first: Mapping[int, Verdict], hidden: Set[int]
) -> ProjectPage:
    """The page without the hidden files, with the other refused ones yanked."""
    yanks = {
        position: _yank_reason(verdict, page.files[position])
        for position, verdict in first.items()
        if position not in hidden
    }
    files = [
        msgspec.structs.replace(file, yanked=yanks[position]) if position in yanks else file
        for position, file in enumerate(page.files)
        if position not in hidden
    ]
    content = msgspec.msgpack.encode((page.version, sorted(hidden), sorted(yanks.items())))
    return msgspec.structs.replace(
        page,
        files=tuple(files),
        versions=_shown_versions(page, parsed, hidden) if hidden else page.versions,
        refused=page.refused + len(first),
        version=hashlib.sha256(content).hexdigest() if page.version else "",
    )


def _yank_reason(verdict: Verdict, file: File) -> str:
    """The text that installers print: the refusal, and then the reason that upstream gave."""
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
    by_version: dict[Version | None, bool] = {
        release.version: lost[release.text] for release in parsed.releases if release.version
    }
    return tuple(
        text for text in page.versions if not lost.get(text, by_version.get(parse_version(text)))
    )
