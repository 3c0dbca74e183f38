"""The packages of ``proxy`` and their order: which imports which, and only its face."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "proxy"

VOCABULARY = {"errors", "model", "events"}

# One row for each package (or module beside the packages), lowest first: what it may import.
PACKAGES: dict[str, set[str]] = {
    # Errors know no HTTP and no index, so that every package can raise them.
    "errors": set(),
    # Threads, files and memory: nothing in it knows what a package index is.
    "runtime": set(),
    # The vocabulary: projects, pages, files, blobs. Values without I/O.
    "model": {"errors"},
    # Bytes and records at rest know neither indexes nor a network.
    "storage": {"errors", "model", "runtime"},
    "events": {"model"},
    # What is known of releases: read from a source, kept compact, shared by all processes.
    "advisories": {"errors", "model", "runtime", "events"},
    # Values in, values out: these need no network, and most need no files.
    "distributions": {"errors", "model"},
    "policies": {"errors", "model", "advisories", "distributions"},
    "simple": {"errors", "model", "distributions"},
    # Bytes in motion know where bytes are stored, but decide nothing about them.
    "upstream": {"errors", "model", "runtime", "storage"},
    # Settings are checked values; patterns and platforms are checked by the packages that own them.
    "config": {"errors", "model", "runtime", "advisories", "distributions", "policies"},
    # Facts of single files: read from files, asked of others, kept in records.
    "facts": VOCABULARY | {"runtime", "storage", "distributions", "policies"},
    # An observer of answers, with a database of its own; it could be left out.
    "audit": VOCABULARY | {"runtime", "distributions"},
    # The heart: no HTTP server, no settings, no command line.
    "indexes": VOCABULARY
    | {"runtime", "storage", "distributions", "policies", "simple", "upstream"},
    # What people see; it knows values and texts, no index and no HTTP.
    "presentation": {"errors", "runtime"},
    # A static tree reads an index as a client does.
    "export": VOCABULARY
    | {"runtime", "storage", "distributions", "simple", "indexes", "presentation"},
    # Prefetching requests pages and files from an index as a client does; it could be left out.
    "prefetch": VOCABULARY | {"runtime", "storage", "distributions", "indexes"},
    # Reports of what an index would answer, and why; pages and commands show them.
    "explain": VOCABULARY | {"runtime", "distributions", "policies", "indexes", "prefetch"},
    # HTTP in, HTTP out. It knows indexes by their contract, and upstream by header syntax.
    "web": VOCABULARY
    | {"runtime", "distributions", "simple", "upstream", "indexes"}
    | {"prefetch", "explain", "presentation"},
    # Pages for people: views of what the indexes answer, and of what the server counts.
    "face": {"errors", "runtime", "simple", "indexes", "presentation", "web"},
    # What builds need: a resolver runs against an index that is served to it.
    "requirements": VOCABULARY
    | {"runtime", "distributions", "policies", "simple", "upstream", "indexes", "web"},
    # The one place that names concrete classes.
    "composition": VOCABULARY
    | {"runtime", "storage", "advisories", "policies", "upstream", "config", "facts", "indexes"}
    | {"audit", "prefetch"},
    # Products on top of a composed proxy.
    "maintenance": {"errors", "storage", "composition"},
    "warm": VOCABULARY
    | {"runtime", "storage", "distributions", "policies", "upstream", "config", "indexes"}
    | {"requirements", "composition"},
    "bundle": VOCABULARY
    | {"runtime", "storage", "distributions", "policies", "simple", "upstream", "indexes"}
    | {"requirements", "composition"},
    # The command line uses everything, and nothing uses the command line.
    "cli": VOCABULARY
    | {"runtime", "storage", "distributions", "simple", "upstream", "config", "indexes", "web"}
    | {"export", "prefetch", "requirements", "composition", "maintenance", "warm", "bundle"}
    | {"presentation", "face"}
    | {"audit", "explain", "policies"},
    "__main__": {"cli"},
}

LIBRARIES: dict[str, tuple[str, ...]] = {
    # One library for HTTP, on the two sides that speak HTTP.
    "aiohttp": ("upstream", "web", "face"),
    "yarl": ("upstream",),
    # Tags of unusual form, on pages of servers of all kinds.
    "bs4": ("simple",),
    # The address of PyPI is a composed default.
    "pypi_simple": ("composition",),
    # Small values at rest.
    "diskcache": ("storage",),
    "sqlite3": ("storage", "audit"),
    # Values from outside are checked where they come in, and are plain after that.
    "pydantic_settings": ("config",),
    "pydantic": ("config", "facts", "composition", "warm", "cli"),
    "click": ("cli",),
    "jinja2": ("presentation",),
    "markupsafe": ("presentation",),
    "prometheus_client": ("web",),
    "uvloop": ("cli",),
    "cryptography": ("bundle",),
    # Conditions in CEL; importing it takes 0.4 seconds.
    "cel": ("policies",),
    # Attestations; in a process of its own.
    "pypi_attestations": ("facts",),
    "sigstore": ("facts",),
    # Its licence is LGPL: optional, and used in one place.
    "cvss": ("advisories",),
    "inotify_simple": ("indexes",),
    # Never: it runs what it reads.
    "pickle": (),
}

SLOW = (
    "bs4",
    "cel",
    "cvss",
    "pypi_attestations",
    "sigstore",
    "pypi_simple",
    "cryptography",
    "uvloop",
    "jinja2",
    "markupsafe",
    "prometheus_client",
)
"""Libraries that most starts do not need: they are imported inside functions."""

READS_SETTINGS = {"config", "composition", "warm", "bundle", "cli"}
"""All other packages take paths, seconds and texts, and can be tested without settings."""

READS_ENVIRONMENT = {"config", "composition", "requirements", "cli"}
"""``requirements`` starts resolvers, and reads variables that requirements files name."""

LARGEST_FILE = 320
"""Lines. A file is a topic: what has more lines has two topics."""
SMALLEST_FILE = 60
"""Lines. A smaller file is a contract, a face, or has at least three importers."""
CONTRACTS = {
    *("proxy.__main__", "proxy.indexes.base", "proxy.indexes.guarded"),
    *("proxy.policies.base", "proxy.storage.base"),
}


def _modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = _modules()


def _path(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _package(module: str) -> str:
    """The first name below ``proxy``."""
    return [*module.split("."), ""][1]


def _imports(tree: ast.AST, *, inside_functions: bool = True) -> Iterator[tuple[str, str]]:
    """Modules and names imported from them: for type checkers too, or only when imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and not inside_functions and "TYPE_CHECKING" in ast.dump(node):
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _imports(node, inside_functions=inside_functions)


