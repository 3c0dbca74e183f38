"""The change log of a tree: which distributions each export added, replaced and removed.

It is a page and an Atom feed (RFC 4287). An export that changes no distribution adds no entry. The
log is bounded: the last ``MAX_ENTRIES`` entries, each with at most ``MAX_NAMES`` names of a kind.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID, uuid4, uuid5

import msgspec

from proxy.export.human_pages import Site, render
from proxy.export.tree import Tree
from proxy.runtime import count_text

_log = logging.getLogger(__name__)

CHANGES_PAGE = "changes/index.html"
FEED = "changes/feed.xml"
MAX_ENTRIES = 50
MAX_NAMES = 200
_STATE = "changes.json"
_FORMAT_NUMBER = 1


class Names(msgspec.Struct, frozen=True):
    """Some distributions as ``project/filename``: how many there are, and the first of them."""

    count: int
    first: tuple[str, ...]

    @property
    def rest(self) -> int:
        return self.count - len(self.first)


class ChangeEntry(msgspec.Struct, frozen=True):
    """The changes of one export."""

    time: str
    """UTC, ``yyyy-mm-ddThh:mm:ssZ``."""
    added: Names
    replaced: Names
    """Other bytes under the same name."""
    removed: Names

    @property
    def title(self) -> str:
        counts = {"added": self.added, "replaced": self.replaced, "removed": self.removed}
        said = [f"{names.count} {verb}" for verb, names in counts.items() if names.count]
        first, *others = said
        number, _, verb = first.partition(" ")
        return ", ".join((f"{count_text(int(number), 'distribution')} {verb}", *others))


class ChangeLog(msgspec.Struct):
    """The entries, newest first, and the distributions that the next export is compared with."""

    format: int = _FORMAT_NUMBER
    feed: UUID = msgspec.field(default_factory=uuid4)
    listed: dict[str, str] = {}
    """The digest of each distribution by ``project/filename``."""
    entries: list[ChangeEntry] = []

    def update(self, listed: Mapping[str, str], now: float) -> None:
        """Add an entry if these distributions are not the ones before. ``now``: Unix time."""
        before = self.listed
        entry = ChangeEntry(
            datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            _names(listed.keys() - before.keys()),
            _names({name for name in listed if before.get(name, listed[name]) != listed[name]}),
            _names(before.keys() - listed.keys()),
        )
        if entry.added.count or entry.replaced.count or entry.removed.count:
            self.entries = [entry, *self.entries][:MAX_ENTRIES]
        self.listed = dict(listed)

    def pages(self, site: Site) -> dict[str, bytes]:
        """The page for people and the feed, by path."""
        ids = [f"urn:uuid:{uuid5(self.feed, each.time)}" for each in self.entries]
        entries = list(zip(ids, self.entries, strict=True))
        title = f"Changes · {site.title}"
        return {
            CHANGES_PAGE: render("changes.html", site, "../", title=title, entries=entries),
            FEED: render("feed.xml", site, "../", title=title, entries=entries, feed=self.feed),
        }


def load_change_log(tree: Tree) -> ChangeLog:
    """The log of the tree's earlier exports. A damaged one is replaced by a new one."""
    data = tree.read_state(_STATE)
    if data is None:
        return ChangeLog()
    try:
        found = msgspec.json.decode(data, type=ChangeLog)
        if found.format == _FORMAT_NUMBER:
            return found
    except msgspec.MsgspecError:
        pass
    _log.warning("the change log in %s cannot be read; a new one is started", tree.root)
    return ChangeLog()


def save_change_log(tree: Tree, changes: ChangeLog) -> None:
    """Store the log for the next export. Raises ``OSError``."""
    tree.write_state(_STATE, msgspec.json.encode(changes))


def _names(found: set[str]) -> Names:
    return Names(len(found), tuple(sorted(found)[:MAX_NAMES]))
