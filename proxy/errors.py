"""All errors that the proxy raises on purpose.

```text
ProxyError
├─ NotFound
│  ├─ NoSuchProject      the index is certain it has no such project   404   falls through
│  ├─ NoSuchFile         the project is here, the file is not          404   stops
│  └─ GoneUpstream       listed, but no longer at its address          404   stops
├─ Denied                a policy refused, with its reason             403   stops
├─ NotAuthenticated      no credentials, or wrong ones                 401   stops
├─ TooManyFailures       wrong credentials too often                   429   stops
├─ DirectoryUnavailable  users cannot be verified now                  503   stops
├─ NoRight               the principal may not do that                 403   stops
├─ IndexUnavailable      a local index that cannot be read             503   stops
│  ├─ PrivateNameWithheld  its directory is not served now             503   stops
│  └─ PolicyFailed       a policy has a fault, so nothing passes it    503   stops
├─ UpstreamError                                                       502   stops
│  ├─ UpstreamTimeout                                                  504   stops
│  ├─ UpstreamRefused    400, 401 or 403 for a file: an expired link?  502   stops
│  ├─ UnreadablePage     not the Simple API, or a newer major version  502   stops
│  └─ DigestMismatch     bytes are not what the index says             502   stops
├─ UploadRefused         an upload, or a change of what is published    400
│  ├─ NotPermitted       this user may not publish that                 403
│  ├─ FileConflict       the name is used, or was, for other bytes      409
│  └─ UploadTooLarge                                                    413
├─ StoreUnavailable      the store of files does not answer            503   stops
├─ StoreDamaged          a stored file is not what its name says       500   stops
└─ ConfigurationError    raised only while composing; several in one   exit 2
```

Errors carry facts as attributes, and a message for users in ``__str__``. They know no HTTP. No
message contains an upstream credential, an internal address or a part of an upstream answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_USERINFO = re.compile(r"(?<=//)[^/@\s]*@")


def mask_credentials(text: str) -> str:
    """The text with ``***`` in place of user and password in the addresses that it contains."""
    return _USERINFO.sub("***@", text)


class ProxyError(Exception):
    """An expected error; its message may be shown to a client."""


class NotFound(ProxyError):
    """The requested project or file does not exist here."""


class NoSuchProject(NotFound):
    """The index certainly has no such project; only after this error is the next index asked."""

    def __init__(self, project: str, reason: str = "") -> None:
        super().__init__(project, reason)
        self.project = project
        self.reason = reason

    def __str__(self) -> str:
        return f"no such project: {self.project}" + (f" ({self.reason})" if self.reason else "")


class NoSuchFile(NotFound):
    """The index has the project, but its page does not list this file."""

    def __init__(self, project: str, filename: str, reason: str = "") -> None:
        super().__init__(project, filename, reason)
        self.project = project
        self.filename = filename
        self.reason = reason

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        return f"project {self.project} has no file {self.filename}{reason}"


class GoneUpstream(NotFound):
    """Upstream answers 404 or 410 at the address of a file that it lists."""

    def __init__(self, index: str) -> None:
        super().__init__(index)
        self.index = index

    def __str__(self) -> str:
        return f"{_upstream(self.index)} no longer has this file"


class Denied(ProxyError):
    """A policy refuses a project or a file of it."""

    def __init__(self, project: str, reason: str, rule: str = "", filename: str = "") -> None:
        super().__init__(project, reason, rule, filename)
        self.project = project
        self.reason = reason
        self.rule = rule
        """The name of the policy's rule that decided, for clients, logs and events."""
        self.filename = filename
        """Empty if the project is refused."""

    def __str__(self) -> str:
        refused = f"Refused by rule {self.rule}" if self.rule else f"{self.project} is not allowed"
        return f"{refused}: {self.reason}"


class NotAuthenticated(ProxyError):
    """A request has no valid credentials: missing and wrong ones get the same answer."""

    def __str__(self) -> str:
        return "credentials are needed, and those of the request are missing, wrong or expired"