IMPORTS = {module: set(_imports(tree)) for module, tree in MODULES.items()}
LIBRARY_USERS = {
    module: {name.split(".")[0] for name, _ in imports} for module, imports in IMPORTS.items()
}


def _foreign(module: str) -> Iterator[tuple[str, str]]:
    """Imports from other packages of ours. The package ``proxy`` itself holds the version."""
    for name, what in IMPORTS[module]:
        if name.startswith("proxy.") and _package(name) != _package(module):
            yield name, what


@pytest.mark.parametrize("package", sorted({_package(module) for module in MODULES} - {""}))
def test_a_package_imports_only_what_its_row_allows(package: str) -> None:
    assert package in PACKAGES, f"{package} has no row in PACKAGES: say what it may import"
    used = {
        _package(name)
        for module in MODULES
        if _package(module) == package
        for name, _ in _foreign(module)
    }
    assert used - PACKAGES[package] == set()
    assert PACKAGES[package] - VOCABULARY - used == set(), "the row allows more than is used"


def test_packages_have_one_order() -> None:
    """Each package imports only packages whose rows are above its own: there is no cycle."""
    order = list(PACKAGES)
    for package, allowed in PACKAGES.items():
        below = set(order[: order.index(package)])
        assert allowed <= below, package


@pytest.mark.parametrize("module", sorted(MODULES))
def test_other_packages_are_imported_through_their_face(module: str) -> None:
    """``from proxy.storage import DiskStore``: what is behind the face can be moved freely."""
    for name, what in _foreign(module):
        face = f"proxy.{_package(name)}"
        assert name == face, f"{name} is behind the face of {face}"
        if _path(face).name == "__init__.py":
            assert what in _names_of_face(face), f"{what} is not in __all__ of {face}"


