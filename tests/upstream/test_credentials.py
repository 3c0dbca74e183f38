"""Where credentials come from, whom they are for, and that nothing shows them."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from proxy.errors import ConfigurationError
from proxy.upstream.address_rules import origin_of
from proxy.upstream.credentials import Credentials, find_credentials, mask, without_userinfo


@pytest.fixture
def netrc(tmp_path: Path) -> Path:
    path = tmp_path / "netrc"
    path.write_text("machine example.com login n password netword\ndefault login d password dd\n")
    return path


def test_arguments_win_over_the_address_and_that_over_netrc(netrc: Path) -> None:
    written = "https://u%40x:p%3Aw@example.com/simple/"
    url, found = find_credentials(written, user="a", password="b", netrc=netrc)
    assert (url, found and found.user) == ("https://example.com/simple/", "a")
    _, found = find_credentials(written, netrc=netrc)
    assert found
    assert (found.user, found.password) == ("u@x", "p:w")
    _, found = find_credentials("https://example.com/simple/", netrc=netrc)
    assert found
    assert (found.user, found.password) == ("n", "netword")


def test_default_entry_of_netrc_is_ignored(netrc: Path) -> None:
    assert find_credentials("https://example.org/", netrc=netrc) == ("https://example.org/", None)


def test_no_netrc_is_no_credentials(tmp_path: Path) -> None:
    assert find_credentials("https://example.com/", netrc=tmp_path / "none")[1] is None


def test_broken_netrc_is_reported_without_its_content(netrc: Path) -> None:
    netrc.write_text("machine example.com login a password b\nhunter2 x\n")
    with pytest.raises(ConfigurationError, match="line 2") as caught:
        find_credentials("https://example.com/", netrc=netrc)
    assert "hunter2" not in str(caught.value)


def test_wrong_address_is_reported_without_its_password() -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_credentials("ftp://u:hunter2@example.com/")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://example.com:8443/",
        "https://example.com.evil.example/",
        "https://files.example.com/",
        "https://example.org/",
    ],
)
def test_shown_to_the_very_origin_only(url: str) -> None:
    shown = Credentials(origin_of("https://example.com/simple/"), "u", "p")
    assert shown.headers_for("https://EXAMPLE.com:443/x") == {
        "Authorization": "Basic " + b64encode(b"u:p").decode()
    }
    assert shown.headers_for(url) == {}


def test_nothing_shows_them() -> None:
    secret = Credentials(origin_of("https://example.com/"), "user7", "hunter2")
    for text in (repr(secret), str(secret), f"{secret}", repr([secret])):
        assert "hunter2" not in text
        assert "user7" not in text


@pytest.mark.parametrize(
    ("url", "masked", "bare"),
    [
        ("https://u:p@example.com/a", "https://***@example.com/a", "https://example.com/a"),
        ("https://u:p@w@example.com/", "https://***@example.com/", "https://example.com/"),
        ("https://token@example.com", "https://***@example.com", "https://example.com"),
        ("https://example.com/a//b@c", "https://example.com/a//b@c", "https://example.com/a//b@c"),
        ("https://example.com/?s=1", "https://example.com/?***", "https://example.com/?s=1"),
    ],
)
def test_masks(url: str, masked: str, bare: str) -> None:
    assert mask(url) == masked
    assert without_userinfo(url) == bare
