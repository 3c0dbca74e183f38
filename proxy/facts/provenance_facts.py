"""Verified attestations of files: fetched with the request for a file, verified in a process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from proxy.errors import ProxyError, UpstreamError, reason
from proxy.facts.fact_store import StoredFacts
from proxy.facts.verify_process import Verified
from proxy.model import PROVENANCE, Artifact, File, ProjectName, ProjectPage
from proxy.policies import COMPARED, OpenFile, PageView, Proof, by_upload, parse_names
from proxy.runtime import SingleFlight
from proxy.storage import RecordKind, Records

log = logging.getLogger(__name__)

MAX_PROVENANCE = 2**20
"""Bytes; an object has about 9 kB."""
VERIFY_TIMEOUT = 30.0
"""Seconds for one object, with the start of the process."""
INVALID_FOR, UNKNOWN_FOR = 3600.0, 30.0
"""Seconds after which attestations are verified again that were wrong or unavailable."""
_VERIFY_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[2:];"
    " from proxy.facts.verify_process import main; main(sys.argv[1])"
)


class AttestationVerifier:
    """A process that verifies one object after the other; it is started when it is needed."""

    def __init__(self, root: Path | None) -> None:
        """``root``: the file with the trusted root; None: the one that is part of sigstore."""
        self._root = "" if root is None else str(root)
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def verify(
        self, document: bytes, filename: str, sha256: str, *, bare: bool = False
    ) -> Verified:
        """Verify a provenance object; ``bare``: a list of attestations, as uploads have them."""
        async with self._turn:
            try:
                async with asyncio.timeout(VERIFY_TIMEOUT):
                    return await self._ask([document.decode(), filename, sha256, bare])
            except (OSError, ValueError, TimeoutError) as error:
                log.warning(
                    "the attestations of %s cannot be verified: %s", filename, reason(error)
                )
                await self.close()
                return Verified("unknown", "the verifier does not answer")
            except asyncio.CancelledError:
                await self.close()  # its late answer would be read as the next one
                raise

    async def close(self) -> None:
        process, self._process = self._process, None
        if process:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _ask(self, question: list[str | bool]) -> Verified:
        process = self._process or await self._start()
        assert process.stdin and process.stdout
        process.stdin.write(msgspec.json.encode(question) + b"\n")
        await process.stdin.drain()
        return msgspec.json.decode(await process.stdout.readline(), type=Verified)

    async def _start(self) -> asyncio.subprocess.Process:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", _VERIFY_PROGRAM, self._root, *sys.path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=2 * MAX_PROVENANCE,
        )
        return self._process


class ProvenanceFacts:
    """The facts of rules of the kind ``provenance``."""

    def __init__(
        self,
        verifier: AttestationVerifier,
        records: Records,
        changed: Callable[[Sequence[ProjectName]], None],
        *,
        timeout: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``timeout``: seconds that a request waits."""
        self._verifier = verifier
        self._stored: StoredFacts[Proof] = StoredFacts(records, RecordKind.PROOFS, Proof, clock)
        self._changed = changed
        self._timeout = timeout
        self._clock = clock
        self._flights: SingleFlight[tuple[ProjectName, str], None] = SingleFlight()
        self.compares = False
        """Whether a rule compares a release with those before it."""

    def proofs_of(self, project: ProjectName) -> Callable[[str], Proof | None]:
        """As in ``ProofsOf``."""
        return self._stored.of(project)

    def read_again(self, project: ProjectName) -> None:
        """Another process has learnt a fact about the project."""
        self._stored.read_again(project)

    async def load(self, project: ProjectName) -> None:
        if await self._stored.load(project):
            self._changed([project])

    async def prefetch(self, page: ProjectPage, open_file: OpenFile) -> None:
        """Nothing: a page would be one request for each of its files."""

    async def learn(self, page: ProjectPage, file: File, open_file: OpenFile) -> None:
        """Verify the file, and where releases are compared one file of each release before it."""
        wanted = [file, *(self._earlier(page, file) if self.compares else ())]
        needed = [each for each in wanted if self._is_needed(page.project, each)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout):
                await asyncio.gather(*(self._verify(page, each, open_file) for each in needed))

    async def close(self) -> None:
        await self._flights.close()
        await self._verifier.close()

    def _is_needed(self, project: ProjectName, file: File) -> bool:
        if not file.provenance or file.sha256 is None:
            return False
        known = self._stored.of(project)(file.address_digest)
        return known is None or (known.until is not None and self._clock() >= known.until)

    def _earlier(self, page: ProjectPage, file: File) -> list[File]:
        view = PageView(page, 0.0, parse_names(page))
        found: list[File] = []
        for release in by_upload(view):
            files = [page.files[position] for position in release.positions]
            if file in files:
                break
            found += [each for each in files if each.provenance][:1]
        return found[-COMPARED:]

    async def _verify(self, page: ProjectPage, file: File, open_file: OpenFile) -> None:
        key = (page.project, file.address_digest)
        await self._flights.do(key, lambda: self._learn(page.project, file, open_file))

    async def _learn(self, project: ProjectName, file: File, open_file: OpenFile) -> None:
        digest = file.address_digest
        former = self._stored.of(project)(digest)
        try:
            document = await _bytes_of(await open_file(file.filename + PROVENANCE))
            found = await self._verifier.verify(document, file.filename, file.sha256 or "")
        except (ProxyError, OSError) as error:
            found = Verified("unknown", str(error))
        lasts = {"valid": None, "invalid": INVALID_FOR, "unknown": UNKNOWN_FOR}[found.state]
        until = None if lasts is None else self._clock() + lasts
        proof = Proof(found.state, found.reason, found.publisher, found.identity, until)
        if found.state == "unknown" and until is not None:
            self._stored.note(project, {digest: proof}, until)
        else:
            await self._stored.add(project, {digest: proof})
        if former is None or former.state != proof.state:
            self._changed([project])


async def _bytes_of(artifact: Artifact) -> bytes:
    data = b""
    async for chunk in artifact.blob.chunks():
        data += chunk
        if len(data) > MAX_PROVENANCE:
            raise UpstreamError("provenance", "the provenance object is too large")
    return data
