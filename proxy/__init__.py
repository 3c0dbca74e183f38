"""Waystation: a caching package index gateway.

What makes a start short is here: names and regular expressions that come late.
"""

import re
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, AnyStr, cast

__version__ = "0.1.0"


def late_names(package: str, *modules: str) -> Callable[[str], Any]:
    """A ``__getattr__`` (PEP 562) for the face of a package: it imports names when they are used.

    ``modules``: those of the package that have the names of ``__all__`` which are not there yet.
    """

    def get(name: str) -> Any:
        face = vars(sys.modules[package])
        for module in modules if name in face["__all__"] else ():
            found = vars(import_module(f"{package}.{module}"))
            if name in found:
                face[name] = found[name]
                return found[name]
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get


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
