"""The packages of ``proxy`` and their order: which imports which, and only its face."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
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
    "upstream": VOCABULARY | {"runtime", "storage"},
    # Bytes and records on engines that many machines share. Blobs come as downloads do.
    "scale": {"errors", "model", "runtime", "storage", "upstream"},
    # Who asks, and what that principal may do: header values in, principals out.
    "access": VOCABULARY | {"runtime", "policies", "scale"},
    # Settings are checked values; patterns and platforms are checked by the packages that own them.
    "config": {"errors", "model", "runtime", "advisories", "distributions", "policies", "access"},
    # Facts of single files: read from files, asked of others, kept in records.
    "facts": VOCABULARY | {"runtime", "storage", "distributions", "policies"},
    # An observer of answers, with a database of its own; it could be left out.
    "audit": VOCABULARY | {"runtime", "distributions"},
    # The heart: no HTTP server, no settings, no command line.
    "indexes": VOCABULARY
    | {"runtime", "storage", "distributions", "policies", "simple", "upstream"},
    # What people see; it knows values and texts, no index and no HTTP.
    "presentation": {"errors", "runtime"},
    # The files of a project by version, and documents about them.
    "releases": {"model", "distributions", "simple"},
    # Private packages are files in a directory, or objects; publishing changes these, durably.
    "publish": VOCABULARY | {"runtime", "storage", "scale", "distributions", "indexes"},
    # Changes of published packages, sent to others; it could be left out.
    "webhooks": {"errors", "runtime", "publish"},
    # Folders and other indexes are read as sources; what they offer is published like an upload.
    "migration": {"errors", "model", "runtime", "storage", "distributions", "simple", "indexes"}
    | {"publish"},
    # A static tree reads an index as a client does.
    "export": VOCABULARY
    | {"runtime", "storage", "distributions", "simple", "indexes", "presentation", "releases"},
    # Prefetching requests pages and files from an index as a client does; it could be left out.
    "prefetch": VOCABULARY | {"runtime", "storage", "distributions", "indexes", "upstream"},
    # Reports of what an index would answer, and why; pages and commands show them.
    "explain": VOCABULARY | {"runtime", "distributions", "policies", "indexes", "prefetch"},
    # HTTP in, HTTP out. It knows indexes by their contract, and upstream by header syntax.
    "web": VOCABULARY
    | {"runtime", "distributions", "simple", "upstream", "access", "indexes", "releases"}
    | {"publish", "prefetch", "explain", "presentation"},
    # Pages for people: views of what the indexes answer, and of what the server counts.
    "face": {"errors", "model", "runtime", "distributions", "policies", "simple", "indexes"}
    | {"access", "audit", "events", "storage", "releases", "explain", "presentation", "web"},
    # Spans of requests; it could be left out.
    "tracing": {"errors", "web"},
    # What builds need: a resolver runs against an index that is served to it.
    "requirements": VOCABULARY
    | {"runtime", "distributions", "policies", "simple", "upstream", "indexes", "web"},
    # The one place that names concrete classes.
    "composition": VOCABULARY
    | {"runtime", "storage", "advisories", "policies", "upstream", "access", "config", "facts"}
    | {"scale", "audit", "indexes", "publish", "webhooks", "prefetch"},
    # Products on top of a composed proxy.
    "maintenance": {"errors", "model", "storage", "composition"},
    # What operators ask of a running server, and let it do.
    "administration": VOCABULARY - {"events"} | {"runtime", "composition", "maintenance"},
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
    | {"access", "audit", "explain", "policies", "administration", "publish", "tracing", "facts"}
    | {"migration", "scale"},
    "__main__": {"cli"},
}

LIBRARIES: dict[str, tuple[str, ...]] = {
    # One library for HTTP, on the two sides that speak HTTP.
    "aiohttp": ("upstream", "web", "face", "tracing"),
    "opentelemetry": ("tracing",),
    "yarl": ("upstream",),
    # Tags of unusual form, on pages of servers of all kinds.
    "bs4": ("simple",),
    # The address of PyPI is a composed default.
    "pypi_simple": ("composition",),
    # Small values at rest.
    "diskcache": ("storage",),
    "sqlite3": ("storage", "access", "audit", "publish"),
    # Object stores, and Redis: optional.
    "obstore": ("scale",),
    "redis": ("scale",),
    # Passwords; verified where access is controlled.
    "bcrypt": ("access",),
    "argon2": ("access",),
    # Identity tokens of CI, and directories of users.
    "jwt": ("access",),
    "bonsai": ("access",),
    # Values from outside are checked where they come in, and are plain after that.
    "pydantic_settings": ("config",),
    "pydantic": ("config", "facts", "composition", "warm", "cli"),
    "click": ("cli",),
    "jinja2": ("presentation",),
    "markupsafe": ("presentation",),
    "prometheus_client": ("web",),
    "uvloop": ("cli",),
    "cryptography": ("access", "bundle"),
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
    "argon2",
    "bcrypt",
    "bonsai",
    "jwt",
    "bs4",
    "cel",
    "cvss",
    "obstore",
    "opentelemetry",
    "pypi_attestations",
    "redis",
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
KEY_READERS = {"proxy.scale.redis_records", "proxy.storage.in_memory", "proxy.storage.records"}
"""The stores of records."""
VAGUE_NAMES = {"tell", "told", "settle", "settled"} | {
    *("MOST", "MANY", "AT_ONCE", "LATER", "LONGEST", "KEY", "BUSY", "PAUSE", "BIG", "HUGE"),
}


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


PATHS = {_module(path): path for path in sorted(SOURCE.rglob("*.py"))}


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(PATHS[module].read_text(encoding="utf-8"))


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


@cache
def _all_imports() -> dict[str, set[tuple[str, str]]]:
    return {module: set(_imports(_tree(module))) for module in PATHS}


@cache
def _libraries() -> dict[str, set[str]]:
    return {
        module: {name.split(".")[0] for name, _ in imports}
        for module, imports in _all_imports().items()
    }


@cache
def _early_libraries() -> dict[str, set[str]]:
    """Those that a module imports when it is imported itself."""
    return {
        module: {name.split(".")[0] for name, _ in _imports(_tree(module), inside_functions=False)}
        for module in PATHS
    }


def _foreign(module: str) -> Iterator[tuple[str, str]]:
    """Imports from other packages of ours. The package ``proxy`` itself holds the version."""
    for name, what in _all_imports()[module]:
        if name.startswith("proxy.") and _package(name) != _package(module):
            yield name, what


@pytest.mark.parametrize("package", sorted({_package(module) for module in PATHS} - {""}))
def test_a_package_imports_only_what_its_row_allows(package: str) -> None:
    assert package in PACKAGES, f"{package} has no row in PACKAGES: say what it may import"
    used = {
        _package(name)
        for module in PATHS
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


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_other_packages_are_imported_through_their_face(package: str) -> None:
    """``from proxy.storage import DiskStore``: modules below a face can be moved freely."""
    for module in PATHS:
        for name, what in _foreign(module) if _package(module) == package else ():
            face = f"proxy.{_package(name)}"
            assert name == face, f"{module}: {name} is not the face {face}"
            if PATHS[face].name == "__init__.py":
                assert what in _names_of_face(face), f"{module}: {what} is not in {face}.__all__"


def _names_of_face(package: str) -> list[str]:
    for node in _tree(package).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def test_only_storage_asks_which_store_or_blob_it_has() -> None:
    """An object store can take the place of the disk: what a blob can do, it offers itself."""
    for module in PATHS:
        if _package(module) != "storage":
            asked = {
                ast.unparse(node.args[1])
                for node in ast.walk(_tree(module))
                if isinstance(node, ast.Call)
                and ast.unparse(node.func) in ("isinstance", "hasattr")
            }
            assert not [each for each in asked if "Blob" in each or "Store" in each], module


def test_the_text_of_a_record_key_is_made_in_one_module() -> None:
    """Others name a kind and parts; only a store makes keys of texts, which it has stored."""
    keys = "proxy.storage.keys"
    readers = set()
    for module in PATHS.keys() - {keys}:
        for node in ast.walk(_tree(module)):
            if isinstance(node, ast.Attribute) and node.attr == "parse" and _is_key(node.value):
                readers.add(module)
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("cast", "str.__new__"):
                assert not _is_key(node.args[0]), module
            if isinstance(node, ast.ClassDef):
                assert not any(map(_is_key, node.bases)), module
    assert readers == KEY_READERS


def _is_key(node: ast.AST) -> bool:
    return ast.unparse(node).strip("'") == "Key"


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_face_says_what_the_package_is_for(package: str) -> None:
    module = f"proxy.{package}"
    if PATHS[module].name == "__init__.py":
        assert ast.get_docstring(_tree(module))
        assert package == "cli" or _names_of_face(module)


def test_modules_are_in_no_cycle() -> None:
    """What is in a cycle can only be understood, tested and changed as one."""
    graph: dict[str, set[str]] = {}
    for module in PATHS:
        used = set()
        for name, what in _imports(_tree(module), inside_functions=False):
            used |= {f"{name}.{what}"} & PATHS.keys() or {name} & PATHS.keys()
        graph[module] = used - {"proxy", module}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_a_class_has_a_name_of_its_own() -> None:
    """Type aliases and named tuples count too; names that begin with ``_`` stay in one file."""
    names = Counter(
        name
        for module in PATHS
        for name in _defined(_tree(module))
        if name[0].isupper() and not name.isupper()
    )
    assert [name for name, count in names.items() if count > 1] == []


def _defined(tree: ast.Module) -> Iterator[str]:
    """Names that a module defines at its top."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def test_a_module_has_a_name_of_its_own() -> None:
    """Except for a command, which has the name of what it runs, and for names of each package."""
    of_each_package = {"base", "errors", "__init__", "__main__"}
    names = Counter(path.stem for path in PATHS.values() if path.parent.name != "cli")
    repeated = {name for name, count in names.items() if count > 1}
    assert repeated - of_each_package == set()


