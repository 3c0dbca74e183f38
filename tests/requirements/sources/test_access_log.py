from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from proxy.model import normalize
from proxy.requirements.model import LoggedRequest, SourceRequirements, UnreadableSource
from proxy.requirements.sources.logged_requests import read_access_log
from proxy.runtime.log_format import JsonFormatter

DIGEST = "a1" * 32
FOO = normalize("foo")


def logged(path: str, **more: object) -> str:
    """A line as our own formatter writes it."""
    record = logging.LogRecord("waystation.access", logging.INFO, "", 0, "request", None, None)
    record.fields = {"method": "GET", "path": path, "status": 200, **more}
    return JsonFormatter().format(record) + "\n"


def read(tmp_path: Path, *lines: str) -> SourceRequirements:
    log = tmp_path / "access.log"
    log.write_text("".join(lines), errors="surrogateescape")
    return read_access_log(log)


@pytest.mark.parametrize(
    ("path", "touched"),
    [
        ("/simple/foo/", LoggedRequest(FOO)),
        ("/simple/foo/?format=x", LoggedRequest(FOO)),
        ("/some/prefix/simple/Foo", LoggedRequest(FOO)),
        (f"/files/foo/{DIGEST}/foo-1.tar.gz", LoggedRequest(FOO, "foo-1.tar.gz", DIGEST)),
        (
            f"/p/files/foo/md5-{'0' * 32}/foo-1.zip",
            LoggedRequest(FOO, "foo-1.zip", f"md5-{'0' * 32}"),
        ),
        ("/files/foo/-/foo-1%2Bl.tar.gz", LoggedRequest(FOO, "foo-1+l.tar.gz")),
        (f"/files/foo/{DIGEST}/f.whl.metadata", LoggedRequest(FOO, "f.whl.metadata", DIGEST)),
    ],
)
def test_pages_and_files_are_found_after_any_prefix(
    path: str, touched: LoggedRequest, tmp_path: Path
) -> None:
    assert read(tmp_path, logged(path)).requests == (touched,)


@pytest.mark.parametrize(
    "line",
    [
        logged("/"),
        logged("/simple/"),
        logged("/health"),
        logged("/simple/a%2Fb/"),
        logged("/files/foo/-/..%2F..%2Fetc"),
        logged("/files/foo/-/%ff"),
        logged("/simple/foo/", status=404),
        logged("/simple/foo/", method="POST"),
        logged("/x")[:-1].replace("/x", "/simple/foo/"),
        '{"message": "listening"}\n',
    ],
)
def test_other_requests_and_a_line_still_being_written_are_passed_over(
    line: str, tmp_path: Path
) -> None:
    assert read(tmp_path, line).requests == ()


def test_each_is_listed_once_in_order(tmp_path: Path) -> None:
    lines = [logged(f"/simple/{name}/") for name in ("b", "a", "b")]
    assert [each.project for each in read(tmp_path, *lines).requests] == ["b", "a"]


def test_lines_of_other_programs_are_noted(tmp_path: Path) -> None:
    wants = read(tmp_path, "starting\n", logged("/simple/foo/"))
    assert wants.requests == (LoggedRequest(FOO),)
    assert wants.notes == (f"{tmp_path}/access.log: 1 line not in JSON form, ignored",)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["plain\n"], "log_format"),
        ([logged("/"), "{broken\n"], "line 2: not a JSON object of the access log"),
        ([json.dumps({"path": 3}) + "\n"], "line 1: not a JSON object"),
        (['{"path": "\udcff"}\n'], "line 1: not a JSON object"),
        (["{" + "x" * 300_000 + "\n"], "line 1: longer than"),
    ],
)
def test_broken_log_is_refused(lines: list[str], problem: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource) as caught:
        read(tmp_path, *lines)
    assert problem in str(caught.value)


def test_missing_log_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource, match="cannot be read"):
        read_access_log(tmp_path / "none")
