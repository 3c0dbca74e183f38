"""The licence of a distribution, from its core metadata: one SPDX expression, or unknown.

``License-Expression`` (PEP 639) wins. Older metadata have free text, which counts if it is one of
the usual spellings, and classifiers, of which only the unambiguous count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from proxy import late_pattern
from proxy.distributions.core_metadata import core_fields

LONGEST_EXPRESSION = 1000
"""Characters."""
DEEPEST_EXPRESSION = 32
"""Parentheses inside of each other."""
LONGEST_SPELLING = 60
"""Characters of a free text that can be the name of a licence."""
BSD = "LicenseRef-BSD"
"""One of the BSD licences: the classifier does not say which."""

_CLASSIFIER_PREFIX = "License :: "
_CLASSIFIERS = {
    "Academic Free License (AFL)": "AFL-3.0",
    "Apache Software License": "Apache-2.0",  # older versions of the licence are rare
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "BSD License": BSD,
    "CEA CNRS Inria Logiciel Libre License, version 2.1 (CeCILL-2.1)": "CECILL-2.1",
    "Eclipse Public License 1.0 (EPL-1.0)": "EPL-1.0",
    "Eclipse Public License 2.0 (EPL-2.0)": "EPL-2.0",
    "European Union Public Licence 1.1 (EUPL 1.1)": "EUPL-1.1",
    "European Union Public Licence 1.2 (EUPL 1.2)": "EUPL-1.2",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 (LGPLv2)": "LGPL-2.0-only",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "Historical Permission Notice and Disclaimer (HPND)": "HPND",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 1.0 (MPL)": "MPL-1.0",
    "Mozilla Public License 1.1 (MPL 1.1)": "MPL-1.1",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "SIL Open Font License 1.1 (OFL-1.1)": "OFL-1.1",
    "The Unlicense (Unlicense)": "Unlicense",
    "Universal Permissive License (UPL)": "UPL-1.0",
    "W3C License": "W3C",
    "Zero-Clause BSD (0BSD)": "0BSD",
    "zlib/libpng License": "Zlib",
    "Zope Public License": "ZPL-2.1",
}
"""By the last part of the classifier. Ambiguous classifiers are missing: GPL without a version,
public domain, freeware, proprietary, and the mere approval by the OSI."""
_IGNORED_CLASSIFIERS = {"OSI Approved"}

_SPELLINGS = {
    **dict.fromkeys(("apache 2", "apache 2.0", "apache-2", "apache2", "apache v2"), "Apache-2.0"),
    **dict.fromkeys(("apache license 2.0", "apache license v2.0"), "Apache-2.0"),
    **dict.fromkeys(("apache license, version 2.0", "apache license version 2.0"), "Apache-2.0"),
    **dict.fromkeys(("apache software license 2.0", "asl 2.0"), "Apache-2.0"),
    **dict.fromkeys(("mit license", "the mit license", "the mit license (mit)"), "MIT"),
    **dict.fromkeys(("expat", "mit licence"), "MIT"),
    **dict.fromkeys(("bsd", "bsd license", "bsd licence", "new bsd"), BSD),
    **dict.fromkeys(("bsd 3-clause", "3-clause bsd", "bsd 3-clause license"), "BSD-3-Clause"),
    **dict.fromkeys(("new bsd license", "modified bsd", "bsd-3"), "BSD-3-Clause"),
    **dict.fromkeys(("3-clause bsd license", "bsd 3 clause"), "BSD-3-Clause"),
    **dict.fromkeys(("bsd 2-clause", "2-clause bsd", "simplified bsd", "bsd-2"), "BSD-2-Clause"),
    **dict.fromkeys(("isc license", "iscl"), "ISC"),
    **dict.fromkeys(("mpl 2.0", "mpl2", "mozilla public license 2.0"), "MPL-2.0"),
    **dict.fromkeys(("gplv2", "gpl v2"), "GPL-2.0-only"),
    **dict.fromkeys(("gplv2+", "gpl v2+"), "GPL-2.0-or-later"),
    **dict.fromkeys(("gplv3", "gpl v3", "gpl-3"), "GPL-3.0-only"),
    **dict.fromkeys(("gplv3+", "gpl v3+"), "GPL-3.0-or-later"),
    **dict.fromkeys(("lgplv3", "lgpl v3"), "LGPL-3.0-only"),
    **dict.fromkeys(("lgplv3+", "lgpl v3+"), "LGPL-3.0-or-later"),
    **dict.fromkeys(("agplv3", "agpl v3"), "AGPL-3.0-only"),
    **dict.fromkeys(("psf", "psf license", "python software foundation license"), "PSF-2.0"),
    **dict.fromkeys(("zpl 2.1", "zpl-2.1"), "ZPL-2.1"),
    **dict.fromkeys(("unlicense", "the unlicense"), "Unlicense"),
}
"""Free texts, in lowercase."""

_SPDX_TOKEN = late_pattern(r"[()]|[^\s()]+")
_OPERATORS = {"(", ")", "AND", "OR", "WITH"}


def licence_of_metadata(metadata: bytes) -> str | None:
    """The licence as a canonical SPDX expression; None: unknown."""
    fields = core_fields(metadata)
    given = fields.get("license_expression")
    if isinstance(given, str) and (found := canonical_expression(given)):
        return found
    if isinstance(text := fields.get("license"), str) and (found := _from_text(text)):
        return found
    return _from_classifiers(fields.get("classifiers") or [])


def canonical_expression(text: str) -> str | None:
    """The canonical form of an SPDX expression; None if the text is none, or is too large."""
    if len(text) > LONGEST_EXPRESSION or _depth(text) > DEEPEST_EXPRESSION:
        return None
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        return str(canonicalize_license_expression(text))
    except (InvalidLicenseExpression, ValueError, RecursionError, MemoryError):
        return None


def evaluate_expression(expression: str, permits: Callable[[str, str], bool]) -> bool:
    """Whether a canonical expression is permitted: one side of OR, both sides of AND.

    ``permits`` gets each licence and its exception, which is mostly empty.
    """
    return _Evaluation(expression, permits).result()


class _Evaluation:
    """A parser by recursive descent: OR binds less than AND, and AND less than WITH."""

    def __init__(self, expression: str, permits: Callable[[str, str], bool]) -> None:
        self._tokens = _SPDX_TOKEN.findall(expression)[::-1]
        self._permits = permits

    def result(self) -> bool:
        found = self._any()
        if self._tokens:
            raise ValueError("there is text after the expression")
        return found

    def _any(self) -> bool:
        found = self._all()
        while self._takes("OR"):
            found = self._all() or found  # both are read
        return found

    def _all(self) -> bool:
        found = self._one()
        while self._takes("AND"):
            found = self._one() and found
        return found

    def _one(self) -> bool:
        if self._takes("("):
            found = self._any()
            if not self._takes(")"):
                raise ValueError("a parenthesis is not closed")
            return found
        licence = self._name()
        return self._permits(licence, self._name() if self._takes("WITH") else "")

    def _takes(self, token: str) -> bool:
        if not self._tokens or self._tokens[-1] != token:
            return False
        self._tokens.pop()
        return True

    def _name(self) -> str:
        if not self._tokens or self._tokens[-1] in _OPERATORS:
            raise ValueError("a licence is missing")
        return str(self._tokens.pop())


def _depth(text: str) -> int:
    deepest = depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        deepest = max(deepest, depth)
    return deepest


def _from_text(text: str) -> str | None:
    text = text.strip()
    if "\n" in text or not 0 < len(text) <= LONGEST_SPELLING:
        return None
    return _SPELLINGS.get(text.casefold()) or canonical_expression(text)


def _from_classifiers(classifiers: Sequence[str]) -> str | None:
    """Nothing says whether several mean a choice: all of them have to be permitted."""
    found: dict[str, None] = {}
    for classifier in classifiers:
        if not classifier.startswith(_CLASSIFIER_PREFIX):
            continue
        name = classifier.rpartition(" :: ")[2]
        if name in _IGNORED_CLASSIFIERS:
            continue
        if name not in _CLASSIFIERS:
            return None
        found[_CLASSIFIERS[name]] = None
    return " AND ".join(found) or None
