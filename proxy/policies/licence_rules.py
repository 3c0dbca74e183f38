"""Rule ``licence``: which licences a file may have.

The licence of a file is known once its metadata have been read. Until then the file is of unknown
licence; later its page is judged again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cachetools import LRUCache

from proxy.distributions import BSD, canonical_expression, evaluate_expression
from proxy.model import File, ProjectName
from proxy.policies.base import Facts, PageView
from proxy.policies.configured import Finding, Rule

MAX_KNOWN = 4096
"""Expressions of which the result is remembered."""
_BSD_FAMILY = ("BSD-2-Clause", "BSD-3-Clause", "0BSD")

LicenceOf = Callable[[ProjectName, File], str | None]
"""The licence of a file of a project as a canonical SPDX expression. Empty: its metadata name none
that is known; None: the metadata have not been read."""


class Licences(Rule):
    """Refuses files by their licence; a licence on both lists is denied."""

    is_changing = True

    def __init__(
        self,
        licence_of: LicenceOf,
        facts: Facts | None = None,
        *,
        allowed: Iterable[str] = (),
        denied: Iterable[str] = (),
        refuses_unknown: bool = False,
    ) -> None:
        """``allowed`` and ``denied``: as ``parse_licence`` takes them; nothing allowed: all."""
        self._licence_of = licence_of
        self.facts = facts
        self._allowed = {parse_licence(each) for each in allowed}
        self._denied = {parse_licence(each) for each in denied}
        self._refuses_unknown = refuses_unknown
        self._known: LRUCache[str, bool] = LRUCache(MAX_KNOWN)

    def judge(self, view: PageView) -> Iterator[Finding]:
        for position, file in enumerate(view.page.files):
            licence = self._licence_of(view.page.project, file)
            if licence:
                if not self.permits(licence):
                    yield Finding((position,), f"{file.filename} has the licence {licence}")
            elif self._refuses_unknown:
                why = "no licence that is known" if licence is not None else "an unknown licence"
                yield Finding((position,), f"{file.filename} has {why}")

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
