"""Where pages say that files are."""

from __future__ import annotations

import pytest

from proxy.errors import ConfigurationError
from proxy.export.simple_pages import base_address, flat, in_tree
from proxy.model import File
from tests.support.exports import FOO

FILE = File("foo-1.0+a.tar.gz", "file:///x", {"sha256": "a" * 64})


@pytest.mark.parametrize(
    "address",
    [
        "https://files.example.com",
        "http://127.0.0.1:8080/pool/",
        "http://[::1]:8080/pool",
        "../../../pool",
        "/pool/%20x",
    ],
)
def test_addresses_of_folders_end_in_a_slash(address: str) -> None:
    assert base_address(address) == address.rstrip("/") + "/"


@pytest.mark.parametrize(
    "address",
    [
        *("", "ftp://files.example.com/", "file:///srv/", "javascript:alert(1)//", "https:///x"),
        *("//files.example.com/", "https://files.example.com/?a=b", "https://files.example.com/#x"),
        *(
            'https://files.example.com/"x',
            "https://files.example.com/<x",
            "https://[x/",
            "a b",
            "a\n",
        ),
    ],
)
def test_what_is_no_address_of_a_folder_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="--base-url"):
        base_address(address)


def test_credentials_are_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as raised:
        base_address("https://me:hunter2@files.example.com/")
    assert "hunter2" not in str(raised.value)


def test_where_files_are() -> None:
    assert in_tree(None)(FOO, [FILE]) == [f"../../files/foo/{'a' * 64}/foo-1.0%2Ba.tar.gz"]
    assert in_tree("https://x/")(FOO, [FILE]) == [f"https://x/foo/{'a' * 64}/foo-1.0%2Ba.tar.gz"]
    assert flat("https://x/")(FOO, [FILE]) == ["https://x/foo-1.0%2Ba.tar.gz"]