def test_helpers_of_tests_and_benchmarks_have_names_of_their_own() -> None:
    for folder in ("tests", "benchmarks"):
        names = Counter(
            name
            for path in (ROOT / folder).rglob("*.py")
            for name in re.findall(r"^class (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        )
        assert [name for name, count in names.items() if count > 1] == []


def test_names_say_what_they_mean() -> None:
    """``from scheduler import PAUSE`` says nothing of what pauses, and a function may report,
    log, format or convert, but not "tell"."""
    helpers = (ROOT / folder for folder in ("tests", "benchmarks"))
    for path in chain(PATHS.values(), *(folder.rglob("*.py") for folder in helpers)):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {name.strip("_") for name in _defined(tree)}
        assert names & VAGUE_NAMES == set(), path


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_used_only_where_it_has_its_place(library: str) -> None:
    users = {_package(module) for module, names in _libraries().items() if library in names}
    assert users == set(LIBRARIES[library])


@pytest.mark.parametrize("library", SLOW)
def test_a_slow_library_is_imported_inside_functions(library: str) -> None:
    assert [module for module, names in _early_libraries().items() if library in names] == []


def test_settings_are_read_where_things_are_composed() -> None:
    readers = {
        _package(module)
        for module, imports in _all_imports().items()
        if any(name.startswith("proxy.config") for name, _ in imports)
    }
    assert readers <= READS_SETTINGS


def test_the_environment_is_read_where_settings_come_in() -> None:
    readers = set()
    for module in PATHS:
        used = {node.attr for node in ast.walk(_tree(module)) if isinstance(node, ast.Attribute)}
        if used & {"environ", "getenv", "environb"}:
            readers.add(_package(module))
    assert readers <= READS_ENVIRONMENT


def test_connections_have_a_tls_context_of_ours() -> None:
    """The default one of aiohttp trusts no authority (``without_authorities``)."""
    needed = {"TCPConnector": "ssl", "LenientConnector": "ssl", "ClientSession": "connector"}
    for module in PATHS:
        for call in ast.walk(_tree(module)):
            if isinstance(call, ast.Call):
                keyword = needed.get(ast.unparse(call.func).rpartition(".")[2])
                assert keyword in {None, *(each.arg for each in call.keywords)}, module


def test_a_file_is_a_topic() -> None:
    lines = {module: len(PATHS[module].read_text().splitlines()) for module in PATHS}
    importers = Counter(
        chain.from_iterable(_imported_modules(imports) for imports in _all_imports().values())
    )
    large = {module for module, count in lines.items() if count > LARGEST_FILE}
    small = {
        module
        for module, count in lines.items()
        if count < SMALLEST_FILE
        and module not in CONTRACTS
        and PATHS[module].name != "__init__.py"
        and importers[module] < 3
    }
    assert (large, small) == (set(), set())
    assert 100 <= median(lines.values()) <= 200


def _imported_modules(imports: set[tuple[str, str]]) -> set[str]:
    """A name that comes through a face counts for the module that defines the name."""
    found = set()
    for name, what in imports:
        found.add(name)
        if name in PATHS and PATHS[name].name == "__init__.py":
            found |= {module for module, each in _imports(_tree(name)) if each == what}
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
    distribution["argon2"] = "argon2_cffi"
    distribution["jwt"] = "pyjwt"
    distribution["opentelemetry"] = "opentelemetry_sdk"
    used = set().union(*_libraries().values())
    newer = {"compression"}  # of the standard library since Python 3.14
    foreign = used - set(sys.stdlib_module_names) - newer - {"proxy"}
    wanted = {distribution.get(each, each) for each in foreign}
    assert {each for each in wanted if each not in declared.replace("-", "_")} == set()
