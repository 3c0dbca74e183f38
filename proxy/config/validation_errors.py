"""Validation errors in plain words: which key, which value, what would be right."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from proxy.config.access_table import AccessTable
from proxy.config.fact_tables import POLICY_TABLES
from proxy.config.index_tables import INDEX_TABLES
from proxy.config.keep_table import KeepTable
from proxy.config.operation_tables import WebhookTable
from proxy.config.policy_tables import ExemptTable
from proxy.config.routed_table import RuleTable
from proxy.config.settings import Settings
from proxy.config.storage_table import StorageTable
from proxy.errors import ConfigurationError

SEE_SETTINGS = "`waystation settings` prints all settings and explains them"
_TABLES_BY_KIND: Mapping[str, Mapping[str, type[BaseModel]]] = {
    "indexes": INDEX_TABLES,
    "policies": POLICY_TABLES,
}
_TABLE_TYPES: Mapping[str, type[BaseModel]] = {
    "access": AccessTable,
    "keep": KeepTable,
    "exempt": ExemptTable,
    "storage": StorageTable,
    "webhooks": WebhookTable,
}
_SECRET = ("password", "secret", "token")
"""In keys whose values are not shown."""
_NOT_AN_ADDRESS = 'is not an address such as "https://index.example.com/simple/"'

_TEXT_BY_KEY = {
    "workers": 'is neither a whole number from 1 on nor "auto"',
    "to": 'is neither the name of an index, "deny", "reserved", nor { page = "FILE" }',
    "prefix": 'is not a path such as "/pypi", without a slash at its end',
    "python": 'is not a Python version such as "3.12"',
}
_TEXT_BY_ERROR_TYPE = {
    "missing": "is required",
    "too_short": "is empty",
    "greater_than": "has to be greater than {gt}",
    "greater_than_equal": "has to be at least {ge}",
    "less_than_equal": "has to be at most {le}",
    "literal_error": "is not {expected}",
    "union_tag_invalid": "has the kind '{tag}', which is none of {expected_tags}",
    "union_tag_not_found": "has no kind; kinds are {kinds}",
    "url_scheme": "is not an address that begins with {expected_schemes}",
    "finite_number": "is not a finite number",
    "value_error": "{error}",
}
_TEXT_BY_TYPE_PREFIX = {
    "int": "is not a whole number",
    "float": "is not a number",
    "bool": "is neither true nor false",
    "string": "is not text",
    "path": "is not a path",
    "list": "is not a list",
    "dict": "is not a table",
    "model": "is not a table",
    "url": _NOT_AN_ADDRESS,
    "byte": 'is not a size in bytes, such as 500000000 or "20GB"',
}
"""By the first word of the error type: ``int_parsing`` and ``int_type`` have one text."""


def similar_name(name: str, known: Iterable[str]) -> str:
    """``did you mean …? `` if a known name is similar, ignoring case; else empty."""
    from difflib import get_close_matches

    by_lower = {each.lower(): each for each in known}
    close = get_close_matches(name.lower(), by_lower, 1, cutoff=0.7)
    return f"did you mean {by_lower[close[0]]}? " if close else ""


def unknown_setting(key: str, known: Iterable[str], origin: str = "") -> ConfigurationError:
    """The error for a name that no setting has."""
    where = f" (from {origin})" if origin else ""
    hint = similar_name(key.rpartition(".")[2], known)
    return ConfigurationError(key, f"there is no such setting{where}", hint + SEE_SETTINGS)


def explain_errors(
    error: ValidationError, origins: Mapping[str, str]
) -> Iterator[ConfigurationError]:
    """One error for each wrong setting, although pydantic may report several for one."""
    seen = set()
    for each in error.errors(include_url=False):
        found = _explain(each, origins)
        if found.key not in seen:
            seen.add(found.key)
            yield found


def _explain(error: Mapping[str, Any], origins: Mapping[str, str]) -> ConfigurationError:
    parts = [str(part) for part in error["loc"]]
    name, known = parts[0], list(Settings.model_fields)
    if name in _TABLES_BY_KIND:
        known = [key for kind in parts[2:3] for key in _TABLES_BY_KIND[name][kind].model_fields]
        del parts[2:3]  # pydantic adds the kind, which is not part of the key
        if "rules" in parts[2:3]:
            known = list(RuleTable.model_fields)
            del parts[5:6]  # nor is the kind of the target
    elif name in _TABLE_TYPES:
        known = list(_TABLE_TYPES[name].model_fields)
    elif name == "workers":
        del parts[1:]  # pydantic adds which type of the union it tried
    key, origin = ".".join(parts), origins.get(name, "")
    if error["type"] == "extra_forbidden":
        return unknown_setting(key, known, origin)
    where = f" (from {origin})" if origin else ""
    problem = " ".join(filter(None, [_value_text(key, error["input"]), _text(parts, error)]))
    default = Settings.model_fields[name].default if len(parts) == 1 else None
    default_text = f"the default is {default}; " if default else ""
    return ConfigurationError(key, problem + where, default_text + SEE_SETTINGS)


def _text(parts: list[str], error: Mapping[str, Any]) -> str:
    kind = error["type"]
    kinds = ", ".join(map(repr, _TABLES_BY_KIND.get(parts[0], ())))
    context = error.get("ctx", {}) | {"kinds": kinds}
    by_key = next((_TEXT_BY_KEY[part] for part in reversed(parts) if part in _TEXT_BY_KEY), None)
    if by_key and kind not in ("missing", "value_error"):
        return by_key
    by_prefix = _TEXT_BY_TYPE_PREFIX.get(kind.split("_")[0], "has a wrong value")
    return _TEXT_BY_ERROR_TYPE.get(kind, by_prefix).format_map(context)


def _value_text(key: str, value: object) -> str:
    """The value as JSON; empty if it is long or may contain a secret."""
    if any(word in key for word in _SECRET) or not isinstance(value, str | int | float):
        return ""
    text = json.dumps(value, ensure_ascii=False)
    return text if "@" not in text and len(text) <= 100 and text.isprintable() else ""
