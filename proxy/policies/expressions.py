"""Rule ``expression``: a condition in CEL (Common Expression Language) over facts of a file.

``cel`` (the distribution common-expression-language) is optional and takes 0.4 seconds to import,
so only this module imports it, where a rule of this kind exists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Any

from proxy.errors import how_to_add
from proxy.model import File, ProjectPage, normalize
from proxy.policies.advisories import About
from proxy.policies.base import Facts, PageView
from proxy.policies.configured import Finding, Rule
from proxy.policies.expression_facts import (
    ADVISORY_FACTS,
    FILE_FACTS,
    PROJECT_FACTS,
    RELEASE_FACTS,
    FactSubject,
)
from proxy.policies.licence_rules import LicenceOf
from proxy.policies.parsed_page import parse_names

FACTS: Mapping[str, Mapping[str, Callable[[FactSubject], Any]]] = {
    "project": PROJECT_FACTS,
    "release": RELEASE_FACTS,
    "file": FILE_FACTS,
}
"""What each variable has, by name. A fact that is None is left out: see ``has(file.age)``."""
JUDGED_AGAIN_AFTER = 60.0
"""Seconds until a page is judged again by an expression whose instants cannot be computed."""
LONGEST_REASON = 100
"""Characters of the expression that a reason shows."""

_STRING = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", re.DOTALL)
_FIELD = re.compile(r"\b(project|release|file)\b(?:\s*\.\s*([A-Za-z_]\w*))?")
_WHOLE = re.compile(r"\b(?:file|release)\b(?!\s*\.)")
_HAS_AGE = re.compile(r"\bhas\(\s*(?:file|release)\s*\.\s*age\s*\)")
_AGE = re.compile(r"\.\s*age\b")
_DURATION = r"duration\(\s*(?P<{0}>\"[^\"]*\"|'[^']*')\s*\)"
_COMPARED = re.compile(
    r"\b(?:file|release)\s*\.\s*age\s*(?:<=|>=|<|>)\s*" + _DURATION.format("after") + "|"
    + _DURATION.format("before") + r"\s*(?:<=|>=|<|>)\s*(?:file|release)\s*\.\s*age\b"
)  # fmt: skip
_ARITHMETIC = tuple("-+*/%.")
_PART_OF_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|ns|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


class Condition:
    """A compiled expression, and what it needs."""

    def __init__(self, source: str) -> None:
        """Raises ``ValueError`` for an expression that cannot be compiled, names unknown facts,
        or has no boolean value for a file of which everything is known.
        """
        if find_spec("cel") is None:
            raise ValueError(f"expressions need a library: {how_to_add('expressions')}")
        import cel

        self.source = source
        try:
            self._program = cel.compile(source)
        except ValueError as error:
            raise ValueError(_first_sentence(error)) from None
        self._new_context = cel.Context
        self._facts = _used_facts(source)
        self._thresholds = _thresholds(source)
        used = {fact for facts in self._facts.values() for fact in facts}
        self.needs_advisories = not used.isdisjoint(ADVISORY_FACTS)
        self.needs_licences = "licence" in used
        self.uses_age = self._thresholds is None or bool(self._thresholds)
        self.judges_files = bool(self._facts["file"])
        """False: the value is the same for all files of a release."""
        try:
            self.holds(_sample())
        except (KeyError, TypeError, RuntimeError, ValueError, ArithmeticError) as error:
            raise ValueError(_first_sentence(error)) from None

    def holds(self, subject: FactSubject) -> bool:
        """Whether the condition is true. Raises what the library raises, and ``TypeError``."""
        context = self._new_context()  # of this call alone: pages are judged in several threads
        for name, facts in self._facts.items():
            if facts:
                values = {fact: value(subject) for fact, value in facts.items()}
                known = {fact: value for fact, value in values.items() if value is not None}
                context.add_variable(name, known)
        try:
            value = self._program.execute(context)
        except Exception:
            raise
        except BaseException as error:  # a panic of the library is no Exception
            if type(error).__name__ != "PanicException":
                raise
            raise RuntimeError(str(error)) from None
        if not isinstance(value, bool):
            raise TypeError(f"the value is of type {type(value).__name__}, and not true or false")
        return value

    def changes_at(self, subject: FactSubject) -> float | None:
        """Unix time in seconds at which the value may change next; None: never."""
        if not self.uses_age:
            return None
        if self._thresholds is None:
            return subject.now + JUDGED_AGAIN_AFTER
        times = [subject.uploaded, subject.release_uploaded]
        # The microsecond after: "age <= 7d" still holds at seven days.
        instants = [
            time + threshold + late
            for time in times
            if time is not None
            for threshold in self._thresholds
            for late in (0.0, 1e-6)
        ]
        return min((each for each in instants if each > subject.now), default=None)


class Expression(Rule):
    """Refuses the files for which a condition is true; an error of the condition is raised."""

    def __init__(
        self,
        condition: Condition,
        about: About = lambda project: (),
        licence_of: LicenceOf = lambda project, file: None,
        facts: Facts | None = None,
    ) -> None:
        self._condition = condition
        self._about = about
        self._licence_of = licence_of
        self.facts = facts if condition.needs_licences else None
        self._reason = f"true is: {' '.join(condition.source.split())[:LONGEST_REASON]}"
        self.is_changing = condition.needs_advisories or condition.needs_licences

    def judge(self, view: PageView) -> Iterator[Finding]:
        advisories = self._about(view.page.project)
        condition = self._condition
        for release in view.parsed.releases:
            holds, until = False, None
            for number, position in enumerate(release.positions):
                subject = FactSubject(view, release, position, advisories, self._licence_of)
                if number == 0 or condition.judges_files:
                    holds = condition.holds(subject)
                until = condition.changes_at(subject)
                if holds or until is not None:
                    yield Finding((position,), self._reason, until, refuses=holds)


def _used_facts(source: str) -> dict[str, dict[str, Callable[[FactSubject], Any]]]:
    """The facts that an expression names, by variable; all where a variable is used as a whole.

    Raises ``ValueError`` for a fact that does not exist.
    """
    found: dict[str, dict[str, Callable[[FactSubject], Any]]] = {name: {} for name in FACTS}
    for name, fact in _FIELD.findall(_STRING.sub('""', source)):
        known = FACTS[name]
        if not fact:
            found[name] = dict(known)
        elif fact in known:
            found[name].setdefault(fact, known[fact])
        else:
            raise ValueError(f"{name}.{fact} is unknown; {name} has {', '.join(sorted(known))}")
    return found


def _thresholds(source: str) -> Sequence[float] | None:
    """The durations in seconds with which ages are compared; None: ages are used otherwise too."""
    bare = _STRING.sub(_kept_if_duration, _HAS_AGE.sub("true", source))
    ages = len(_AGE.findall(bare))
    compared = [
        match["after"] or match["before"]
        for match in _COMPARED.finditer(bare)
        if not bare[: match.start()].rstrip().endswith(_ARITHMETIC)
        and not bare[match.end() :].lstrip().startswith(_ARITHMETIC)
    ]
    if _WHOLE.search(_STRING.sub('""', source)) or ages != len(compared):
        return None
    return [_seconds(text[1:-1]) for text in compared]


def _kept_if_duration(match: re.Match[str]) -> str:
    """Durations stay; what looks like an expression in another text means nothing."""
    return match[0] if match.string[: match.start()].rstrip().endswith("duration(") else '""'


def _seconds(text: str) -> float:
    parts = _PART_OF_DURATION.findall(text)
    total = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return -total if text.startswith("-") else total


def _first_sentence(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"there is no {error.args[0]!r}"
    return str(error).partition(". ")[0].partition("\n|")[0]


def _sample() -> FactSubject:
    """A file of which everything is known."""
    now = 1_800_000_000.0
    uploaded = datetime.fromtimestamp(now, UTC) - timedelta(days=30)
    file = File(
        "sample-1.0-py3-none-any.whl",
        "",
        {"sha256": "0" * 64},
        size=1000,
        requires_python=">=3.9",
        uploaded=uploaded.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    page = ProjectPage(normalize("sample"), (file,))
    view = PageView(page, now, parse_names(page))
    return FactSubject(view, view.parsed.releases[0], 0, (), lambda project, file: "MIT")
