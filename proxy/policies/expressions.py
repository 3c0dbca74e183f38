"""Rule ``expression``: a condition in CEL (Common Expression Language) over facts of a file.

``cel`` (the distribution common-expression-language) is optional and takes 0.4 seconds to import,
so only this module imports it, where a rule of this kind exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Any

from proxy.errors import how_to_add
from proxy.model import File, ProjectPage, normalize
from proxy.policies.advisories import About, is_private
from proxy.policies.base import Facts, NoVerdict, PageView
from proxy.policies.configured import Finding, Rule
from proxy.policies.expression_facts import (
    ADVISORY_FACTS,
    FILE_FACTS,
    PROJECT_FACTS,
    RELEASE_FACTS,
    FactSubject,
    FactSubjects,
)
from proxy.policies.expression_source import conditions, equated, named_facts, thresholds
from proxy.policies.licence_rules import LicencesOf
from proxy.policies.parsed_page import parse_names

FACTS: Mapping[str, Mapping[str, Callable[[FactSubject], Any]]] = {
    "project": PROJECT_FACTS,
    "release": RELEASE_FACTS,
    "file": FILE_FACTS,
}
"""The facts of each variable, by name. A fact that is None is left out: see ``has(file.age)``."""
JUDGED_AGAIN_AFTER = 60.0
"""Seconds until a page is judged again by an expression whose instants cannot be computed."""
LONGEST_REASON = 100
"""Characters of the expression that a reason shows."""
_RUN_TIME_ERRORS = (LookupError, TypeError, RuntimeError, ValueError, ArithmeticError)


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
        self._thresholds = thresholds(source)
        used = {fact for facts in self._facts.values() for fact in facts}
        self.needs_advisories = not used.isdisjoint(ADVISORY_FACTS)
        self.needs_licences = "licence" in used
        self.uses_age = self._thresholds is None or bool(self._thresholds)
        self._aged: Sequence[tuple[bool, Callable[[FactSubject], float | None]]]
        self._aged = (
            ("age" in self._facts["file"], lambda subject: subject.uploaded),
            ("age" in self._facts["release"], lambda subject: subject.release_uploaded),
        )
        self.judges_files = bool(self._facts["file"])
        """False: the value is the same for all files of a release."""
        try:
            list(self.holds_for(_sample()))
        except NoVerdict as error:
            raise ValueError(str(error).partition(": ")[2]) from None
        self._check_types(cel.compile)

    def _check_types(self, compiled: Callable[[str], Any]) -> None:
        """Execute each part by itself: the library skips parts after ``false &&`` and the like.

        Raises ``ValueError``.
        """
        context = self._new_context()
        for name in FACTS:
            self._add(context, name, _sample().first)
        for part in conditions(self.source):
            sides = equated(part)
            kinds = {}
            for text in sides or [part]:
                try:
                    kinds[_kind(compiled(text).execute(context))] = text.strip()
                except (TypeError, RuntimeError) as error:
                    if isinstance(error, TypeError) or str(error).startswith("Undefined"):
                        raise ValueError(f"{text.strip()}: {_first_sentence(error)}") from None
                except (LookupError, ValueError, ArithmeticError):
                    pass  # whether such an error occurs may depend on the other parts
            said = " and ".join(f"{text} is a {kind}" for kind, text in kinds.items())
            if len(kinds) > 1 and "null" not in kinds:
                raise ValueError(f"{part.strip()} compares two types: {said}")
            if kinds and not sides and "boolean" not in kinds:
                raise ValueError(f"{said}, and not true or false")

    def holds_for(self, subjects: FactSubjects) -> Iterator[tuple[FactSubject, bool]]:
        """Whether the condition is true, for each file of a page.

        Raises ``NoVerdict``.
        """
        context = self._new_context()  # of this call alone: pages are judged in several threads
        self._add(context, "project", subjects.first)
        for files in subjects:
            former: FactSubject | None = None
            value = False
            for subject in files:
                shares = former is not None and is_private(former.file) is is_private(subject.file)
                if not shares:
                    self._add(context, "release", subject)
                if not shares or self.judges_files:
                    self._add(context, "file", subject)
                    value = self._judged(context, subject)
                yield subject, value
                former = subject

    def _add(self, context: Any, name: str, subject: FactSubject | None) -> None:
        if subject and (facts := self._facts[name]):
            values = {fact: value(subject) for fact, value in facts.items()}
            known = {fact: value for fact, value in values.items() if value is not None}
            context.add_variable(name, known)

    def _judged(self, context: Any, subject: FactSubject) -> bool:
        try:
            return self._value(context)
        except _RUN_TIME_ERRORS as error:
            why = _first_sentence(error)
            raise NoVerdict(f"{subject.file.filename}: {why} in {self.source!r}") from None

    def _value(self, context: Any) -> bool:
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
        if self._thresholds is None:
            return subject.now + JUDGED_AGAIN_AFTER if self.uses_age else None
        instants = []
        for has_age, time in self._aged:
            if has_age and (uploaded := time(subject)) is not None:
                # The microsecond after: "age <= 7d" still holds at seven days.
                since = subject.now - uploaded
                instants += [
                    uploaded + threshold + late
                    for threshold in self._thresholds
                    for late in (0.0, 1e-6)
                    if threshold + late > since
                ]
        return min(instants, default=None)


class Expression(Rule):
    """Refuses the files for which a condition is true; an error of it is a ``NoVerdict``."""

    def __init__(
        self,
        condition: Condition,
        about: About = lambda project: (),
        licences_of: LicencesOf = lambda project: lambda digest: None,
        facts: Facts | None = None,
    ) -> None:
        self._condition = condition
        self._about = about
        self._licences_of = licences_of
        self.facts = facts if condition.needs_licences else None
        self._reason = f"true is: {' '.join(condition.source.split())[:LONGEST_REASON]}"
        self.is_changing = condition.needs_advisories or condition.needs_licences

    def judge(self, view: PageView) -> Iterator[Finding]:
        project = view.page.project
        subjects = FactSubjects(view, self._about(project), self._licences_of(project))
        refused: dict[float | None, list[int]] = {}
        changes: list[float] = []
        for subject, holds in self._condition.holds_for(subjects):
            until = self._condition.changes_at(subject) if self._condition.uses_age else None
            if holds:
                refused.setdefault(until, []).append(subject.position)
            elif until is not None:
                changes.append(until)
        for until, positions in refused.items():
            yield Finding(positions, self._reason, until)
        if changes:
            yield Finding((0,), "", min(changes), refuses=False)  # says only until when


def _used_facts(source: str) -> dict[str, dict[str, Callable[[FactSubject], Any]]]:
    """The facts that an expression names, by variable; all where a variable is used as a whole.

    Raises ``ValueError`` for a fact that does not exist.
    """
    found: dict[str, dict[str, Callable[[FactSubject], Any]]] = {name: {} for name in FACTS}
    for name, fact in named_facts(source):
        known = FACTS[name]
        if not fact:
            found[name] = dict(known)
        elif fact in known:
            found[name].setdefault(fact, known[fact])
        else:
            raise ValueError(f"{name}.{fact} is unknown; {name} has {', '.join(sorted(known))}")
    return found


def _kind(value: object) -> str:
    """The type of a value, as messages name it."""
    kinds: Sequence[tuple[type | tuple[type, ...], str]] = (
        *((bool, "boolean"), ((int, float), "number"), (str, "text"), (timedelta, "duration")),
        *((datetime, "timestamp"), (list, "list"), (type(None), "null")),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), type(value).__name__)


def _first_sentence(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"there is no {error.args[0]!r}"
    return str(error).partition(". ")[0].partition("\n|")[0]


def _sample() -> FactSubjects:
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
    return FactSubjects(view, (), lambda digest: "MIT")
