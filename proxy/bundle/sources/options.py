"""Options in the lines of a source."""

from __future__ import annotations

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Raises ``ValueError`` for what is wrong, and ends nothing."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)
