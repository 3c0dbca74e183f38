"""What clients have just asked of the other processes of the same server.

One process fetches ahead what a client may ask of another: without knowing of it, that would be
taken for waste, and for bytes that still wait to be asked for.
"""

from __future__ import annotations

from zlib import crc32

from proxy.board import SharedCounters
from proxy.speculation.tally import PrefetchKey

MARK_COLUMNS = 8192
"""Of the board. What is asked of a process within a few seconds has to fit in easily."""
_LOW = 2**32 - 1


class WorkerMarks:
    """Each process marks what it is asked for: a checksum of the key, and the time.

    A mark lies where its checksum says, and stays until another one falls on the same place.
    """

    def __init__(self, board: SharedCounters) -> None:
        """``board``: of ``MARK_COLUMNS`` columns."""
        self._board = board

    def note(self, key: PrefetchKey, now: float) -> None:
        """A client has asked this process for it."""
        mark = _checksum(key)
        self._board.mine[mark % MARK_COLUMNS] = mark << 32 | int(now) & _LOW

    def asked(self, key: PrefetchKey, since: float) -> bool:
        """Whether a client has asked another process for it since then, as far as is known."""
        mark = _checksum(key)
        seen = (row[mark % MARK_COLUMNS] for row in self._board.others)
        return any(each >> 32 == mark and each & _LOW >= int(since) for each in seen)


def _checksum(key: PrefetchKey) -> int:
    """The same in every process, as a hash is not; two keys are hardly ever taken for one."""
    return crc32("/".join(key).encode())
