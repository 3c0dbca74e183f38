"""Real TLS with a private authority: the authorities trusted, and the client certificate sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.errors import ConfigurationError, UpstreamError
from proxy.model import ProjectName
from proxy.upstream.remote import UpstreamDocument
from tests.support.pki import Authority
from tests.support.remotes import open_remote
from tests.support.upstream import Fault, Upstream

DEMO = ProjectName("demo")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_private_authority_has_to_be_given(authority: Authority, wheel: Path) -> None:
    async with Upstream(tls=authority.server("127.0.0.1")) as upstream:
        upstream.add(wheel)
        async with open_remote(upstream.url) as remote:
            with pytest.raises(UpstreamError, match="certificate is not trusted"):
                await remote.page(DEMO)
        assert upstream.count() == 0
        async with open_remote(upstream.url, ca_bundle=authority.bundle) as remote:
            assert isinstance(await remote.page(DEMO), UpstreamDocument)


async def test_certificate_for_another_host_is_not_trusted(authority: Authority) -> None:
    async with (
        Upstream(tls=authority.server("localhost")) as upstream,
        open_remote(upstream.url, ca_bundle=authority.bundle) as remote,
    ):
        with pytest.raises(UpstreamError, match="certificate is not trusted"):
            await remote.page(DEMO)


async def test_ca_bundle_is_trusted_beside_the_authorities_of_the_system(
    authority: Authority, tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Authority(tmp_path, "other")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    for trusted in (authority, other):
        async with Upstream(tls=trusted.server("127.0.0.1")) as upstream:
            upstream.add(wheel)
            async with open_remote(upstream.url, ca_bundle=other.bundle) as remote:
                assert isinstance(await remote.page(DEMO), UpstreamDocument)


async def test_another_authority_is_not_trusted(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    async with (
        Upstream(tls=authority.server("127.0.0.1")) as upstream,
        open_remote(upstream.url, ca_bundle=other.bundle) as remote,
    ):
        with pytest.raises(UpstreamError, match="certificate is not trusted"):
            await remote.page(DEMO)


async def test_client_certificate_is_shown(authority: Authority, wheel: Path) -> None:
    certificate, key = authority.issue("builder")
    async with Upstream(tls=authority.server("127.0.0.1", clients=True)) as upstream:
        upstream.add(wheel)
        async with open_remote(upstream.url, ca_bundle=authority.bundle) as remote:
            with pytest.raises(UpstreamError):
                await remote.page(DEMO)
        assert upstream.count() == 0
        async with open_remote(
            upstream.url,
            ca_bundle=authority.bundle,
            client_certificate=certificate,
            client_key=key,
        ) as remote:
            assert isinstance(await remote.page(DEMO), UpstreamDocument)


async def test_no_redirect_leads_from_https_to_http(
    authority: Authority, upstream: Upstream
) -> None:
    async with Upstream(tls=authority.server("127.0.0.1")) as secure:
        target = upstream.url_of("demo-1.0-py3-none-any.whl")
        secure.fault("/files/", Fault(redirect=target))
        async with open_remote(secure.url, ca_bundle=authority.bundle) as remote:
            with pytest.raises(UpstreamError, match="from https to another scheme"):
                await remote.read(secure.files_url + "x.whl", 10**6)
            with pytest.raises(UpstreamError, match="plain http"):
                await remote.read(target, 10**6)
    assert upstream.count() == 0


async def test_server_that_does_not_speak_tls(upstream: Upstream, authority: Authority) -> None:
    url = upstream.url.replace("http:", "https:")
    async with open_remote(url, ca_bundle=authority.bundle) as remote:
        with pytest.raises(UpstreamError, match="secure connection"):
            await remote.page(DEMO)


@pytest.mark.parametrize("setting", ["ca_bundle", "client_certificate"])
async def test_files_that_are_no_certificates(tmp_path: Path, setting: str) -> None:
    path = tmp_path / "nonsense.pem"
    path.write_text("hunter2")
    wrong: dict[str, Any] = {setting: path}
    missing: dict[str, Any] = {setting: tmp_path / "none"}
    with pytest.raises(ConfigurationError, match=setting):
        async with open_remote("https://example.com/", **wrong):
            pass
    with pytest.raises(ConfigurationError, match="No such file"):
        async with open_remote("https://example.com/", **missing):
            pass
