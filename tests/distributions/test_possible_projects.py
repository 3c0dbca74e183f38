"""The projects to which a file in a private directory could belong."""

from __future__ import annotations

import pytest

from proxy.distributions.possible_projects import possible_projects, possible_projects_of_folder

ACME = ["acme-tool"]


@pytest.mark.parametrize(
    ("filename", "projects"),
    [
        ("acme_tool-1.0-py3-none-any.whl", ACME),
        ("acme_tool-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", ACME),
        ("acme_tool-v1.0.tar.bz2", ACME),
        ("acme_tool-1.0.whl", ACME),
        ("acme_tool-py3-none-any.whl", ACME),
        ("acme_tool-1.0.tar (1).gz", ACME),
        ("acme_tool-1.0+local.1-py3-none-any.whl.asc", ACME),
        ("acme tool-1.0.zip", ACME),
        ("._acme_tool-1.0.zip", ACME),
        ("acm\u00e9_tool-1.0.zip", ACME),
        ("acme_tool-1.0-py3.8.egg", ACME),
        ("Acme - 1.0.zip", ["acme"]),
        ("acme_tool_1.0.zip", ["acme-tool-1-0", "acme-tool", "acme-tool-1"]),
        ("acme-tool_1.0_all.deb", ["acme-tool-1-0-all", "acme", "acme-tool", "acme-tool-1"]),
        ("acme-tool-main.zip", ["acme-tool-main", "acme-tool"]),
        ("acme_x-git-12ab-py3-none-any.whl", ["acme-x-git", "acme-x"]),
        ("acme-tool-1.0-1.noarch.rpm", ["acme-tool-1-0", "acme-tool"]),
    ],
)
def test_each_reading_of_a_name_counts(filename: str, projects: list[str]) -> None:
    assert list(possible_projects(filename)) == projects


@pytest.mark.parametrize(
    ("filename", "not_meant"),
    [
        ("flask-internal-1.0.tar.gz", "flask"),
        ("acme-big-tool-1.0-py3-none-any.whl", "acme"),
        ("acme_tool-1.0-py3-none-any.whl", "acme"),
    ],
)
def test_a_file_does_not_claim_each_short_name_that_it_begins_with(
    filename: str, not_meant: str
) -> None:
    assert not_meant not in possible_projects(filename)


@pytest.mark.parametrize(
    "filename",
    ["README.md", "notes.txt", "setup.exe", ".whl", "...whl", "acme.egg-info", "a-1.dist-info"],
)
def test_other_files_mean_no_project(filename: str) -> None:
    assert possible_projects(filename) == ()


@pytest.mark.parametrize(
    ("folder", "projects"),
    [
        ("Acme_Tool", ACME),
        ("acme_tool-1.0", ["acme-tool-1-0", "acme-tool"]),
        ("acme tool", ACME),
        ("acme_tool-1.0.egg", ACME),
        ("---", []),
    ],
)
def test_a_folder_means_its_name_with_and_without_a_version(
    folder: str, projects: list[str]
) -> None:
    assert list(possible_projects_of_folder(folder)) == projects
