"""The program of a process that reads a source of advisories and writes the compact collection.

Reading PyPI's takes two seconds of CPU and a hundred megabytes, which the server then does not
have; hostile archives meet limits of memory and time.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from proxy.advisories.collection import Advisories
from proxy.advisories.osv import Record, UnusableRecord, read_record
from proxy.advisories.sources import UnusableAdvisories, read_documents

MAX_MEMORY = 2 * 2**30
"""Bytes of address space."""
MAX_CPU_SECONDS = 120
BUILD_TIMEOUT = 300.0
"""Seconds from the start of the process to its end."""
LEAST_SHARE = 0.8
"""Of the former number of records that a new source must have: else it is probably incomplete."""
_TOO_EXPENSIVE = "it takes more memory or time to read than advisories do"
_BUILD_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[4:];"
    " from proxy.advisories.build_process import main; main(*sys.argv[1:4])"
)


class Build(msgspec.Struct):
    """The result of reading a source."""

    records: int = 0
    skipped: int = 0
    """Documents that are no usable records."""
    first_skipped: str = ""
    """The name of one of them."""
    ignored_ranges: int = 0
    """Ranges of versions that cannot be read."""
    reason: str = ""
    """Why there is no collection."""


async def build(source: Path, target: Path, former_records: int) -> Build:
    """Write the collection of a source to ``target``, in a process of its own.

    Refuses a source with much fewer records than the former one.
    """
    arguments = (str(source), str(target), str(former_records))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", _BUILD_PROGRAM, *arguments, *sys.path),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(BUILD_TIMEOUT):
            output, _ = await process.communicate()
    except TimeoutError:
        return Build(reason=_TOO_EXPENSIVE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode or not output:
        return Build(reason=_TOO_EXPENSIVE)
    return msgspec.json.decode(output, type=Build)


def main(source: str, target: str, former_records: str) -> None:
    _limit()
    try:
        outcome = _build(Path(source), Path(target), int(former_records))
    except UnusableAdvisories as error:
        outcome = Build(reason=str(error))
    except OSError as error:
        outcome = Build(reason=error.strerror or "it cannot be read")
    except MemoryError:
        return
    sys.stdout.buffer.write(msgspec.json.encode(outcome))


def _build(source: Path, target: Path, former_records: int) -> Build:
    outcome = Build()
    records: list[Record] = []
    for name, data in read_documents(source):
        try:
            record = read_record(data)
        except UnusableRecord:
            outcome.skipped += 1
            outcome.first_skipped = outcome.first_skipped or name
            continue
        outcome.ignored_ranges += record.ignored_ranges
        records.append(record)
    found = Advisories.of(records)
    outcome.records = found.records
    if found.records < LEAST_SHARE * former_records:
        raise UnusableAdvisories(
            f"it has {found.records} usable records, and the former one had {former_records}: mark"
            " records as withdrawn instead of deleting them, or move the source and name its new"
            " place in advisories.source"
        )
    if not found.records:
        raise UnusableAdvisories("it has no usable records")
    target.write_bytes(found.encode())
    return outcome


def _limit() -> None:
    with suppress(ImportError, OSError, ValueError):  # Windows has no such limits
        import resource

        for kind, limit in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_CPU, MAX_CPU_SECONDS),
            (resource.RLIMIT_AS, MAX_MEMORY),
        ):
            _, hard = resource.getrlimit(kind)
            allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(kind, (allowed, allowed))
