"""Keys of records: every kind of record that a cache has, and what may be done with it.

The text of a key is the label of its kind and the parts of the key, joined with ``/``; records
on disk have this text. Purges, bundles and statistics go by the properties of kinds.
"""

from __future__ import annotations

from enum import Enum

_PROJECT = ("namespace", "project")
_FILE_PARTS = ("namespace", "project", "digest", "filename")


class RecordKind(Enum):
    """A label, the names of the parts of a key, and properties of the records."""

    PAGE = ("page", _PROJECT, "upstream", "carried")
    """Head of an upstream page. The namespace is that of the index, see ``fingerprint``."""
    DOCUMENT = ("document", _PROJECT, "upstream", "carried")
    """The page as upstream sent it, compressed."""
    CACHED_FILE = ("held", _FILE_PARTS, "upstream", "carried")
    """Which blob has the bytes of a file; ``digest`` is that of the file's address."""
    RELEASES = ("releases", ("namespace", "repository"))
    """The distributions that the releases of a repository have."""
    PROVENANCE = ("provenance", _FILE_PARTS, "upstream", "carried")
    """PEP 740 object of a file."""
    DIGEST_HISTORY = ("seen", _PROJECT, "upstream")
    """The files of a project as they were listed first."""
    CHANGED_FILE = ("changed", _FILE_PARTS, "upstream")
    """A file that upstream lists with another digest than before."""
    INSTALL_HISTORY = ("together", _PROJECT)
    """Projects that are requested together. The namespace is the name of the served index."""
    CLAIM = ("claim", _PROJECT)
    """A private name of replicas, or as older versions stored it. The namespace is a quoted
    directory."""
    LAST_USED = ("used", ("digest",))
    """When a blob was last requested."""
    PINS = ("pin", ("owner",))
    """Blobs that eviction must not delete."""
    KEEP_STATE = ("kept", ("owner",))
    """Files of a keep table after its last run."""
    FOLLOWED = ("followed", ("namespace", "part"))
    """The number of the last change of another Waystation of which pages, or files, are here."""
    DECISIONS = ("decisions", _PROJECT, "upstream")
    """Decisions about files by their digests. The namespace is that of the service outside."""
    PROOFS = ("proofs", ("project",), "upstream")
    """Results of verifying attestations, by the digests of the files."""
    LICENCES = ("licences", ("project",), "upstream")
    """Licences of files, by the digests of the files."""
    LOCAL_FILES = ("local", ("owner",))
    """Details of the files in a local directory, which is the owner."""
    ACTIVITY = ("activity", ("server", "part"))
    """The past figures that pages for people show. The server is a name of ours, not an address."""
    LOCAL_METADATA = ("metadata", ("digest",))
    """Core metadata of local wheels."""

    def __init__(self, label: str, parts: tuple[str, ...], *properties: str) -> None:
        self.label = label
        self.parts = parts
        self.is_upstream = "upstream" in properties
        """A copy of what an upstream has: purging everything drops these records."""
        self.is_carried = "carried" in properties
        """Bundles carry these records to other caches."""
        self.is_by_project = "project" in parts
        """Belongs to one project: purging the project drops the record."""


_BY_LABEL = {kind.label: kind for kind in RecordKind}


class Key(str):
    """The key of a record; a string, so that stores use it as it is."""

    __slots__ = ()

    def __new__(cls, kind: RecordKind, *parts: str) -> Key:
        """``parts`` in the order of ``kind.parts``. Only the last one may have a ``/``."""
        return str.__new__(cls, "/".join((kind.label, *parts)))

    @classmethod
    def parse(cls, text: str) -> Key:
        """The key with this text."""
        return str.__new__(cls, text)

    @property
    def kind(self) -> RecordKind | None:
        """None: a kind of another version of the program."""
        return _BY_LABEL.get(self.partition("/")[0])

    @property
    def namespace(self) -> str:
        return self._part("namespace")

    @property
    def project(self) -> str:
        return self._part("project")

    @property
    def digest(self) -> str:
        return self._part("digest")

    @property
    def filename(self) -> str:
        return self._part("filename")

    @property
    def owner(self) -> str:
        return self._part("owner")

    def _part(self, name: str) -> str:
        """Empty if the kind has no such part, or the key is too short."""
        kind = self.kind
        if kind is None or name not in kind.parts:
            return ""
        found = self.split("/", len(kind.parts))[1:]
        at = kind.parts.index(name)
        return found[at] if at < len(found) else ""


def prefix_of(kind: RecordKind | None, parts: tuple[str, ...]) -> str:
    """The first part of the text of all keys of the kind that have these first parts."""
    return "/".join((kind.label, *parts, "")) if kind else ""
