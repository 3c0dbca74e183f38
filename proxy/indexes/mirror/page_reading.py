"""Parses the documents of a mirror, and leaves out links to hosts that are not allowed.

Pages in PyPI's form take about 15 ms for each megabyte and are parsed in this process. Any other
document can take a hundred times as long, so a large one is parsed in a process of its own, which
is limited in memory and time.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable

from proxy.errors import UnreadablePage
from proxy.model import ProjectName, ProjectPage
from proxy.runtime import run_in_worker
from proxy.simple import (
    drop_refused_hosts,
    gather_extra_files,
    is_json,
    outcome_of,
    parse_ordinary,
    parse_page,
    without_extra_files,
)

log = logging.getLogger(__name__)

MAX_REPORTED = 10_000
"""Refused files that are remembered, so that each is logged once."""
MAX_ORDINARY_INLINE = 16 * 2**20
"""Bytes up to which a page in PyPI's form is parsed in this process."""
MAX_OTHER_INLINE = 512 * 1024
"""Bytes up to which any other document is parsed in this process."""
OTHER_COST_FACTOR = 4
"""How many times as long any other document takes to parse, for ``run_in_worker``."""
MAX_PARSE_PROCESSES = 2
"""Parsing processes that run at the same time."""
PARSE_TIMEOUT = 15.0
"""Seconds from the start of a parsing process to its end."""

_PARSE_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[5:];"
    " from proxy.simple.parse_process import main; main(*sys.argv[1:5])"
)


class PageReader:
    """Parses documents; logs each file that it leaves out, once."""

    def __init__(
        self, name: str, allows: Callable[[str], bool], *, extra_files: bool = False
    ) -> None:
        """``allows`` says of an origin whether files may be fetched there. ``extra_files``: also
        signatures and other files beside distributions are served."""
        self._extra_files = gather_extra_files if extra_files else without_extra_files
        self._name = name
        self._allows = allows
        self._reported: set[tuple[str, str]] = set()
        self._turns = asyncio.Semaphore(MAX_PARSE_PROCESSES)

    async def read(
        self, project: ProjectName, url: str, content_type: str, document: bytes
    ) -> ProjectPage:
        """The page that a document means. Raises ``UnreadablePage``."""
        size = len(document)
        found: ProjectPage | None = None
        if size <= MAX_ORDINARY_INLINE and is_json(content_type, document):
            found = await run_in_worker(
                size,
                lambda: self._screened(parse_ordinary(project, document, url, self._name)),
                result_stays_in_memory=True,
            )
        if found is None and size <= MAX_OTHER_INLINE:
            found = await run_in_worker(
                OTHER_COST_FACTOR * size,
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
            self._report(page.project, file.filename)
        return self._extra_files(page)

    def _report(self, project: str, filename: str) -> None:
        if (project, filename) not in self._reported and len(self._reported) < MAX_REPORTED:
            self._reported.add((project, filename))
            log.warning(
                "%s: %r of %s left out, its link leads to a host that is not allowed",
                self._name,
                filename,
                project,
            )


async def _output(arguments: tuple[str, ...], document: bytes) -> bytes:
    """The output of the parsing process; empty if it failed or took too long."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", _PARSE_PROGRAM, *arguments, *sys.path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(PARSE_TIMEOUT):
            output, _ = await process.communicate(document)
    except TimeoutError:
        return b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return output if process.returncode == 0 else b""
