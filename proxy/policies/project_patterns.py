"""Patterns of routes: project names, ``*`` and ``?``, or regular expressions of bounded cost.

Python's regular expressions try one way after another to match a name. A hostile name can make
that take hours, unless there are few ways: so the ways that an expression has are counted, and
an expression with too many is refused when the settings are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from proxy import late_pattern
from proxy.model import ProjectName
from proxy.policies.names import matcher

EXPRESSION = "re:"
"""Begins a pattern that is a regular expression."""
MAX_EXPRESSION = 200
"""Characters of an expression."""
MAX_NAME = 200
"""Characters of a project name; a longer one matches no expression."""
MAX_WAYS = 50_000
"""In which an expression may match a name: two parts that repeat without a limit."""

Captured = Mapping[str, str]
Match = Callable[[ProjectName], Captured | None]

_PATTERN_TOKEN = late_pattern(
    r"(?P<atom>\\[dw.-]|\[\^?[a-z0-9.\\_-]+\]|[a-z0-9.-]|[\^$])"
    r"|(?P<open>\(\?P<[a-z_][a-z0-9_]*>|\(\?:|\((?!\?))|(?P<close>\))|(?P<or>\|)"
    r"|(?P<repeat>[*+?]|\{\d{1,3}(?:,\d{0,3})?\})",
    re.ASCII,
)


def project_pattern(patterns: Iterable[str]) -> Match:
    """A match of any of the patterns, and the named groups that an expression captured.

    Both sides are compared in normalized form; an expression has to match the whole name. Raises
    ``ValueError`` for a pattern that cannot match, or would take too long to.
    """
    given = tuple(patterns)
    plain = matcher(each for each in given if not each.startswith(EXPRESSION))
    expressions = [
        _compiled(each.removeprefix(EXPRESSION)) for each in given if each.startswith(EXPRESSION)
    ]

    def match(project: ProjectName) -> Captured | None:
        if plain(project):
            return {}
        if len(project) <= MAX_NAME:
            for expression in expressions:
                if found := expression.fullmatch(project):
                    return {name: value or "" for name, value in found.groupdict().items()}
        return None

    return match


def captured_names(patterns: Iterable[str]) -> set[str]:
    """The named groups that every one of the patterns captures."""
    groups = [
        set(_compiled(each.removeprefix(EXPRESSION)).groupindex)
        if each.startswith(EXPRESSION)
        else set()
        for each in patterns
    ]
    return set.intersection(*groups) if groups else set()


def _compiled(expression: str) -> re.Pattern[str]:
    if len(expression) > MAX_EXPRESSION:
        raise ValueError(f"a regular expression of more than {MAX_EXPRESSION} characters")
    ways = _ways(expression)
    try:
        compiled = re.compile(expression, re.ASCII)
    except re.error as error:
        raise ValueError(f"not a regular expression: {expression!r}: {error}") from None
    if ways > MAX_WAYS:
        raise ValueError(f"a regular expression that could take too long: {expression!r}")
    return compiled


def _ways(expression: str) -> int:
    """How many ways there are to match a name, at most.

    Raises ``ValueError`` for anything but names, classes, groups, ``|`` and repetitions.
    """
    levels, end = [[1]], 0  # of each open group, the ways of each of its alternatives
    last = 1  # of the last part
    for token in _PATTERN_TOKEN.finditer(expression):
        if token.start() != end:
            break
        end = token.end()
        if token["open"]:
            levels.append([1])
            last = 1
        elif token["close"] and len(levels) > 1:
            last = sum(levels.pop())
            levels[-1][-1] *= last
        elif token["or"]:
            levels[-1].append(1)
            last = 1
        elif token["repeat"]:
            levels[-1][-1] = levels[-1][-1] // last * _repeated(last, token["repeat"])
            last = 1
        elif token["atom"]:
            last = 1
        else:
            break
    if end != len(expression) or len(levels) > 1:
        problem = "may have names, [classes], (groups), | and repetitions alone"
        raise ValueError(f"a regular expression {problem}: {expression!r}")
    return sum(levels[0])


def _repeated(ways: int, repeat: str) -> int:
    """The ways of a part that has so many itself, repeated."""
    if repeat == "?":
        return ways + 1
    if ways > 1:
        return MAX_WAYS + 1
    if repeat in "*+" or repeat.endswith(",}"):
        return MAX_NAME
    low, _, high = repeat.strip("{}").partition(",")
    return max(1, int(high or low) - int(low) + 1)
