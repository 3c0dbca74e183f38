"""Reading without keeping: for what a resolver has to look into before anybody wants it here."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from proxy.cache import PRIVATE_NAMES, cache_folder
from proxy.compose import open_proxy
from proxy.indexes.base import Index
from proxy.settings import Settings


@asynccontextmanager
async def temporary_cache(settings: Settings) -> AsyncIterator[Index]:
    """The index of these settings on a temporary cache. Raises ``ConfigurationError``.

    What the lasting cache remembers as private stays private.
    """
    names = cache_folder(settings) / PRIVATE_NAMES
    with TemporaryDirectory(prefix="waystation-", ignore_cleanup_errors=True) as folder:
        if names.exists():
            shutil.copyfile(names, Path(folder, PRIVATE_NAMES))
        async with open_proxy(settings.model_copy(update={"cache_dir": Path(folder)})) as proxy:
            yield proxy.index
