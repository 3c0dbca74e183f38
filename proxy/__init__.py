"""Waystation: a caching package index gateway."""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

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
