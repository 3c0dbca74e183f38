"""Attestations (PEP 740) of uploads by twine and uv: verified, stored, served and exported."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from proxy.facts import AttestationVerifier
from tests.e2e.test_publishing import address, twine, uv_publish
from tests.support.attestations import SigningService
from tests.support.distributions import make_wheel
from tests.support.running import Running, running, waystation
from tests.support.upstream import Upstream
from tests.web.test_uploads import body

JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}


@pytest.fixture(scope="module")
def signing() -> SigningService:
    return SigningService()


@pytest.fixture
def root(signing: SigningService, tmp_path: Path) -> Path:
    return signing.write_root(tmp_path / "root.json")


@pytest.fixture
async def server(tmp_path: Path, upstream: Upstream, root: Path) -> AsyncIterator[Running]:
    (tmp_path / "packages").mkdir()
    given = ("--upstream", upstream.url, "--packages", tmp_path / "packages")
    more = {"WAYSTATION_UPLOADS": "true", "WAYSTATION_PROVENANCE_ROOT": str(root)}
    async with running(tmp_path, *given, **more) as server:
        yield server


def attested(signing: SigningService, folder: Path, project: str, **options: Any) -> list[Path]:
    """A wheel, and the file beside it from which tools take an attestation."""
    wheel = make_wheel(folder, project, "1.0")
    beside = wheel.with_name(f"{wheel.name}.publish.attestation")
    beside.write_text(json.dumps(signing.attestation(wheel, **options)))
    return [wheel, beside]


async def provenance(client: aiohttp.ClientSession, server: Running, project: str) -> bytes | None:
    """The document that the page of a project with one file names; None if it names none."""
    async with client.get(f"{server.index}{project}/", headers=JSON) as answer:
        (file,) = (await answer.json(content_type=None))["files"]
    if not file.get("provenance"):
        return None
    async with client.get(answer.url.join(URL(file["provenance"]))) as document:
        assert document.status == 200
        return await document.read()


@pytest.mark.slow
async def test_attestations_of_twine_and_uv_are_served_as_provenance(
    tmp_path: Path, server: Running, signing: SigningService, root: Path
) -> None:
    home, verifier = tmp_path / "home", AttestationVerifier(root)
    one = attested(signing, tmp_path / "one", "foo")
    two = attested(signing, tmp_path / "two", "bar", workflow="publish.yml")
    (await twine(server, home, "--attestations", *one)).succeeded()
    (await uv_publish(server, home, *two)).succeeded()
    async with aiohttp.ClientSession() as client:
        for (wheel, _), workflow in ((one, "release.yml"), (two, "publish.yml")):
            document = await provenance(client, server, wheel.name[:3])
            assert document
            (bundle,) = json.loads(document)["attestation_bundles"]
            publisher = bundle["publisher"]
            assert (publisher["repository"], publisher["workflow"]) == ("acme/aaa", workflow)
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            found = await verifier.verify(document, wheel.name, digest)
            assert (found.state, found.publisher) == ("valid", f"github:acme/aaa:{workflow}")
    await verifier.close()
    given = ("--from", tmp_path / "packages")
    (await waystation("export", "tree", *given, cwd=tmp_path)).succeeded()
    exported = {path.name.split("-")[0] for path in (tmp_path / "tree").rglob("*.provenance")}
    assert exported == {"foo", "bar"}


async def test_attestations_that_are_wrong_are_refused_with_the_upload(
    tmp_path: Path, server: Running, signing: SigningService
) -> None:
    wheel = make_wheel(tmp_path / "dist", "foo", "1.0")
    good = signing.attestation(wheel)
    other = SigningService().attestation(wheel)
    wrong: dict[str, str] = {
        "another signer": json.dumps([good, other]),
        "other bytes": json.dumps([signing.attestation(wheel, digest="0" * 64)]),
        "another file": json.dumps([signing.attestation(wheel, name="foo-2.0-py3-none-any.whl")]),
        "no publication": json.dumps(
            [signing.attestation(wheel, predicate="https://slsa.dev/provenance/v1")]
        ),
        "another site": json.dumps([signing.attestation(wheel, site="https://git.example.com")]),
        "no list": json.dumps(good),
        "empty": "[]",
        "no JSON": "[" * 9999,
    }
    async with aiohttp.ClientSession() as client:
        for name, text in wrong.items():
            async with client.post(address(server), data=body(wheel, {"attestations": text})) as no:
                assert no.status == 400, name
                assert f"the attestations of {wheel.name} are" in await no.text()
        assert not (tmp_path / "packages" / "foo").exists()
        right = body(wheel, {"attestations": json.dumps([good])})
        async with client.post(address(server), data=right) as answer:
            assert answer.status == 200
        assert await provenance(client, server, "foo")


async def test_a_repeated_upload_adds_the_attestations_that_the_file_lacks(
    tmp_path: Path, server: Running, signing: SigningService, root: Path
) -> None:
    wheel = make_wheel(tmp_path / "dist", "foo", "1.0")
    found: list[bytes | None] = []
    async with aiohttp.ClientSession() as client:
        for given in ([], ["release.yml"], ["release.yml"], ["publish.yml", "release.yml"]):
            made = [signing.attestation(wheel, workflow=each) for each in given]
            fields = {"attestations": json.dumps(made)} if made else {}
            async with client.post(address(server), data=body(wheel, fields)) as answer:
                assert answer.status == 200, await answer.text()
            found.append(await provenance(client, server, "foo"))
        feed = address(server).replace("legacy/", "-/changes")
        async with client.get(feed) as answer:
            actions = [json.loads(line)["action"] for line in (await answer.text()).splitlines()]
    assert actions == ["publish", "attest", "attest"]
    bare, first, second, last = found
    assert bare is None
    assert first == second  # a new signature of the same publisher says nothing new
    assert first
    assert last
    bundles = json.loads(last)["attestation_bundles"]
    assert [each["publisher"]["workflow"] for each in bundles] == ["release.yml", "publish.yml"]
    assert bundles[:1] == json.loads(first)["attestation_bundles"]
    verifier, digest = AttestationVerifier(root), hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert (await verifier.verify(last, wheel.name, digest)).state == "valid"
    await verifier.close()


async def test_attestations_come_through_a_bundle(
    tmp_path: Path, server: Running, signing: SigningService
) -> None:
    """From the server that took the upload to a mirror of it, and to a machine without network."""
    wheel, _ = attested(signing, tmp_path / "dist", "foo")
    text = json.dumps([signing.attestation(wheel)])
    near, far, bundle = tmp_path / "near", tmp_path / "far", tmp_path / "all.bundle"
    for folder in (near, far):
        (folder / "none").mkdir(parents=True)
    given = ("--upstream", server.index, "--packages", "none")
    async with aiohttp.ClientSession() as client:
        async with client.post(address(server), data=body(wheel, {"attestations": text})) as answer:
            assert answer.status == 200
        uploaded = await provenance(client, server, "foo")
        async with running(near, *given) as mirror:
            assert await provenance(client, mirror, "foo") == uploaded
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            async with client.get(f"{mirror.address}/files/foo/{digest}/{wheel.name}") as answer:
                assert await answer.read() == wheel.read_bytes()
        for command, folder in ((("create", bundle, "--all"), near), (("import", bundle), far)):
            done = await waystation("bundle", *command, *given, "--cache-dir", "cache", cwd=folder)
            done.succeeded()
        async with running(far, *given, "--offline") as offline:
            assert await provenance(client, offline, "foo") == uploaded
    assert uploaded
