"""Changes of a htpasswd file: one user at a time, and never a file that is half written."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from proxy.access.principals import is_person
from proxy.errors import ConfigurationError, reason

MODE = 0o600
"""Of a new file."""


def set_password(path: Path, user: str, hashed: str, *, new: bool) -> None:
    """Write the user with that hash. ``new``: whether the file may not have the user yet.

    Raises ``ConfigurationError``.
    """
    if not is_person(user):
        problem = f"{user!r} cannot be a user name"
        raise ConfigurationError("name", problem, 'choose one without ":", "@" and "*"')

    def change(lines: list[str]) -> list[str]:
        known = [at for at, line in enumerate(lines) if _user(line) == user]
        if bool(known) is new:
            _refuse(user, path, exists=new)
        at = known[0] if known else len(lines)
        others = [line for number, line in enumerate(lines) if number not in known]
        return [*others[:at], f"{user}:{hashed}", *others[at:]]

    _rewrite(path, change, create=new)


def remove_user(path: Path, user: str) -> None:
    """Remove every line of the user. Raises ``ConfigurationError``."""

    def change(lines: list[str]) -> list[str]:
        others = [line for line in lines if _user(line) != user]
        if others == lines:
            _refuse(user, path, exists=False)
        return others

    _rewrite(path, change, create=False)


def _rewrite(path: Path, change: Callable[[list[str]], list[str]], *, create: bool) -> None:
    """Replace the file at once. A link stays one: the file that it names is replaced."""
    path = path.resolve()
    try:
        with _locked(path.parent):
            try:
                lines, mode = path.read_text("utf-8").splitlines(), path.stat().st_mode & 0o777
            except FileNotFoundError:
                if not create:
                    raise
                lines, mode = [], MODE
            _replace(path, "".join(f"{line}\n" for line in change(lines)), mode)
    except (OSError, ValueError) as error:
        problem = f"{path} cannot be changed: {reason(error)}"
        raise ConfigurationError("access.htpasswd", problem, "name another file") from None


def _replace(path: Path, text: str, mode: int) -> None:
    spare = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        spare.rename(path)
    finally:
        spare.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two commands at a time change the file one after the other."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _user(line: str) -> str:
    return line.strip().partition(":")[0]


def _refuse(user: str, path: Path, *, exists: bool) -> None:
    if exists:
        remedy = "change the password with `waystation user passwd`"
        raise ConfigurationError("name", f"{path} has a user {user} already", remedy)
    raise ConfigurationError("name", f"{path} has no user {user}", "see its lines")
