"""Indexes as they were at some moment: ``/NAME/+asof/…``.

A local index that accepts uploads has a journal, which says what it showed. Of everything else
only the times of uploads are known: what was uploaded before the moment is shown, with the yanks
and statuses of today. Policies are those of today.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from proxy.composition.policies import as_of
from proxy.indexes import Fallthrough, Guarded, Index, Merged, Routed
from proxy.model import Moment
from proxy.policies import ParsedPages

if TYPE_CHECKING:
    from proxy.publish import Publisher

MAX_FILES_OF_VIEW = 1_000
"""Files of the judged pages that are kept of each moment that a client asks for."""


def index_as_of(
    index: Index, moment: Moment, parsed_pages: ParsedPages, publishers: Iterable[Publisher] = ()
) -> Index:
    """The index as of a moment. ``publishers``: those with the journals of local indexes."""
    return _PastViews(moment, parsed_pages, publishers).of(index)


class _PastViews:
    """Makes the view of an index, and before that the views of the indexes that it is made of."""

    def __init__(
        self, moment: Moment, parsed_pages: ParsedPages, publishers: Iterable[Publisher]
    ) -> None:
        self._moment = moment
        self._parsed_pages = parsed_pages
        self._journals = {id(each.packages.index): each for each in publishers}

    def of(self, index: Index) -> Index:
        if publisher := self._journals.get(id(index)):
            from proxy.publish import PastIndex  # most servers accept no uploads

            return PastIndex(publisher, self._moment)
        if not self._has_journal(index):
            return self._guarded(index)
        if isinstance(index, Guarded):
            return index.rebuilt(self.of, MAX_FILES_OF_VIEW)
        assert isinstance(index, Merged | Fallthrough | Routed)
        return index.rebuilt(self.of)

    def _has_journal(self, index: Index) -> bool:
        """Whether the index is, or is made of, a local index with a journal."""
        if isinstance(index, Guarded):
            return self._has_journal(index.index)
        if isinstance(index, Merged | Fallthrough | Routed):
            return any(map(self._has_journal, index.indexes))
        return id(index) in self._journals

    def _guarded(self, index: Index) -> Guarded:
        return Guarded(
            index,
            [as_of(self._moment.at)],
            parsed_pages=self._parsed_pages,
            name=index.name,
            max_files=MAX_FILES_OF_VIEW,
        )
