"""The example of a gateway, as it is in the documents and in ``deploy``."""

from __future__ import annotations

import shutil
from pathlib import Path

from proxy.composition import open_proxy, resolve_tree
from proxy.config import load_settings
from proxy.indexes import Guarded
from tests.docs.documents import ROOT, steps

EXAMPLE = ROOT / "deploy" / "gateway.example.toml"


def test_the_documents_show_the_example() -> None:
    shown = [step.text for step in steps(ROOT / "docs" / "rules.md")]
    text = EXAMPLE.read_text(encoding="utf-8")
    assert text.partition("\n\n")[2].strip() in [each.strip() for each in shown]


async def test_the_example_opens_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "users.htpasswd").touch()
    config = shutil.copy(EXAMPLE, tmp_path)
    flags = {"cache_dir": str(tmp_path / "cache"), "offline": True}
    settings = load_settings(flags, Path(config), resolve_tree).settings
    assert settings.access and settings.access.groups == {"ci": ["oidc:github"]}
    assert settings.audit and (settings.audit.keep, settings.audit.clients) == (400 * 86400, "full")
    async with open_proxy(settings) as proxy:
        assert set(proxy.served) == {"", "/main", "/private", "/world", "/fast"}
        kinds = {
            name: [policy.kind for policy in index.policies if policy.kind]
            for name, index in proxy.indexes.items()
            if isinstance(index, Guarded)
        }
    assert kinds == {
        "world": ["malware", "deny", "advisories", "cooldown", "licence"],
        "fast": ["malware", "deny"],
    }
