"""The fields that the tables of all kinds of indexes have, and the rules for their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from proxy import late_pattern
from proxy.config.values import Instant, Table
from proxy.errors import ConfigurationError
from proxy.model import RESERVED_SEGMENTS

NAME = late_pattern(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
"""Of an index or a webhook."""
RULE_WORDS = frozenset(("deny", "reserved"))
"""The words that a rule may have instead of the name of an index."""


class IndexTableBase(Table):
    """Fields that the indexes of all kinds have."""

    policies: list[str] = []
    """Names of ``[policies.NAME]``."""
    as_of: Instant | None = None
    members_key: ClassVar[str] = ""
    """The key that names other indexes."""

    @property
    def members(self) -> Sequence[str]:
        """The names of the indexes that this one is made of."""
        return ()

    @property
    def upstream_settings(self) -> Mapping[str, Any]:
        """The settings of an upstream that the table sets."""
        return {}


def name_problems(names: Iterable[str], prefix: str) -> Iterator[ConfigurationError]:
    """A name is the first segment of addresses: it has to differ from all others."""
    under_prefix = prefix.strip("/").partition("/")[0]
    for name in names:
        key = f"indexes.{name}"
        if not NAME.fullmatch(name):
            problem = f"{name!r} cannot be a part of an address as it is"
            remedy = 'use small letters, digits and "-", at most 63, beginning with none of "-"'
            yield ConfigurationError(key, problem, remedy)
        elif name in RESERVED_SEGMENTS:
            problem = f"/{name}/ has another meaning in addresses"
            yield ConfigurationError(key, problem, "choose another name")
        elif name in RULE_WORDS:
            problem = f"{name!r} has another meaning in the rules of a routed index"
            yield ConfigurationError(key, problem, "choose another name")
        elif name == under_prefix:
            problem = f"/{name}/ is also the beginning of the prefix, {prefix}"
            yield ConfigurationError(key, problem, "choose another name, or another prefix")