def _names_of_face(package: str) -> list[str]:
    for node in MODULES[package].body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_face_says_what_the_package_is_for(package: str) -> None:
    module = f"proxy.{package}"
    if _path(module).name == "__init__.py":
        assert ast.get_docstring(MODULES[module])
        assert package == "cli" or _names_of_face(module)


def test_modules_are_in_no_cycle() -> None:
    """What is in a cycle can only be understood, tested and changed as one."""
    graph: dict[str, set[str]] = {}
    for module, tree in MODULES.items():
        used = set()
        for name, what in _imports(tree, inside_functions=False):
            used |= {f"{name}.{what}"} & MODULES.keys() or {name} & MODULES.keys()
        graph[module] = used - {"proxy", module}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_used_only_where_it_has_its_place(library: str) -> None:
    users = {_package(module) for module, names in LIBRARY_USERS.items() if library in names}
    assert users == set(LIBRARIES[library])


@pytest.mark.parametrize("library", SLOW)
def test_a_slow_library_is_imported_inside_functions(library: str) -> None:
    for module, tree in MODULES.items():
        names = {name.split(".")[0] for name, _ in _imports(tree, inside_functions=False)}
        assert library not in names, module


def test_settings_are_read_where_things_are_composed() -> None:
    readers = {
        _package(module)
        for module, imports in IMPORTS.items()
        if any(name.startswith("proxy.config") for name, _ in imports)
    }
    assert readers <= READS_SETTINGS


def test_the_environment_is_read_where_settings_come_in() -> None:
    readers = set()
    for module, tree in MODULES.items():
        used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        if used & {"environ", "getenv", "environb"}:
            readers.add(_package(module))
    assert readers <= READS_ENVIRONMENT


def test_a_file_is_a_topic() -> None:
    lines = {module: len(_path(module).read_text().splitlines()) for module in MODULES}
    importers = Counter(
        chain.from_iterable(_imported_modules(imports) for imports in IMPORTS.values())
    )
    large = {module for module, count in lines.items() if count > LARGEST_FILE}
    small = {
        module
        for module, count in lines.items()
        if count < SMALLEST_FILE
        and module not in CONTRACTS
        and _path(module).name != "__init__.py"
        and importers[module] < 3
    }
    assert (large, small) == (set(), set())
    assert 100 <= median(lines.values()) <= 200


def _imported_modules(imports: set[tuple[str, str]]) -> set[str]:
    """A name that comes through a face counts for the module that defines the name."""
    found = set()
    for name, what in imports:
        tree = MODULES.get(name)
        found.add(name)
        if tree is not None and _path(name).name == "__init__.py":
            found |= {module for module, each in _imports(tree) if each == what}
    return found


def test_every_third_party_import_is_a_dependency() -> None:
    """An installation without the tools of tests works."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {
        name: each for name, each in project["optional-dependencies"].items() if name != "test"
    }
    declared = " ".join([*project["dependencies"], *chain(*groups.values())]).lower()
    distribution = {"yarl": "aiohttp", "multidict": "aiohttp", "bs4": "beautifulsoup4"}
    distribution["markupsafe"] = "jinja2"
    distribution["cel"] = "common_expression_language"
    used = set().union(*LIBRARY_USERS.values())
    newer = {"compression"}  # of the standard library since Python 3.14
    foreign = used - set(sys.stdlib_module_names) - newer - {"proxy"}
    wanted = {distribution.get(each, each) for each in foreign}
    assert {each for each in wanted if each not in declared.replace("-", "_")} == set()
