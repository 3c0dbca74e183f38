"""Reads the text of an expression in CEL: names of facts, compared ages, and parts.

The library compiles and executes expressions, but offers no syntax tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from proxy import late_pattern

_LITERAL = late_pattern(
    r"""[rR](?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')"""
    r"""|\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}"""
    r"""|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|//[^\n]*""",
    re.DOTALL,
)
"""A text, or a comment."""
_FIELD = late_pattern(r"\b(project|release|file)\b(?:\s*\.\s*([A-Za-z_]\w*))?")
_WHOLE = late_pattern(r"\b(?:file|release)\b(?!\s*\.)")
_HAS_AGE = late_pattern(r"\bhas\(\s*(?:file|release)\s*\.\s*age\s*\)")
_AGE = late_pattern(r"\.\s*age\b")
_DURATION_CALL = r"duration\(\s*(?P<{0}>\"[^\"]*\"|'[^']*')\s*\)"
_COMPARED = late_pattern(
    r"\b(?:file|release)\s*\.\s*age\s*(?:<=|>=|<|>)\s*" + _DURATION_CALL.format("after") + "|"
    + _DURATION_CALL.format("before") + r"\s*(?:<=|>=|<|>)\s*(?:file|release)\s*\.\s*age\b"
)  # fmt: skip
_ARITHMETIC = tuple("-+*/%.")
_PART_OF_DURATION = late_pattern(r"(\d+(?:\.\d+)?)(h|ms|us|ns|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_OPENING, _CLOSING = "([{", ")]}"
_LOGICAL, _EQUAL = ("&&", "||", "?", ":"), ("==", "!=")


def named_facts(source: str) -> Iterator[tuple[str, str]]:
    """Variables and the facts of them that are used; no fact: the variable as a whole."""
    yield from _FIELD.findall(_LITERAL.sub(_blank, source))


def thresholds(source: str) -> Sequence[float] | None:
    """The durations in seconds with which ages are compared; None: ages are used otherwise too."""
    bare = _LITERAL.sub(_blank_unless_duration, _HAS_AGE.sub("true", source))
    ages = len(_AGE.findall(bare))
    compared = [
        match["after"] or match["before"]
        for match in _COMPARED.finditer(bare)
        if not bare[: match.start()].rstrip().endswith(_ARITHMETIC)
        and not bare[match.end() :].lstrip().startswith(_ARITHMETIC)
    ]
    if _WHOLE.search(_LITERAL.sub(_blank, source)) or ages != len(compared):
        return None
    return [_seconds(text[1:-1]) for text in compared]


def conditions(source: str) -> Iterator[str]:
    """The parts that ``&&``, ``||`` and ``?:`` join, which may hide an error of one from another.

    Parts inside of a call are left out: their variables may be those of a macro.
    """
    text = source.strip().removeprefix("!").strip()
    while text.startswith("(") and _end_of_group(text) == len(text):
        text = text[1:-1].strip()
    parts = _split(text, _LOGICAL)
    if len(parts) == 1 and text == source.strip():
        yield text
    else:
        for part in parts:
            yield from conditions(part)


def equated(condition: str) -> Sequence[str]:
    """The two sides of ``==`` or ``!=``; nothing for another condition."""
    sides = _split(condition, _EQUAL)
    return sides if len(sides) == 2 else ()


def _split(text: str, operators: Sequence[str]) -> list[str]:
    """The parts between operators that are in no parentheses and no text."""
    bare = _LITERAL.sub(lambda match: " " * len(match[0]), text)
    parts, depth, begin, at = [], 0, 0, 0
    while at < len(bare):
        depth += (bare[at] in _OPENING) - (bare[at] in _CLOSING)
        is_operator = depth == 0 and not bare.startswith(".?", at - 1)  # "file.?size"
        found = next((each for each in operators if is_operator and bare.startswith(each, at)), "")
        if found:
            parts.append(text[begin:at])
            begin = at + len(found)
        at += len(found) or 1
    return [*parts, text[begin:]]


def _end_of_group(text: str) -> int:
    """The position after the parenthesis that closes the first one."""
    depth = 0
    for at, character in enumerate(_LITERAL.sub(lambda match: " " * len(match[0]), text)):
        depth += (character in _OPENING) - (character in _CLOSING)
        if depth == 0:
            return at + 1
    return 0


def _blank(match: re.Match[str]) -> str:
    return " " if match[0].startswith("//") else '""'


def _blank_unless_duration(match: re.Match[str]) -> str:
    """Durations stay; what looks like an expression in another text means nothing."""
    is_duration = match.string[: match.start()].rstrip().endswith("duration(")
    return match[0] if is_duration else _blank(match)


def _seconds(text: str) -> float:
    parts = _PART_OF_DURATION.findall(text)
    total = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return -total if text.startswith("-") else total
