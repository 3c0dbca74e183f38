"""The program of a process that verifies attestations (PEP 740) without a network.

Importing the libraries takes a second and 55 MB, which the server then does not have. Each input
line is ``[document, file name, sha256, bare]`` as JSON, each output line a ``Verified``. ``bare``:
the document is a list of attestations, as uploads have them, without the publishers.

pypi-attestations would make a verifier for each attestation, and read a trust root from the home
directory. So the checks around the signature are made here; a test compares them with the library.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from pypi_attestations import Attestation, AttestationBundle, Distribution
    from sigstore.verify import Verifier

STATEMENT = "application/vnd.in-toto+json"
_FULCIO_OID = "1.3.6.1.4.1.57264.1."
_REPOSITORY, _OWNER = f"{_FULCIO_OID}15", f"{_FULCIO_OID}17"
"""Numbers of the source repository and its owner, in certificates of GitHub and GitLab."""
_SOURCE, _CONFIG = f"{_FULCIO_OID}12", f"{_FULCIO_OID}18"
"""Addresses of the source repository and of its workflow, in the same certificates."""
_SITES = (
    ("GitHub", "workflow", "https://github.com/", "/.github/workflows/"),
    ("GitLab", "workflow_filepath", "https://gitlab.com/", "//"),
)
"""Kinds of publishers whose certificates name repository and workflow: the kind, the field of the
workflow, the start of a repository's address, and the text before the workflow."""
_LONGEST_REASON = 200


class Verified(msgspec.Struct):
    state: Literal["valid", "invalid", "unknown"]
    reason: str = ""
    publisher: str = ""
    identity: str = ""
    document: str = ""
    """The provenance object of bare attestations that are valid."""


class _Invalid(Exception):
    """An attestation is wrong."""


class _Unknown(Exception):
    """This installation cannot decide whether an attestation is right."""


def main(root: str) -> None:
    """``root``: the file with the trusted root; empty: the one that is part of sigstore."""
    from sigstore.models import TrustedRoot
    from sigstore.verify import Verifier

    path = Path(root) if root else embedded_root()
    verifier = Verifier(trusted_root=TrustedRoot.from_file(str(path)))
    logs = _log_ids(path)
    for line in sys.stdin:
        document, filename, sha256, bare = json.loads(line)
        check = verify_bare if bare else verify
        answer = check(document, filename, sha256, verifier, logs)
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.flush()


def embedded_root() -> Path:
    """The trusted root of the public instance, as of the release of sigstore."""
    import sigstore

    (found,) = Path(sigstore.__file__).parent.glob("_store/*sigstore.dev/trusted_root.json")
    return found


def verify(
    document: str, filename: str, sha256: str, verifier: Verifier, logs: set[str]
) -> Verified:
    """Every attestation has to be right, and at least one that the file was published."""
    from pypi_attestations import AttestationType, Distribution

    try:
        bundles = _bundles(document)
        file = Distribution(name=filename, digest=sha256)
        kinds = {
            _verify_one(bundle, attestation, file, verifier, logs)
            for bundle in bundles
            for attestation in bundle.attestations
        }
        if AttestationType.PYPI_PUBLISH_V1.value not in kinds:
            raise _Invalid("none of them says that the file was published")
        names = {_publisher(bundle) for bundle in bundles}
        identities = {
            _identity(bundle, attestation)
            for bundle in bundles
            for attestation in bundle.attestations
        }
    except _Unknown as error:
        return Verified("unknown", str(error)[:_LONGEST_REASON])
    except Exception as error:  # noqa: BLE001 (hostile documents make the libraries raise anything)
        return Verified("invalid", _one_line(error))
    return Verified("valid", "", ", ".join(sorted(names)), ", ".join(sorted(identities)))


def verify_bare(
    document: str, filename: str, sha256: str, verifier: Verifier, logs: set[str]
) -> Verified:
    """As ``verify``, for a list of attestations: its certificates name the publishers."""
    try:
        provenance = json.dumps(_with_publishers(document))
    except _Unknown as error:
        return Verified("unknown", str(error))
    except Exception as error:  # noqa: BLE001 (as in verify)
        return Verified("invalid", _one_line(error))
    answer = verify(provenance, filename, sha256, verifier, logs)
    return msgspec.structs.replace(answer, document=provenance if answer.state == "valid" else "")


