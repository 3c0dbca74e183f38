"""Values that stand for others have to be equal to them."""

from __future__ import annotations

import msgspec
import pytest

from proxy.model import File, Sha256, distribution_of, with_distributions

DIGEST = "a" * 64


def test_a_sha256_is_a_mapping_like_any_other() -> None:
    one = Sha256(DIGEST)
    assert one == {"sha256": DIGEST} == one
    assert not one != {"sha256": DIGEST}  # noqa: SIM202 (that operator is meant)
    assert one != {"sha256": "b" * 64}
    assert one != {"sha256": DIGEST, "md5": "c" * 32}
    assert dict(one) == {**one} == {"sha256": DIGEST}
    assert (one.get("md5"), "sha256" in one, "md5" in one, len(one)) == (None, True, False, 1)
    with pytest.raises(KeyError):
        one["md5"]


def test_files_are_the_same_however_their_hashes_are_kept() -> None:
    files = [File("a.whl", "https://x/", hashes) for hashes in (Sha256(DIGEST), {"sha256": DIGEST})]
    assert files[0] == files[1]
    assert files[0].address_digest == files[1].address_digest == files[0].sha256 == DIGEST
    assert len({msgspec.msgpack.encode(file) for file in files}) == 1


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("a-1.tar.gz", "a-1.tar.gz"),
        ("a-1.tar.gz.asc", "a-1.tar.gz"),
        ("a-1.tar.gz.sigstore.json", "a-1.tar.gz"),
        ("a-1.whl.metadata", "a-1.whl"),
        ("a-1.tar.gz.json", "a-1.tar.gz.json"),
    ],
)
def test_a_sibling_is_named_after_its_distribution(name: str, owner: str) -> None:
    assert distribution_of(name) == owner
    assert owner in with_distributions(name)
