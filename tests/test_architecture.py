"""Who may import whom, and who may use which library; each rule with its reason."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FOUNDATION = (
    *("proxy", "proxy.board", "proxy.bounded", "proxy.compression", "proxy.errors"),
    *("proxy.events", "proxy.heavy", "proxy.model", "proxy.purges", "proxy.singleflight"),
    "proxy.sizes",
)
PURE = ("proxy.simple.*", "proxy.policies.*", "proxy.distributions*")

# The first row whose name fits a module says what of ours it may import beside its own package.
LAYERS: dict[str, tuple[str, ...]] = {
    # What an index talks about depends on nothing, so that everything can depend on it.
    "proxy.__main__": ("proxy.cli",),
    "proxy.errors": (),
    "proxy.model": ("proxy.errors",),
    "proxy.events": ("proxy.model",),
    "proxy.counters": ("proxy.board", "proxy.events"),
    "proxy.logs": (),
    # Tools that know nothing of packages.
    "proxy.board": (),
    "proxy.bounded": (),
    "proxy.cache_control": (),
    "proxy.compression": (),
    "proxy.heavy": (),
    "proxy.purges": (),
    "proxy.singleflight": (),
    "proxy.sizes": (),
    "proxy.__init__": (),
    # Values in, values out: these can be tested, and trusted, without files or a network.
    "proxy.simple*": ("proxy.errors", "proxy.model"),
    "proxy.policies*": ("proxy.errors", "proxy.model"),
    "proxy.distributions*": ("proxy.errors", "proxy.model", "proxy.simple.names"),
    # Contracts name no implementation.
    "proxy.storage.base": (),
    "proxy.indexes.base": ("proxy.model",),
    # Bytes at rest know nothing of indexes, nor of a network.
    "proxy.storage*": ("proxy.errors", "proxy.compression"),
    # Bytes in motion know where they are put, but not what decides about them.
    "proxy.upstream*": (
        *("proxy", "proxy.cache_control", "proxy.errors", "proxy.model"),
        *("proxy.storage.base", "proxy.storage.leftovers", "proxy.storage.reading"),
    ),
    # The heart: no HTTP server, no settings, no command line.
    "proxy.indexes*": (*FOUNDATION, *PURE, "proxy.storage.*", "proxy.upstream.*"),
    # It asks indexes as clients do, and could be left out.
    "proxy.speculation*": (
        *FOUNDATION,
        *("proxy.bundle.targets", "proxy.indexes.base", "proxy.simple.names", "proxy.storage.base"),
    ),
    # HTTP in, HTTP out: it knows indexes by their contract alone. Of storage it knows what lies
    # in one file, as such bytes go to a socket from there.
    "proxy.web*": (
        *FOUNDATION,
        *("proxy.cache_control", "proxy.counters", "proxy.indexes.base", "proxy.logs"),
        *("proxy.simple", "proxy.simple.*"),
        *("proxy.storage.base", "proxy.storage.disk", "proxy.storage.reading"),
    ),
    # Settings are types without behaviour; who turns them into things is named further below.
    "proxy.settings": ("proxy.keep_table", "proxy.policies.names", "proxy.sizes"),
    "proxy.keep_table": (
        *("proxy.bundle.platforms", "proxy.errors", "proxy.policies.names", "proxy.sizes"),
    ),
    "proxy.mistakes": ("proxy.errors", "proxy.keep_table", "proxy.settings"),
    "proxy.sources": ("proxy.errors", "proxy.mistakes", "proxy.settings"),
    # ... and of what they may lead to, by rules without I/O.
    "proxy.plan": ("proxy.errors", "proxy.settings", "proxy.upstream.addresses"),
    "proxy.cache": (*FOUNDATION, "proxy.settings", "proxy.storage.*"),
    "proxy.upkeep": (*FOUNDATION, "proxy.cache", "proxy.storage.*"),
    # The one place that names concrete classes; not even it needs a web server.
    "proxy.compose*": (
        *(*FOUNDATION, *PURE, "proxy.cache", "proxy.plan", "proxy.settings", "proxy.compose*"),
        *("proxy.indexes.*", "proxy.storage.*", "proxy.upstream.*", "proxy.speculation.*"),
        "proxy.bundle.archive.manifest",
    ),
    # Both use an index as clients do, through the same objects. Bundles serve one to a resolver.
    "proxy.bundle*": (
        *(*FOUNDATION, *PURE, "proxy.cache", "proxy.compose*", "proxy.indexes.base"),
        *("proxy.settings", "proxy.storage.*", "proxy.web.app", "proxy.web.server"),
        *("proxy.upstream.credentials", "proxy.upstream.remote"),
    ),
    "proxy.export*": (
        *(*FOUNDATION, *PURE, "proxy.simple", "proxy.indexes.base", "proxy.indexes.local"),
        "proxy.storage.*",
    ),
    # The command line stands on everything, and nothing on it.
    "proxy.cli*": ("proxy", "proxy.*"),
}

LIBRARIES: dict[str, tuple[str, ...]] = {
    # One library for HTTP, on the two sides where there is some.
    "aiohttp": ("proxy.upstream.*", "proxy.web.*", "proxy.compose*", "proxy.cli.*"),
    "yarl": ("proxy.upstream.*",),
    # It says where PyPI is.
    "pypi_simple": ("proxy.plan",),
    # It pickles what it can: one module sees to it that it cannot.
    "diskcache": ("proxy.storage.raw",),
    "sqlite3": ("proxy.storage.*",),
    "click": ("proxy.cli", "proxy.cli.*"),
    "uvloop": ("proxy.cli.*",),
    "cryptography": ("proxy.bundle.archive.signing",),
    "inotify_simple": ("proxy.indexes.local.watch",),
    # Never: it runs what it reads.
    "pickle": (),
}

SLOW = ("pypi_simple", "cryptography", "uvloop")
"""Libraries that most starts do not need: they are imported where they are used."""

READS_SETTINGS = (
    *(
        "proxy.settings",
        "proxy.mistakes",
        "proxy.sources",
        "proxy.plan",
        "proxy.cache",
        "proxy.compose*",
    ),
    "proxy.cli.*",
    # They open a whole proxy of their own, as the command line does.
    *("proxy.bundle.ready", "proxy.bundle.warm", "proxy.bundle.keep.aside"),
)
"""Everything else takes paths, seconds and texts, and can be used and tested without settings."""

READS_ENVIRONMENT = (
    *("proxy.sources", "proxy.compose*", "proxy.cli.*"),
    # What it hands on to a resolver; and variables that a requirements file names.
    *("proxy.bundle.uv", "proxy.bundle.sources.requirements"),
)
"""Nothing else depends on variables that nobody sees."""


def _modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted((ROOT / "proxy").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts)] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = _modules()
NAMES = {name.removesuffix(".__init__") for name in MODULES}


def _imports(tree: ast.AST, *, everywhere: bool = True) -> Iterator[str]:
    """Names imported when the code runs, not only when types are checked.

    ``everywhere``: also within functions.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (_imported(node.module or "", alias.name) for alias in node.names)
        elif everywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _imports(node, everywhere=everywhere)