class TooManyFailures(ProxyError):
    """An address or a user name had wrong credentials too often to be checked now."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after
        """Seconds."""

    def __str__(self) -> str:
        return f"too many wrong credentials; try again in {self.retry_after} seconds"


class DirectoryUnavailable(ProxyError):
    """The source of users or tokens does not answer: credentials are neither right nor wrong."""

    def __str__(self) -> str:
        return "the directory of users, or of tokens, does not answer; the server's log says more"


class NoRight(ProxyError):
    """The principal is known, and has no right to do that."""

    def __init__(self, what: str) -> None:
        """``what``: such as ``read index main``."""
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"No right to {self.what}"


class IndexUnavailable(ProxyError):
    """A local index cannot be read, so its content is unknown; no other index may answer."""

    def __init__(self, index: str, reason: str) -> None:
        super().__init__(index, reason)
        self.index = index
        self.reason = reason

    def __str__(self) -> str:
        return f"index {self.index} cannot be read: {self.reason}"


class PrivateNameWithheld(IndexUnavailable):
    """The name is recorded as private, and its directory is not served now."""

    def __init__(self, project: str) -> None:
        super().__init__("private", "a directory that is not served now claims the name")
        self.project = project

    def __str__(self) -> str:
        return (
            f"{self.project} is a private name of a directory that is not served now; serve that "
            f"directory again, or give the name up with `waystation cache purge {self.project}`"
        )


class PolicyFailed(IndexUnavailable):
    """A policy raised an unexpected error: nothing passes, since nothing was judged."""

    def __init__(self, index: str, policy: str) -> None:
        super().__init__(index, f"the policy {policy} failed")
        self.policy = policy

    def __str__(self) -> str:
        failed = f"the policy {self.policy} of index {self.index} failed, so nothing passes it"
        return f"{failed}; the log of the server says more"


class UpstreamError(ProxyError):
    """Upstream gave no usable answer. This never means that the project does not exist."""

    def __init__(self, index: str, reason: str, *, retry_after: int | None = None) -> None:
        super().__init__(index, reason)
        self.index = index
        self.reason = reason
        self.retry_after = retry_after
        """Seconds after which a retry makes sense, if upstream or the circuit breaker says."""
        self.address = ""
        """The requested address, without credentials. For the log, not for clients."""

    def __str__(self) -> str:
        return f"{_upstream(self.index)}: {self.reason}"


class UpstreamTimeout(UpstreamError):
    """Upstream did not answer in time."""


class UpstreamRefused(UpstreamError):
    """Upstream answered 400, 401 or 403, as servers also answer an expired signed link."""


class RefusedByUpstreamRule(UpstreamRefused):
    """Upstream is a Waystation too, and one of its rules refuses the file."""

    def __init__(self, index: str, rule: str, why: str) -> None:
        """``why``: upstream's reason, empty if a server on the way dropped it."""
        refused = f"refused upstream by rule {rule}"
        super().__init__(index, f"{refused}: {why}" if why else refused)


class UnreadablePage(UpstreamError):
    """Upstream's answer is not a page of the Simple API that this version understands."""


class DigestMismatch(UpstreamError):
    """Upstream's bytes do not have the length or digest that the index names."""


class UploadRefused(ProxyError):
    """An upload, or another change of what is published, is refused; the message says why."""


class NotPermitted(UploadRefused):
    """The user may not make this change."""


class FileConflict(UploadRefused):
    """Other bytes are, or were, published under the name of the file.

    Upload tools look for the first words of the message, to skip what is published already.
    """

    def __init__(self, filename: str, reason: str) -> None:
        super().__init__(f"File already exists ('{filename}', {reason})")


class UploadTooLarge(UploadRefused):
    """The file, or all of its project or user, would take more bytes than the settings allow."""


class StoreUnavailable(ProxyError):
    """The store of files does not answer: whether it has a file is unknown."""

    def __str__(self) -> str:
        return "the store of files does not answer; the log of the server says more"


class StoreDamaged(ProxyError):
    """A stored file does not have the bytes of its digest, and cannot be fetched again."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return f"the stored copy of {self.key} is damaged"


class ConfigurationError(ProxyError):
    """A setting is wrong. ``key`` names the setting, ``remedy`` what to do."""

    def __init__(self, key: str, problem: str, remedy: str = "") -> None:
        super().__init__(key, problem, remedy)
        self.key = key
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}" + (f"; {self.remedy}" if self.remedy else "")

    @property
    def parts(self) -> Sequence[ConfigurationError]:
        """The single errors: at least this one."""
        return [self]


class ConfigurationErrors(ConfigurationError):
    """Several settings are wrong. ``key``, ``problem`` and ``remedy`` are those of the first."""

    def __init__(self, parts: Sequence[ConfigurationError]) -> None:
        super().__init__(parts[0].key, parts[0].problem, parts[0].remedy)
        self._parts = parts

    def __str__(self) -> str:
        return "\n".join(map(str, self._parts))

    @property
    def parts(self) -> Sequence[ConfigurationError]:
        return self._parts


def refuse(problems: Sequence[ConfigurationError]) -> None:
    """Raise one ``ConfigurationError`` for all problems; return if there are none."""
    if problems:
        raise problems[0] if len(problems) == 1 else ConfigurationErrors(problems)


def reason(error: BaseException) -> str:
    """The reason of a failure in the words of the system or library; never a type or ``repr``."""
    words = getattr(error, "strerror", None) or str(error)
    return words or ("it took too long" if "Timeout" in type(error).__name__ else "unknown")


def how_to_add(extra: str) -> str:
    """How to install an extra of Waystation, which is on no public index."""
    here = f"in the checkout of Waystation run pip install '.[{extra}]'"
    return f"add the extra {extra!r}: {here}, or name its wheel: pip install 'FILE.whl[{extra}]'"


def _upstream(index: str) -> str:
    """The default name of the upstream index needs no further word."""
    return index if index == "upstream" else f"upstream {index}"