def _with_publishers(document: str) -> dict[str, Any]:
    """The provenance object (PEP 740) of a list of attestations."""
    from pydantic import TypeAdapter, ValidationError
    from pypi_attestations import Attestation

    try:
        found = TypeAdapter(list[Attestation]).validate_json(document)
    except (ValidationError, ValueError):
        raise _Invalid("they are no list of attestations") from None
    if not found:
        raise _Invalid("the list has no attestation")
    bundles: dict[str, dict[str, Any]] = {}
    for attestation in found:
        publisher = _signer(attestation)
        empty = {"publisher": publisher, "attestations": []}
        bundle = bundles.setdefault(json.dumps(publisher), empty)
        bundle["attestations"].append(attestation.model_dump(mode="json"))
    return {"version": 1, "attestation_bundles": list(bundles.values())}


def _signer(attestation: Attestation) -> dict[str, str]:
    """The publisher that the certificate names; the signature is verified against that later."""
    claims = attestation.certificate_claims
    source, config = claims.get(_SOURCE, ""), claims.get(_CONFIG, "").rpartition("@")[0]
    for kind, field, site, before in _SITES:
        if source.startswith(site) and config.startswith(source + before):
            repository, workflow = source.removeprefix(site), config.removeprefix(source + before)
            return {"kind": kind, "repository": repository, field: workflow}
    raise _Unknown("their certificate names no publisher of a kind that is known")


def _bundles(document: str) -> list[AttestationBundle]:
    """The bundles whose kind of publisher is known."""
    from pydantic import ValidationError
    from pypi_attestations import AttestationBundle

    try:
        given: Any = json.loads(document)
        found = given["attestation_bundles"]
        kinds = [each["publisher"]["kind"] for each in found]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _Invalid("the document is no provenance object") from None
    known = [
        each
        for each, kind in zip(found, kinds, strict=True)
        if kind in ("GitHub", "GitLab", "Google", "CircleCI")
    ]
    if given.get("version") != 1 or not known:
        raise _Unknown("they are of a kind that is not known")
    try:
        return [AttestationBundle.model_validate(each) for each in known]
    except ValidationError:
        raise _Invalid("the document is no provenance object") from None


def _verify_one(
    bundle: AttestationBundle,
    attestation: Attestation,
    file: Distribution,
    verifier: Verifier,
    logs: set[str],
) -> str:
    """The type of the predicate."""
    from pypi_attestations import AttestationType

    for entry in attestation.verification_material.transparency_entries:
        if entry.get("logId", {}).get("keyId") not in logs:
            raise _Unknown("they are in a log that the trusted root does not have")
    policy = bundle.publisher._as_policy()
    kind, payload = verifier.verify_dsse(attestation.to_bundle(), policy)
    if kind != STATEMENT:
        raise _Invalid("the statement is of another type")
    statement = json.loads(payload)
    (subject,) = statement["subject"]
    if _parsed(subject["name"]) != _parsed(file.name):
        raise _Invalid(f"they are about another file: {subject['name']}")
    if subject["digest"].get("sha256") != file.digest:
        raise _Invalid("they are about other bytes")
    predicate: str = statement["predicateType"]
    if predicate not in [each.value for each in AttestationType]:
        raise _Invalid("the statement differs")
    return predicate


def _parsed(filename: str) -> object:
    from packaging.utils import parse_sdist_filename, parse_wheel_filename

    parse = parse_wheel_filename if filename.endswith(".whl") else parse_sdist_filename
    return parse(filename)


def _publisher(bundle: AttestationBundle) -> str:
    """For people and settings. The environment is not part of it: nothing signs that."""
    given = bundle.publisher.model_dump()
    parts = {
        "GitHub": ("repository", "workflow"),
        "GitLab": ("repository", "workflow_filepath"),
        "Google": ("email",),
        "CircleCI": ("project_id", "pipeline_definition_id"),
    }[given["kind"]]
    return ":".join((given["kind"].lower(), *(str(given[part]) for part in parts)))


def _identity(bundle: AttestationBundle, attestation: Attestation) -> str:
    """The numbers of repository and owner where the certificate has them, else the name."""
    claims = attestation.certificate_claims
    if _REPOSITORY in claims and _OWNER in claims:
        kind = bundle.publisher.kind.lower()
        return f"{kind}:{claims[_REPOSITORY]}:{claims[_OWNER]}"
    return _publisher(bundle)


def _log_ids(root: Path) -> set[str]:
    given = json.loads(root.read_text(encoding="utf-8"))
    return {each["logId"]["keyId"] for each in given.get("tlogs", ())}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_LONGEST_REASON] or "they cannot be read"