def _imported(module: str, name: str) -> str:
    """The module, where what is imported from a package is one."""
    inner = f"{module}.{name}"
    return inner if inner in NAMES else module


IMPORTS = {module: set(_imports(tree)) for module, tree in MODULES.items()}
AT_ONCE = {module: set(_imports(tree, everywhere=False)) for module, tree in MODULES.items()}


def _users(library: str, imports: Mapping[str, set[str]]) -> set[str]:
    return {
        module.removesuffix(".__init__")
        for module, names in imports.items()
        if any(name.split(".")[0] == library for name in names)
    }


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _layer(module: str) -> str:
    return next((each for each in LAYERS if fnmatch(module, each)), "")


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_only_what_lies_below_them(module: str) -> None:
    layer = _layer(module)
    assert layer, f"{module} has no place yet: say in LAYERS what it may import"
    package = ".".join(module.split(".")[:2])
    allowed = LAYERS[layer] if layer != package + "*" else (*LAYERS[layer], package, package + ".*")
    ours = {name for name in IMPORTS[module] if name.split(".")[0] == "proxy"}
    assert {name for name in ours if not _fits(name, allowed)} == set()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_used_only_where_it_has_its_place(library: str) -> None:
    users, allowed = _users(library, IMPORTS), LIBRARIES[library]
    assert {user for user in users if not _fits(user, allowed)} == set()
    assert users or not allowed, "nobody uses it: the rule can go"


@pytest.mark.parametrize("library", SLOW)
def test_a_slow_library_is_imported_where_it_is_used(library: str) -> None:
    assert _users(library, AT_ONCE) == set()


def test_settings_are_read_where_things_are_composed() -> None:
    readers = {module for module, names in IMPORTS.items() if "proxy.settings" in names}
    assert {reader for reader in readers if not _fits(reader, READS_SETTINGS)} == set()


def test_the_environment_is_read_where_settings_come_in() -> None:
    readers = set()
    for module, tree in MODULES.items():
        used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        if used & {"environ", "getenv", "environb"}:
            readers.add(module)
    assert {reader for reader in readers if not _fits(reader, READS_ENVIRONMENT)} == set()


def test_there_are_no_circles() -> None:
    """What is in a circle can only be understood, tested and changed as one."""
    graph = {module.removesuffix(".__init__"): names & NAMES for module, names in AT_ONCE.items()}
    # Importing anything imports the package "proxy" itself, which holds the version alone.
    for imports in graph.values():
        imports.discard("proxy")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_every_third_party_import_is_a_dependency() -> None:
    """So that an installation without the tools of tests works."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {
        name: each for name, each in project["optional-dependencies"].items() if name != "test"
    }
    declared = " ".join([*project["dependencies"], *chain(*groups.values())]).lower()
    distribution = {"yarl": "aiohttp", "multidict": "aiohttp"}
    used = {name.split(".")[0] for names in IMPORTS.values() for name in names}
    newer = {"compression"}  # of the standard library since Python 3.14
    foreign = used - set(sys.stdlib_module_names) - newer - {"proxy"}
    wanted = {distribution.get(each, each) for each in foreign}
    assert {each for each in wanted if each not in declared.replace("-", "_")} == set()
