"""Settings of tools for an index: what to write, and a command that proves that it works."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from proxy.simple import is_loopback


class Address(NamedTuple):
    """The address of an index for installers."""

    url: str
    """It ends in ``/simple/``."""
    accepts_uploads: bool = False

    @property
    def uploads(self) -> str:
        """The address that tools publish to."""
        return f"{self.url.removesuffix('simple/')}legacy/"

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def authority(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def is_insecure(self) -> bool:
        """Whether pip has to be given the host as trusted."""
        return urlsplit(self.url).scheme == "http" and not is_loopback(self.host)

    @property
    def trust(self) -> str:
        """The option for pip, with a space before it."""
        return f" --trusted-host {self.host}" if self.is_insecure else ""


class Block(NamedTuple):
    title: str
    text: str
    about: str = ""


class Snippet(NamedTuple):
    key: str
    label: str
    blocks: tuple[Block, ...]
    proof: Block


def pip(at: Address) -> Snippet:
    trusted = f"\npip config set global.trusted-host {at.host}" if at.is_insecure else ""
    return Snippet(
        "pip",
        "pip",
        (
            Block("For one command", f"pip install --index-url {at.url}{at.trust} NAME"),
            Block("For every command", f"pip config set global.index-url {at.url}{trusted}"),
            Block("By the environment", f"export PIP_INDEX_URL={at.url}"),
        ),
        Block(
            "Check it",
            f'pip download --no-deps --no-cache-dir -d "$(mktemp -d)"{at.trust} -v six'
            f" | grep {at.authority}",
            "It prints lines with the address of this server.",
        ),
    )


def uv(at: Address) -> Snippet:
    table = f'[[tool.uv.index]]\nname = "waystation"\nurl = "{at.url}"\ndefault = true'
    return Snippet(
        "uv",
        "uv",
        (
            Block("For one command", f"uv pip install --index-url {at.url} NAME"),
            Block("For every command", f"export UV_DEFAULT_INDEX={at.url}"),
            Block("In a project", table, "In pyproject.toml; uv.lock then names this server."),
        ),
        Block(
            "Check it",
            f'echo six | uv pip compile --no-cache -v - 2>&1 | grep "{at.authority}"',
            "It prints lines with the address of this server.",
        ),
    )


def poetry(at: Address) -> Snippet:
    return Snippet(
        "poetry",
        "Poetry",
        (
            Block(
                "In a project",
                f"poetry source add --priority=primary waystation {at.url}",
                "A primary source replaces PyPI, and poetry.lock then names this server.",
            ),
        ),
        Block(
            "Check it",
            "poetry source show && poetry lock && grep -A 3 package.source poetry.lock",
            "It shows one source, waystation, and that each package is from this address.",
        ),
    )


def pdm(at: Address) -> Snippet:
    verify = "" if not at.is_insecure else "\nverify_ssl = false"
    table = f'[[tool.pdm.source]]\nname = "pypi"\nurl = "{at.url}"{verify}'
    return Snippet(
        "pdm",
        "PDM",
        (
            Block("For every project", f"pdm config pypi.url {at.url}"),
            Block("In a project", table, 'In pyproject.toml; the name "pypi" replaces PyPI.'),
        ),
        Block(
            "Check it",
            f"pdm config pypi.url && pdm lock -vv 2>&1 | grep {at.authority}",
            "It prints lines with the address of this server.",
        ),
    )


def twine(at: Address) -> Snippet:
    build = Block("Check what you would publish", "python -m build && twine check --strict dist/*")
    copy = Block(
        "Publish by a copy",
        "cp dist/* PACKAGES/",
        "PACKAGES is the directory of private distributions of this server: a file that"
        " is copied there is served with the next request.",
    )
    upload = Block(
        "Publish",
        f"twine upload --repository-url {at.uploads} dist/*",
        "With access control, the user is __token__, and the password a token that may upload.",
    )
    return Snippet(
        "twine",
        "twine",
        (build, upload if at.accepts_uploads else copy),
        Block(
            "Check it",
            f'pip download --no-deps --no-cache-dir -d "$(mktemp -d)" --index-url {at.url}'
            f"{at.trust} NAME",
            "It downloads the version that was published.",
        ),
    )


def docker(at: Address) -> Snippet:
    trusted = f" --build-arg PIP_TRUSTED_HOST={at.host}" if at.is_insecure else ""
    # To a container, 127.0.0.1 is the container itself.
    network = " --network=host" if is_loopback(at.host) else ""
    build = (
        f"docker build{network} --build-arg PIP_INDEX_URL={at.url}{trusted}"
        f" --build-arg UV_DEFAULT_INDEX={at.url}"
    )
    arguments = "ARG PIP_INDEX_URL\nARG PIP_TRUSTED_HOST\nARG UV_DEFAULT_INDEX"
    file = f"{arguments}\nRUN pip install --no-cache-dir NAME"
    about = (
        "After FROM. Containers do not get the arguments, but the history of the image shows them:"
        " put no password into the address."
    )
    return Snippet(
        "docker",
        "Docker",
        (Block("In the Dockerfile", file, about), Block("The build", f"{build} .")),
        Block(
            "Check it",
            f"{build} --no-cache --progress=plain . 2>&1 | grep {at.authority}",
            "It prints “Looking in indexes” with this address.",
        ),
    )


def github(at: Address) -> Snippet:
    trusted = f"\n  PIP_TRUSTED_HOST: {at.host}" if at.is_insecure else ""
    env = f"env:\n  PIP_INDEX_URL: {at.url}\n  UV_DEFAULT_INDEX: {at.url}{trusted}"
    step = "- run: pip config debug | grep PIP_INDEX_URL\n- run: pip download --no-deps six"
    return Snippet(
        "github",
        "GitHub Actions",
        (Block("In the workflow", env, "At the top level, so that every job has it."),),
        Block(
            "Check it",
            step,
            "As steps of a job: the log of the second says “Looking in indexes” with this address.",
        ),
    )


def gitlab(at: Address) -> Snippet:
    trusted = f'\n  PIP_TRUSTED_HOST: "{at.host}"' if at.is_insecure else ""
    text = f'variables:\n  PIP_INDEX_URL: "{at.url}"\n  UV_DEFAULT_INDEX: "{at.url}"{trusted}'
    job = "check-index:\n  script:\n    - pip download --no-deps -d check six"
    return Snippet(
        "gitlab",
        "GitLab CI",
        (Block("In .gitlab-ci.yml", text, "Or as variables of the group, for all projects."),),
        Block("Check it", job, "The log of the job says “Looking in indexes” with this address."),
    )


def renovate(at: Address) -> Snippet:
    rule = {"matchDatasources": ["pypi"], "registryUrls": [at.url]}
    text = json.dumps({"packageRules": [rule]}, indent=2)
    return Snippet(
        "renovate",
        "Renovate",
        (Block("In renovate.json", text, "It then proposes only versions that this index shows."),),
        Block(
            "Check it",
            "LOG_LEVEL=debug renovate --dry-run=lookup --platform=local 2>&1"
            f" | grep {at.authority}",
            "It prints requests to this server.",
        ),
    )


TOOLS: tuple[Callable[[Address], Snippet], ...] = (
    *(pip, uv, poetry, pdm, twine, docker, github, gitlab, renovate),
)
