"""The addresses of files in pages."""

from __future__ import annotations

import pytest

from proxy.errors import ConfigurationError
from proxy.export.simple_pages import flat_links, parse_base_url, tree_links
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
    assert parse_base_url(address) == address.rstrip("/") + "/"


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
def test_values_that_are_no_address_of_a_folder_are_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="--base-url"):
        parse_base_url(address)


def test_credentials_are_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_base_url("https://me:hunter2@files.example.com/")
    assert "hunter2" not in str(raised.value)


def test_addresses_of_files_are_relative_or_absolute() -> None:
    assert tree_links(None)(FOO, [FILE]) == [f"../../files/foo/{'a' * 64}/foo-1.0%2Ba.tar.gz"]
    assert tree_links("https://x/")(FOO, [FILE]) == [f"https://x/foo/{'a' * 64}/foo-1.0%2Ba.tar.gz"]
    assert flat_links("https://x/")(FOO, [FILE]) == ["https://x/foo-1.0%2Ba.tar.gz"]
