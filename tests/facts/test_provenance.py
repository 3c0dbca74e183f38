"""Rule ``provenance`` in a proxy: attestations of a signing service of our own."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from proxy.facts import AttestationVerifier
from proxy.facts.verify_process import embedded_root
from proxy.model import normalize
from tests.facts.conftest import Open
from tests.support.asking import refusal, shown
from tests.support.attestations import SigningService
from tests.support.distributions import make_wheel
from tests.support.upstream import Fault, Upstream
from tests.test_architecture import ROOT

pytestmark = pytest.mark.slow

AAA = normalize("aaa")
ANY: dict[str, Any] = {"kind": "provenance"}
UNCHANGED: dict[str, Any] = {"kind": "provenance", "require": "unchanged"}


def name(version: str, tag: str = "py3-none-any") -> str:
    return f"aaa-{version}-{tag}.whl"


@pytest.fixture(scope="module")
def signing() -> SigningService:
    return SigningService()


@pytest.fixture
def root(signing: SigningService, tmp_path: Path) -> str:
    return str(signing.write_root(tmp_path / "root.json"))


@pytest.fixture
async def verifier(root: str) -> AsyncIterator[AttestationVerifier]:
    made = AttestationVerifier(Path(root))
    yield made
    await made.close()


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_wheel(tmp_path / "dist", "aaa", "1.0")


class Releases:
    """Adds releases to an upstream, one day after the other."""

    def __init__(self, folder: Path, upstream: Upstream, signing: SigningService) -> None:
        self._folder = folder
        self._upstream = upstream
        self._signing = signing
        self._day = 0

    def add(
        self, version: str, *, signed: bool = True, tag: str = "py3-none-any", **options: Any
    ) -> Path:
        self._day += 1
        wheel = make_wheel(self._folder / "dist", "aaa", version, tag=tag)
        proof = self._signing.provenance(wheel, **options) if signed else None
        uploaded = f"2026-01-{self._day:02}T00:00:00Z"
        self._upstream.add(wheel, provenance=proof, uploaded=uploaded)
        return wheel


@pytest.fixture
def releases(tmp_path: Path, upstream: Upstream, signing: SigningService) -> Releases:
    return Releases(tmp_path, upstream, signing)


Spoil = Callable[[dict[str, Any]], None]


def _attestation(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["attestation_bundles"][0]["attestations"][0]
    return found


def tampered_statement(document: dict[str, Any]) -> None:
    envelope = _attestation(document)["envelope"]
    statement = json.loads(b64decode(envelope["statement"]))
    statement["subject"][0]["digest"]["sha256"] = "0" * 64
    envelope["statement"] = b64encode(json.dumps(statement).encode()).decode()


def other_publisher(document: dict[str, Any]) -> None:
    document["attestation_bundles"][0]["publisher"]["repository"] = "mallory/aaa"


def other_workflow(document: dict[str, Any]) -> None:
    document["attestation_bundles"][0]["publisher"]["workflow"] = "other.yml"


def no_attestations(document: dict[str, Any]) -> None:
    document["attestation_bundles"][0]["attestations"] = []


def broken_promise(document: dict[str, Any]) -> None:
    entry = _attestation(document)["verification_material"]["transparency_entries"][0]
    entry["inclusionPromise"]["signedEntryTimestamp"] = b64encode(b"x" * 70).decode()


def no_certificate(document: dict[str, Any]) -> None:
    _attestation(document)["verification_material"]["certificate"] = ""


WRONG: list[tuple[dict[str, Any], Spoil | None, str]] = [
    ({"digest": "0" * 64}, None, "they are about other bytes"),
    ({"name": "aaa-2.0-py3-none-any.whl"}, None, "they are about another file: aaa-2.0"),
    ({"name": "no distribution"}, None, ""),
    ({"subjects": 2}, None, ""),
    ({"predicate": "https://example.com/other"}, None, "the statement differs"),
    ({}, tampered_statement, ""),
    ({}, other_publisher, ""),
    ({}, other_workflow, ""),
    ({}, broken_promise, ""),
    ({}, no_certificate, ""),
]
INCOMPLETE: list[tuple[dict[str, Any], Spoil | None, str]] = [
    ({"predicate": "https://slsa.dev/provenance/v1"}, None, "none of them says that"),
    ({}, no_attestations, "none of them says that the file was published"),
]


def spoiled(
    signing: SigningService, wheel: Path, options: dict[str, Any], spoil: Spoil | None
) -> dict[str, Any]:
    document = copy.deepcopy(signing.provenance(wheel, **options))
    if spoil:
        spoil(document)
    return document


async def test_what_is_wrong_is_invalid(
    signing: SigningService, verifier: AttestationVerifier, wheel: Path
) -> None:
    for options, spoil, reason in WRONG + INCOMPLETE:
        found = await verify(verifier, spoiled(signing, wheel, options, spoil), wheel)
        assert found[0] == "invalid", (options, spoil)
        assert found[1]
        assert reason in found[1]
        assert await verify(verifier, signing.provenance(wheel), wheel) == ("valid", "")


async def test_what_is_no_provenance_object_is_invalid(
    verifier: AttestationVerifier, wheel: Path
) -> None:
    for text in ("", "[]", "null", "{}", '{"attestation_bundles": [1]}', "[" * 9999):
        found = await verifier.verify(text.encode(), wheel.name, "0" * 64)
        assert (found.state, found.reason) == ("invalid", "the document is no provenance object")


async def test_an_unknown_kind_of_publisher_is_not_the_same_as_none(
    signing: SigningService, verifier: AttestationVerifier, wheel: Path
) -> None:
    document = signing.provenance(wheel)
    other = {"publisher": {"kind": "ActiveState"}, "attestations": [{"x": 1}]}
    both = {"version": 1, "attestation_bundles": [*document["attestation_bundles"], other]}
    assert await verify(verifier, both, wheel) == ("valid", "")
    alone = {"version": 1, "attestation_bundles": [other]}
    found = await verify(verifier, alone, wheel)
    assert found == ("unknown", "they are of a kind that is not known")
    later = document | {"version": 2}
    assert (await verify(verifier, later, wheel))[0] == "unknown"


async def test_a_forged_certificate_of_another_authority_is_invalid(
    verifier: AttestationVerifier, signing: SigningService, wheel: Path
) -> None:
    document = signing.provenance(wheel)
    forged = SigningService().provenance(wheel)
    entries = _attestation(document)["verification_material"]["transparency_entries"]
    _attestation(forged)["verification_material"]["transparency_entries"] = entries
    assert (await verify(verifier, forged, wheel))[0] == "invalid"


async def test_a_root_without_the_log_cannot_tell(wheel: Path, signing: SigningService) -> None:
    verifier = AttestationVerifier(None)
    try:
        found = await verify(verifier, signing.provenance(wheel), wheel)
    finally:
        await verifier.close()
    assert found == ("unknown", "they are in a log that the trusted root does not have")
    assert embedded_root().is_file()


async def test_a_root_that_cannot_be_read_cannot_tell(
    wheel: Path, signing: SigningService, tmp_path: Path
) -> None:
    (tmp_path / "broken.json").write_text("{}")
    verifier = AttestationVerifier(tmp_path / "broken.json")
    found = await verify(verifier, signing.provenance(wheel), wheel)
    assert found[0] == "unknown"


async def verify(
    verifier: AttestationVerifier, document: dict[str, Any], wheel: Path
) -> tuple[str, str]:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    found = await verifier.verify(json.dumps(document).encode(), wheel.name, digest)
    return found.state, found.reason


LIBRARY = """
import json, sys
from pypi_attestations import Distribution, Provenance
for document, name, digest in json.load(sys.stdin):
    try:
        (bundle,) = Provenance.model_validate(document).attestation_bundles
        for attestation in bundle.attestations:
            file = Distribution(name=name, digest=digest)
            attestation.verify(bundle.publisher, file, offline=True)
        print("valid")
    except ValueError:
        print("invalid")
