"""A mirror's documents become pages: parsed, and without links to servers that are refused.

Where a document is parsed depends on what its parsing can cost. Pages as PyPI writes them cost
about 15 ms for each megabyte and are parsed in this process. Any other document can be made to
cost a hundred times as much, so a large one is parsed in a process of its own, which is limited
in memory and time and ends with the page.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable

from proxy.errors import UnreadablePage
from proxy.model import ProjectName, ProjectPage
from proxy.runtime import run_in_worker
from proxy.simple import drop_refused_hosts, is_json, outcome_of, parse_ordinary, parse_page

log = logging.getLogger(__name__)

MAX_REPORTED = 10_000
"""Files that are remembered as told of in the log."""
ORDINARY = 16 * 2**20
"""Bytes up to which a page as PyPI writes it is parsed in this process."""
OTHER = 512 * 1024
"""Bytes up to which any other document is parsed in this process."""
DEARER = 4
"""How many times as long any other document takes, for ``run_in_worker``."""
PROCESSES = 2
"""Documents that are parsed in processes of their own at a time."""
SECONDS = 15.0
"""From the start of such a process to its end."""

_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[5:];"
    " from proxy.simple.parse_process import main; main(*sys.argv[1:5])"
)


class PageReader:
    """Reads documents; says once of each file that it leaves out."""

    def __init__(self, name: str, allows: Callable[[str], bool]) -> None:
        """``allows`` says of an origin whether files may be fetched there."""
        self._name = name
        self._allows = allows
        self._told: set[tuple[str, str]] = set()
        self._turns = asyncio.Semaphore(PROCESSES)

    async def read(
        self, project: ProjectName, url: str, content_type: str, document: bytes
    ) -> ProjectPage:
        """The page that a document means. Raises ``UnreadablePage``."""
        size = len(document)
        found: ProjectPage | None = None
        if size <= ORDINARY and is_json(content_type, document):
            found = await run_in_worker(
                size,
                lambda: self._screened(parse_ordinary(project, document, url, self._name)),
                result_stays_in_memory=True,
            )
        if found is None and size <= OTHER:
            found = await run_in_worker(
                DEARER * size,
                lambda: self._screened(
                    parse_page(project, document, content_type, url, self._name)
                ),
                result_stays_in_memory=True,
            )
        return found or await self._read_apart(project, url, content_type, document)

    async def _read_apart(
        self, project: ProjectName, url: str, content_type: str, document: bytes
    ) -> ProjectPage:
        async with self._turns:
            output = await _output((project, content_type, url, self._name), document)

        def finish() -> ProjectPage:
            outcome = outcome_of(output)
            if page := self._screened(outcome.page):
                return page
            raise UnreadablePage(self._name, outcome.reason)

        return await run_in_worker(len(output), finish, result_stays_in_memory=True)

    def _screened(self, page: ProjectPage | None) -> ProjectPage | None:
        if page is None:
            return None
        page, refused = drop_refused_hosts(page, self._allows)
        for file in refused:
            self._tell(page.project, file.filename)
        return page

    def _tell(self, project: str, filename: str) -> None:
        if (project, filename) not in self._told and len(self._told) < MAX_REPORTED:
            self._told.add((project, filename))
            log.warning(
                "%s: %r of %s left out, its link leads to a host that is not allowed",
                self._name,
                filename,
                project,
            )


async def _output(arguments: tuple[str, ...], document: bytes) -> bytes:
    """What the process says of the document; nothing if it had to be ended."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", _PROGRAM, *arguments, *sys.path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(SECONDS):
            output, _ = await process.communicate(document)
    except TimeoutError:
        return b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return output if process.returncode == 0 else b""
