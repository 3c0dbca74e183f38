"""The licence in core metadata: expressions, classifiers, free text, and nothing."""

from __future__ import annotations

import pytest

from proxy.distributions import canonical_expression, evaluate_expression, licence_of_metadata


def metadata(*lines: str) -> bytes:
    return "\n".join(("Metadata-Version: 2.4", "Name: a", "Version: 1", *lines, "", "")).encode()


CLASSIFIER = "Classifier: License :: OSI Approved :: "


@pytest.mark.parametrize(
    ("lines", "licence"),
    [
        (["License-Expression: mit or apache-2.0"], "MIT OR Apache-2.0"),
        (["License-Expression: GPL-2.0-or-later WITH classpath-exception-2.0"],
         "GPL-2.0-or-later WITH Classpath-exception-2.0"),
        (["License-Expression: LicenseRef-Ours"], "LicenseRef-Ours"),
        (["License-Expression: MIT", "License: GPLv3", CLASSIFIER + "BSD License"], "MIT"),
        (["License-Expression: nonsense", CLASSIFIER + "MIT License"], "MIT"),
        (["License: MIT"], "MIT"),
        (["License: Apache 2.0"], "Apache-2.0"),
        (["License: Apache License, Version 2.0"], "Apache-2.0"),
        (["License: BSD"], "LicenseRef-BSD"),
        (["License: MIT OR Apache-2.0"], "MIT OR Apache-2.0"),
        (["License: MIT", CLASSIFIER + "BSD License"], "MIT"),
        (["License: see LICENSE", CLASSIFIER + "MIT License"], "MIT"),
        (["License: " + "MIT " * 7000], None),
        (["License: Permission is hereby granted", "        to everybody"], None),
        (["License: MIT", "        and more"], None),
        ([CLASSIFIER + "BSD License"], "LicenseRef-BSD"),
        ([CLASSIFIER + "GNU General Public License v3 (GPLv3)"], "GPL-3.0-only"),
        ([CLASSIFIER + "GNU General Public License v3 or later (GPLv3+)"], "GPL-3.0-or-later"),
        ([CLASSIFIER + "GNU General Public License (GPL)"], None),
        (["Classifier: License :: Public Domain"], None),
        (["Classifier: License :: Other/Proprietary License"], None),
        (["Classifier: License :: OSI Approved"], None),
        (["Classifier: License :: OSI Approved", CLASSIFIER + "MIT License"], "MIT"),
        ([CLASSIFIER + "MIT License", CLASSIFIER + "Apache Software License"],
         "MIT AND Apache-2.0"),
        ([CLASSIFIER + "MIT License", "Classifier: License :: Freeware"], None),
        ([CLASSIFIER + "Zero-Clause BSD (0BSD)"], "0BSD"),
        (["Classifier: Topic :: Utilities"], None),
        ([], None),
    ],
)  # fmt: skip
def test_licence_of_metadata(lines: list[str], licence: str | None) -> None:
    assert licence_of_metadata(metadata(*lines)) == licence


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe", b"\0" * 100, b"License-Expression: MIT\nLicense-Expression: GPL"]
)
def test_unreadable_metadata_have_no_licence(data: bytes) -> None:
    assert licence_of_metadata(data) is None


@pytest.mark.parametrize(
    "text",
    ["(" * 10_000 + "MIT" + ")" * 10_000, "(" * 100 + "MIT" + ")" * 100, "MIT OR " * 10_000,
     "BSD", "MIT/Apache-2.0", "MIT AND", "(MIT", "MIT)", "()", "__import__('os')"],
)  # fmt: skip
def test_what_is_no_expression_of_a_sensible_size(text: str) -> None:
    assert canonical_expression(text) is None


def test_parentheses_inside_of_each_other() -> None:
    text = canonical_expression("(" * 30 + "MIT" + ")" * 30)
    assert text is not None
    assert evaluate_expression(text, lambda licence, exception: licence == "MIT")


@pytest.mark.parametrize("text", ["", "MIT MIT", "(MIT", "MIT OR", "AND MIT", "MIT WITH"])
def test_an_expression_that_is_not_canonical_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        evaluate_expression(text, lambda licence, exception: True)
