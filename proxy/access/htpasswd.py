"""Passwords in a htpasswd file: ``user:hash`` lines, with bcrypt or argon2 alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

from proxy.access.authenticator import Presented, ProvenIdentity
from proxy.access.principals import Principal, is_person
from proxy.errors import ConfigurationError, how_to_add, reason

log = logging.getLogger(__name__)

MAX_VERIFICATIONS = 2
"""Passwords that are verified at the same time: each takes up to 0.3 s of CPU, argon2 64 MiB too.
"""
KEEP = 300.0
"""Seconds for which a verified password is not verified again."""
BCRYPT = ("$2y$", "$2b$", "$2a$")
ARGON2 = ("$argon2id$", "$argon2i$")
_WEAK = {
    "$apr1$": "Apache's MD5",
    "{SHA}": "SHA-1 without salt",
    "$5$": "sha256-crypt",
    "$6$": "sha512-crypt",
    "$1$": "MD5",
}


def check_hash(text: str) -> str | None:
    """Why a password with this hash is refused; None if it is accepted."""
    if text.startswith((*BCRYPT, *ARGON2)):
        return None
    for prefix, name in _WEAK.items():
        if text.startswith(prefix):
            return f"the password is hashed with {name}"
    return "the password is not hashed with bcrypt or argon2"


def hash_password(password: str) -> str:
    """A hash with argon2id. Raises ``ConfigurationError`` if the library is missing."""
    require_libraries("htpasswd")
    import argon2

    return argon2.PasswordHasher().hash(password)


def require_libraries(key: str) -> None:
    """Raises ``ConfigurationError``, for the setting ``key``."""
    try:
        import argon2
        import bcrypt

        del argon2, bcrypt
    except ImportError:
        problem = "bcrypt and argon2-cffi are not installed"
        raise ConfigurationError(key, problem, how_to_add("passwords")) from None


def verify(hashed: str, password: str) -> bool:
    """Whether the password has this hash: 2 to 300 milliseconds of CPU."""
    if hashed.startswith(BCRYPT):
        import bcrypt

        try:
            return bcrypt.checkpw(password.encode(), hashed.encode())
        except ValueError:  # more than 72 bytes, of which bcrypt would ignore the rest; a bad salt
            return False
    import argon2

    try:
        return argon2.PasswordHasher().verify(hashed, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


class PasswordFile:
    """The users of a htpasswd file, read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.users: dict[str, str] = {}
        """Hashes by user name, of users that can log in."""
        self.refused: dict[str, str] = {}
        """Why the other users cannot, by their name or the number of their line."""
        self._seen: tuple[int, int, int] | None = None
        self._failing = False

    def load(self) -> bool:
        """Read the file if it has changed; whether it had. Raises ``OSError``, ``ValueError``."""
        found = self.path.stat()
        seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        if seen == self._seen:
            return False
        text = self.path.read_text("utf-8")
        self.users, self.refused = {}, {}
        for name, hashed, problem in _entries(text):
            if problem:
                self.refused.setdefault(name, problem)
            else:
                self.users.setdefault(name, hashed)  # the first line counts, as with Apache
        self._seen, self._failing = seen, False
        return True

    def reload(self) -> bool:
        """As ``load``; a file that cannot be read keeps what was read, with an error in the log."""
        try:
            changed = self.load()
        except (OSError, ValueError) as error:
            if not self._failing:
                log.error("%s cannot be read (%s): its former users stay", self.path, reason(error))
            self._failing = True
            return False
        if changed:
            self.warn()
        return changed

    def warn(self) -> None:
        """Log which users cannot log in."""
        for name, problem in self.refused.items():
            log.warning("%s: user %s cannot log in: %s", self.path, name, problem)


def _entries(text: str) -> Iterator[tuple[str, str, str | None]]:
    """User, hash, and why the user cannot log in."""
    known = set()
    for number, line in enumerate(text.splitlines(), 1):
        name, colon, hashed = line.strip().partition(":")
        if not name or name.startswith("#"):
            continue
        if not colon or not is_person(name):
            yield f"of line {number}", "", "the line is not NAME:HASH"
        elif name not in known:
            known.add(name)
            yield name, hashed, check_hash(hashed)


class Passwords:
    """Authenticates the users of a htpasswd file."""

    kind = "password"

    def __init__(self, file: PasswordFile) -> None:
        self._file = file
        self._slots = asyncio.Semaphore(MAX_VERIFICATIONS)

    def owns(self, presented: Presented) -> bool:
        return False

    async def verify(self, presented: Presented) -> ProvenIdentity | None:
        users = self._file.users
        # An unknown name takes as long as a known one: its time must not show which names exist.
        hashed = users.get(presented.user) or next(iter(users.values()), None)
        if hashed is None or not presented.user or not presented.secret:
            return None
        async with self._slots:
            right = await asyncio.to_thread(verify, hashed, presented.secret)
        if not right or users.get(presented.user) != hashed:
            return None
        principal = Principal(presented.user, self.kind)
        return ProvenIdentity(principal, keep=KEEP, proof=hashed)

    async def refresh(self) -> bool:
        return self._file.reload()

    def confirms(self, verified: ProvenIdentity) -> bool:
        return self._file.users.get(verified.principal.name) == verified.proof
