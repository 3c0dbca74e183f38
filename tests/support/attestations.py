"""A signing service of our own: a certificate authority, two logs, and attestations (PEP 740).

The trusted root file names its keys as that of the public instance names the public ones.
"""

from __future__ import annotations

import hashlib
import json
import struct
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pypi_attestations import AttestationType

SIGNED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STATEMENT = "application/vnd.in-toto+json"
PUBLISHED: str = AttestationType.PYPI_PUBLISH_V1.value
ISSUER = "https://token.actions.githubusercontent.com"
_CODE_SIGNING = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
_SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")


def _b64(data: bytes) -> str:
    return b64encode(data).decode()


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.DER, form)


def _sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


class SigningService:
    """Signs statements as a workflow of GitHub would have them signed."""

    def __init__(self) -> None:
        self._authority = ec.generate_private_key(ec.SECP256R1())
        self._certificates = ec.generate_private_key(ec.SECP256R1())
        self._log = ec.generate_private_key(ec.SECP256R1())
        self._root = self._authority_certificate()

    def trusted_root(self) -> dict[str, Any]:
        valid = {"start": "2020-01-01T00:00:00Z"}

        def log(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
            public = {
                "rawBytes": _b64(_spki(key)),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": valid,
            }
            return {
                "baseUrl": "https://log.example.com",
                "hashAlgorithm": "SHA2_256",
                "publicKey": public,
                "logId": {"keyId": _b64(hashlib.sha256(_spki(key)).digest())},
            }

        der = self._root.public_bytes(serialization.Encoding.DER)
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(self._log)],
            "certificateAuthorities": [
                {
                    "subject": {"organization": "example", "commonName": "test"},
                    "uri": "https://ca.example.com",
                    "certChain": {"certificates": [{"rawBytes": _b64(der)}]},
                    "validFor": valid,
                }
            ],
            "ctlogs": [log(self._certificates)],
            "timestampAuthorities": [],
        }

    def write_root(self, path: Path) -> Path:
        path.write_text(json.dumps(self.trusted_root()))
        return path

    def provenance(self, file: Path, **options: Any) -> dict[str, Any]:
        """An object with one attestation; ``options`` as for ``attestation``."""
        repository = options.get("repository", "acme/aaa")
        workflow = options.get("workflow", "release.yml")
        publisher = {"kind": "GitHub", "repository": repository, "workflow": workflow}
        bundle = {"publisher": publisher, "attestations": [self.attestation(file, **options)]}
        return {"version": 1, "attestation_bundles": [bundle]}

    def attestation(
        self,
        file: Path,
        *,
        repository: str = "acme/aaa",
        workflow: str = "release.yml",
        repository_id: int = 100,
        owner_id: int = 1,
        name: str | None = None,
        digest: str | None = None,
        predicate: str = PUBLISHED,
        subjects: int = 1,
        site: str = "https://github.com",
    ) -> dict[str, Any]:
        subject = {
            "name": name or file.name,
            "digest": {"sha256": digest or hashlib.sha256(file.read_bytes()).hexdigest()},
        }
        statement = json.dumps(
            {
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [subject] * subjects,
                "predicateType": predicate,
                "predicate": None,
            }
        ).encode()
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._leaf(key, f"{site}/{repository}", workflow, repository_id, owner_id)
        encoded = f"DSSEv1 {len(STATEMENT)} {STATEMENT} {len(statement)} ".encode() + statement
        signature = _sign(key, encoded)
        return {
            "version": 1,
            "verification_material": {
                "certificate": _b64(leaf.public_bytes(serialization.Encoding.DER)),
                "transparency_entries": [self._entry(leaf, statement, signature)],
            },
            "envelope": {"statement": _b64(statement), "signature": _b64(signature)},
        }

    def _authority_certificate(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        usage = _key_usage(digital_signature=False, key_cert_sign=True)
        public = self._authority.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(public)
            .serial_number(1)
            .not_valid_before(SIGNED - timedelta(days=100))
            .not_valid_after(SIGNED + timedelta(days=3000))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._authority, hashes.SHA256())
        )

    def _leaf(
        self,
        key: ec.EllipticCurvePrivateKey,
        uri: str,
        workflow: str,
        repository_id: int,
        owner_id: int,
    ) -> x509.Certificate:
        config = f"{uri}/.github/workflows/{workflow}@refs/tags/v1"
        claims = {
            8: ISSUER,
            12: uri,
            13: "0" * 40,
            14: "refs/tags/v1",
            15: str(repository_id),
            17: str(owner_id),
            18: config,
            19: "0" * 40,
        }
        authority = self._authority.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._root.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(SIGNED - timedelta(minutes=1))
            .not_valid_after(SIGNED + timedelta(minutes=9))
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(config)]), critical=True
            )
            .add_extension(_key_usage(digital_signature=True, key_cert_sign=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority), critical=False
            )
        )
        for number, claim in claims.items():
            oid = x509.ObjectIdentifier(f"1.3.6.1.4.1.57264.1.{number}")
            value = x509.UnrecognizedExtension(oid, _der(0x0C, claim.encode()))
            builder = builder.add_extension(value, critical=False)
        bare = builder.sign(self._authority, hashes.SHA256())
        stamp = x509.UnrecognizedExtension(_SCT_LIST, self._stamp(bare))
        return builder.add_extension(stamp, critical=False).sign(self._authority, hashes.SHA256())

    def _stamp(self, bare: x509.Certificate) -> bytes:
        """A list with one signed certificate timestamp (RFC 6962, section 3.2)."""
        time = struct.pack(">Q", int(SIGNED.timestamp() * 1000))
        issuer = hashlib.sha256(_spki(self._authority)).digest()
        body = bare.tbs_certificate_bytes
        signed = b"\0\0" + time + b"\0\1" + issuer + len(body).to_bytes(3, "big") + body + b"\0\0"
        signature = _sign(self._certificates, signed)
        log = hashlib.sha256(_spki(self._certificates)).digest()
        stamp = (
            b"\0" + log + time + b"\0\0" + b"\4\3" + struct.pack(">H", len(signature)) + signature
        )
        listed = struct.pack(">H", len(stamp)) + stamp
        return _der(0x04, struct.pack(">H", len(listed)) + listed)

    def _entry(self, leaf: x509.Certificate, statement: bytes, signature: bytes) -> dict[str, Any]:
        """An entry of a log of one entry, with its promise and its proof."""
        pem = leaf.public_bytes(serialization.Encoding.PEM)
        body = _canonical(
            {
                "apiVersion": "0.0.1",
                "kind": "dsse",
                "spec": {
                    "envelopeHash": {"algorithm": "sha256", "value": "0" * 64},
                    "payloadHash": {
                        "algorithm": "sha256",
                        "value": hashlib.sha256(statement).hexdigest(),
                    },
                    "signatures": [{"signature": _b64(signature), "verifier": _b64(pem)}],
                },
            }
        )
        log = hashlib.sha256(_spki(self._log)).digest()
        time = int(SIGNED.timestamp())
        promise = _canonical(
            {"body": _b64(body), "integratedTime": time, "logID": log.hex(), "logIndex": 0}
        )
        root = hashlib.sha256(b"\0" + body).digest()
        note = f"log.example.com - 1\n1\n{_b64(root)}\n"
        signed = _b64(log[:4] + _sign(self._log, note.encode()))
        return {
            "logIndex": "0",
            "logId": {"keyId": _b64(log)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(time),
            "inclusionPromise": {"signedEntryTimestamp": _b64(_sign(self._log, promise))},
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": _b64(root),
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": f"{note}\n\u2014 log.example.com {signed}\n"},
            },
            "canonicalizedBody": _b64(body),
        }


def _canonical(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _der(tag: int, data: bytes) -> bytes:
    if len(data) < 128:
        return bytes((tag, len(data))) + data
    length = len(data).to_bytes((len(data).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + data


def _key_usage(*, digital_signature: bool, key_cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
