"""The folders that settings mean, with the defaults of those that are not set."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path

from proxy.config.settings import Settings
from proxy.errors import ConfigurationError


def cache_folder(settings: Settings) -> Path:
    """Raises ``ConfigurationError`` if no folder is set and the user has no home directory."""
    folder = settings.cache_dir or user_cache_path("waystation", appauthor=False)
    try:
        return folder.expanduser().absolute()
    except RuntimeError:
        problem = f"the home directory in {folder} is unknown"
        raise ConfigurationError("cache_dir", problem, "set an absolute path") from None


def audit_folder(settings: Settings) -> Path:
    """Of the databases of the audit. Raises ``ConfigurationError`` if there is no ``[audit]``."""
    if settings.audit is None:
        problem = "it is not set, so that nothing is remembered"
        raise ConfigurationError("audit", problem, "add the table [audit] to the settings file")
    if settings.audit.folder:
        return settings.audit.folder.absolute()
    return cache_folder(settings) / "audit"