"""


async def test_the_checks_agree_with_those_of_the_library(
    signing: SigningService, verifier: AttestationVerifier, wheel: Path, tmp_path: Path
) -> None:
    """The library takes the trusted root that lies in the cache of the user."""
    from sigstore._internal.tuf import DEFAULT_TUF_URL

    folder = tmp_path / "sigstore-python" / "tuf" / quote(DEFAULT_TUF_URL, safe="")
    folder.mkdir(parents=True)
    signing.write_root(folder / "trusted_root.json")
    documents = [
        spoiled(signing, wheel, options, spoil) for options, spoil, _ in [*WRONG, ({}, None, "")]
    ]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    asked = json.dumps([[document, wheel.name, digest] for document in documents])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LIBRARY),
        env={"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(asked.encode())
    ours = [(await verify(verifier, document, wheel))[0] for document in documents]
    assert output.decode().split() == ours == ["invalid"] * len(WRONG) + ["valid"]


async def test_verifying_needs_no_network_and_no_home(
    signing: SigningService, root: str, wheel: Path
) -> None:
    isolated = ("unshare", "--map-root-user", "--net")
    if not shutil.which("unshare") or subprocess.run([*isolated, "true"], check=False).returncode:
        pytest.skip("network namespaces cannot be made")
    program = "import sys; from proxy.facts.verify_process import main; main(sys.argv[1])"
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    question = json.dumps([json.dumps(signing.provenance(wheel)), wheel.name, digest, False])
    done = subprocess.run(
        [*isolated, sys.executable, "-c", program, root],
        input=f"{question}\n",
        env={"HOME": "/nonexistent", "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout)["state"] == "valid"


async def test_a_file_without_attestations_is_refused(
    opened: Open, releases: Releases, root: str
) -> None:
    releases.add("1.0")
    releases.add("2.0", signed=False)
    async with opened(ANY, provenance_root=root) as proxy:
        assert await shown(proxy.index) == [name("1.0")]
        assert await refusal(proxy.index, name("2.0")) == f"{name('2.0')}: it has no attestations"
        assert await refusal(proxy.index, name("1.0")) == ""


async def test_a_file_with_wrong_attestations_is_hidden_once_it_was_requested(
    opened: Open, releases: Releases, root: str, upstream: Upstream
) -> None:
    releases.add("1.0")
    releases.add("2.0", digest="0" * 64)
    async with opened(ANY, provenance_root=root) as proxy:
        assert await shown(proxy.index) == [name("1.0"), name("2.0")]
        reason = f"{name('2.0')}: its attestations are not valid: they are about other bytes"
        assert await refusal(proxy.index, f"{name('2.0')}.metadata") == reason
        assert await shown(proxy.index) == [name("1.0")]
    async with opened(ANY, provenance_root=root, offline=True, offline_list_all=True) as proxy:
        assert await shown(proxy.index) == [name("1.0")]


@pytest.mark.parametrize("unknown", ["refuse", "allow"])
async def test_attestations_that_cannot_be_had(
    opened: Open, releases: Releases, root: str, upstream: Upstream, unknown: str
) -> None:
    releases.add("1.0")
    upstream.fault(".provenance", Fault(status=500))
    async with opened(ANY | {"unknown": unknown}, provenance_root=root) as proxy:
        reason = await refusal(proxy.index, name("1.0"))
        assert ("cannot be verified" in reason) is (unknown == "refuse")


async def test_the_same_publisher_passes(opened: Open, releases: Releases, root: str) -> None:
    for version in ("1.0", "1.1", "2.0"):
        releases.add(version)
    async with opened(UNCHANGED, provenance_root=root) as proxy:
        assert await refusal(proxy.index, name("2.0")) == ""
        assert await refusal(proxy.index, name("1.0")) == ""
        assert len(await shown(proxy.index)) == 3


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ({"repository": "mallory/aaa", "repository_id": 666, "owner_id": 6}, False),
        ({"repository_id": 666}, False),  # deleted, and registered again under the same name
        ({"owner_id": 6}, False),  # transferred
        ({"repository": "acme-inc/aaa"}, True),  # renamed: the numbers are the same
        ({"workflow": "publish.yml"}, True),
    ],
)
async def test_another_publisher_is_refused_and_a_new_name_is_not(
    opened: Open, releases: Releases, root: str, options: dict[str, Any], passes: bool
) -> None:
    releases.add("1.0")
    releases.add("2.0", **options)
    releases.add("2.1", **options)
    async with opened(UNCHANGED, provenance_root=root) as proxy:
        for version in ("2.0", "2.1"):
            reason = await refusal(proxy.index, name(version))
            assert ("the publisher changed from github:acme/aaa:release.yml to" in reason) is (
                not passes
            )
        assert await refusal(proxy.index, name("1.0")) == ""


async def test_a_back_port_is_compared_with_what_was_uploaded_before_it(
    opened: Open, releases: Releases, root: str
) -> None:
    releases.add("2.0")
    releases.add("1.0.1", repository="mallory/aaa", repository_id=666, owner_id=6)
    async with opened(UNCHANGED, provenance_root=root) as proxy:
        assert "the publisher changed" in await refusal(proxy.index, name("1.0.1"))
        assert await refusal(proxy.index, name("2.0")) == ""


async def test_attestations_that_disappear_are_noticed(
    opened: Open, releases: Releases, root: str
) -> None:
    releases.add("0.9", signed=False)
    for version in ("1.0", "1.1", "1.2"):
        releases.add(version)
    releases.add("1.3", signed=False)
    async with opened(UNCHANGED, provenance_root=root) as proxy:
        assert "the 3 releases before it do" in await refusal(proxy.index, name("1.3"))
        assert await refusal(proxy.index, name("0.9")) == ""


async def test_a_file_that_was_added_without_attestations_is_refused_alone(
    opened: Open, releases: Releases, root: str
) -> None:
    releases.add("1.0")
    releases.add("1.0", signed=False, tag="py2-none-any")
    async with opened(UNCHANGED, provenance_root=root) as proxy:
        assert "other files of the release do" in await refusal(
            proxy.index, name("1.0", "py2-none-any")
        )
        assert await refusal(proxy.index, name("1.0")) == ""


async def test_pinned_publishers_are_the_only_ones(
    opened: Open, releases: Releases, root: str
) -> None:
    releases.add("1.0")
    releases.add("2.0", repository="mallory/aaa")
    policy = ANY | {"require": "pinned", "pinned": {"AAA": ["github:acme/aaa:release.yml"]}}
    async with opened(policy, provenance_root=root) as proxy:
        assert await refusal(proxy.index, name("1.0")) == ""
        assert "which is not pinned" in await refusal(proxy.index, name("2.0"))
    others = ANY | {"require": "pinned", "pinned": {"bbb": ["github:acme/bbb:release.yml"]}}
    async with opened(others, provenance_root=root) as proxy:
        assert await refusal(proxy.index, name("2.0")) == ""


async def test_attestations_that_come_later_are_taken_with_the_page(
    opened: Open, releases: Releases, root: str, upstream: Upstream, signing: SigningService
) -> None:
    wheel = releases.add("1.0", signed=False)
    async with opened(ANY, provenance_root=root, page_ttl="0", stale_while_revalidate=0) as proxy:
        assert await refusal(proxy.index, name("1.0"))
        upstream.add(wheel, provenance=signing.provenance(wheel))
        assert await refusal(proxy.index, name("1.0")) == ""


async def test_fifty_requests_verify_once(
    opened: Open, releases: Releases, root: str, upstream: Upstream
) -> None:
    releases.add("1.0")
    async with opened(ANY, provenance_root=root) as proxy:
        found = await asyncio.gather(*(refusal(proxy.index, name("1.0")) for _ in range(50)))
        assert set(found) == {""}
    asked = [each for each in upstream.requests if each.path.endswith(".provenance")]
    assert len(asked) == 1
