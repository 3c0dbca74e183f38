"""Regular expressions that most starts and most requests do not need."""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast


def late_pattern(pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """As ``re.compile``, but compiled at its first use: to compile all takes a tenth of a start.

    The result has the attributes of a pattern, but is no ``re.Pattern``. What each page or file
    needs is compiled at the start, so that no request waits for that.
    """
    return cast("re.Pattern[AnyStr]", _LatePattern(pattern, flags))


class _LatePattern:
    def __init__(self, pattern: Any, flags: int) -> None:
        self._given = (pattern, flags)

    def __getattr__(self, name: str) -> Any:
        """Called once for each method, which is an attribute of its own after that."""
        method = getattr(re.compile(*self._given), name)
        setattr(self, name, method)
        return method
