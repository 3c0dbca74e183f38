"""Rule ``licence``: which licences a file may have.

The licence of a file is known once its metadata have been read. Until then the file is of unknown
licence; later its page is judged again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cachetools import LRUCache

from proxy.distributions import BSD, canonical_expression, evaluate_expression
from proxy.model import ProjectName
from proxy.policies.base import Facts, PageView
from proxy.policies.configured import Finding, Rule

MAX_KNOWN = 4096
"""Expressions of which the result is remembered."""
_BSD_FAMILY = ("BSD-2-Clause", "BSD-3-Clause", "0BSD")

LicencesOf = Callable[[ProjectName], Callable[[str], str | None]]
"""The licences of the files of a project by their ``ParsedPage.digests``, as canonical SPDX
expressions. Empty: the metadata name none that is known; None: they have not been read."""


class Licences(Rule):
    """Refuses files by their licence; a licence on both lists is denied."""

    is_changing = True

    def __init__(
        self,
        licences_of: LicencesOf,
        facts: Facts | None = None,
        *,
        allowed: Iterable[str] = (),
        denied: Iterable[str] = (),
        refuses_unknown: bool = False,
    ) -> None:
        """``allowed`` and ``denied``: as ``parse_licence`` takes them; nothing allowed: all."""
        self._licences_of = licences_of
        self.facts = facts
        self._allowed = {parse_licence(each) for each in allowed}
        self._denied = {parse_licence(each) for each in denied}
        self._refuses_unknown = refuses_unknown
        self._known: LRUCache[str, bool] = LRUCache(MAX_KNOWN)

    def judge(self, view: PageView) -> Iterator[Finding]:
        found = list(map(self._licences_of(view.page.project), view.parsed.digests))
        problems = {licence: self._problem(licence) for licence in set(found)}
        if not any(problems.values()):
            return
        for position, licence in enumerate(found):
            if problem := problems[licence]:
                yield Finding((position,), f"{view.page.files[position].filename} has {problem}")

    def _problem(self, licence: str | None) -> str | None:
        """Why a file of that licence is refused; None: it passes."""
        if licence:
            return None if self.permits(licence) else f"the licence {licence}"
        if not self._refuses_unknown:
            return None
        return "an unknown licence" if licence is None else "no licence that is known"

    def is_decisive(self, licence: str) -> bool:
        """Whether a file of that licence is judged otherwise than one of unknown licence."""
        return self.permits(licence) is self._refuses_unknown

    def permits(self, expression: str) -> bool:
        """Whether files of that licence pass."""
        known = self._known.get(expression)
        if known is None:
            known = self._known[expression] = evaluate_expression(expression, self._permits)
        return known

    def _permits(self, licence: str, exception: str) -> bool:
        pair = (_spelled(licence), exception.casefold())
        alone = (pair[0], "")
        for each in (pair, alone) if exception else (alone,):
            if each in self._denied:
                return False
            if each in self._allowed:
                return True
        if licence == BSD:
            return all(self._permits(each, "") for each in _BSD_FAMILY)
        return not self._allowed


def parse_licence(text: str) -> tuple[str, str]:
    """One licence of a list and its exception, in a form that is equal for all spellings.

    ``X+`` is ``X-or-later``, and ``GPL-2.0`` is ``GPL-2.0-only``. Raises ``ValueError``.
    """
    found = canonical_expression(text)
    if found is None:
        raise ValueError(f"{text!r} is no SPDX licence such as 'MIT' or 'GPL-3.0-only'")
    licence, _, exception = found.partition(" WITH ")
    if " " in licence or "(" in licence or " " in exception:
        raise ValueError(f"{text!r} is more than one licence; name each by itself")
    return _spelled(licence), exception.casefold()


def _spelled(licence: str) -> str:
    lower = licence.casefold()
    return lower.removesuffix("-only").replace("-or-later", "+")
