"""Log lines, plain and JSON: no message can add a line."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from proxy.runtime.log_format import JsonFormatter, PlainFormatter, configure_logging

HOSTILE = "x\r\n2026-01-01T00:00:00.000Z info all is well\x1b[31m\u2028\x85\x00\udcff"


def formatted(formatter: logging.Formatter, message: str, **options: Any) -> str:
    fields = options.pop("fields", None)
    record = logging.LogRecord("n", logging.WARNING, "", 0, message, (), options.get("exc"))
    record.created = 1_767_323_045.678
    if fields is not None:
        record.__dict__["fields"] = fields
    return formatter.format(record)


def test_plain_is_time_level_message_and_fields() -> None:
    line = formatted(PlainFormatter(), "request", fields={"path": "/a", "ms": 1.5, "tool": "-"})
    assert line == "2026-01-02T03:04:05.678Z warning request path=/a ms=1.5 tool=-"


def test_a_request_has_its_outcome_first_and_columns() -> None:
    fields = {"client": "::1", "method": "GET", "path": "/simple/six/", "status": 200}
    line = PlainFormatter().request_line(1_767_323_045.678, fields | {"outcome": "hit"})
    assert line == "2026-01-02T03:04:05.678Z hit         200 GET /simple/six/ client=::1"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/files/a/" + "0" * 64 + "/a.whl", "/files/a/000000000000…/a.whl"),
        ("sha512-" + "f" * 128, "sha512-ffffffffffff…"),
        ("a" * 39, "a" * 39),
        ("b" * 40, "bbbbbbbbbbbb…"),
        ("c" * 200, "c" * 200),
    ],
)
def test_digests_are_short_in_plain_and_whole_in_json(text: str, shown: str) -> None:
    for place in ({"fields": {"path": text}}, {}):
        message = "x" if place else text
        assert shown in formatted(PlainFormatter(), message, **place).split("=")[-1]
        assert text in formatted(JsonFormatter(), message, **place)


@pytest.mark.parametrize(
    ("fields", "start"),
    [
        (None, "\x1b[33mwarning\x1b[0m m"),
        ({"outcome": "hit", "status": 200}, "\x1b[32mhit\x1b[0m         200"),
        ({"outcome": "miss", "status": 200}, "\x1b[34mmiss\x1b[0m        200"),
        ({"outcome": "-", "status": 404}, "\x1b[33m-\x1b[0m           404"),
        ({"outcome": "stale", "status": 502}, "\x1b[31mstale\x1b[0m       502"),
        ({"outcome": "-", "status": 200}, "-           200"),
    ],
)
def test_a_terminal_shows_the_first_word_in_colour(
    fields: dict[str, object] | None, start: str
) -> None:
    formatter = PlainFormatter(colour=True)
    if fields is None:
        line = formatted(formatter, "m")
    else:
        line = formatter.request_line(0.0, fields | {"method": "GET", "path": "/"})
    assert line.partition(" ")[2].startswith(start)


def test_json_is_one_object_with_typed_fields() -> None:
    line = formatted(JsonFormatter(), "request", fields={"path": "/a", "ms": 1.5, "status": 200})
    assert json.loads(line) == {
        "time": "2026-01-02T03:04:05.678Z",
        "level": "warning",
        "message": "request",
        "path": "/a",
        "ms": 1.5,
        "status": 200,
    }


def test_the_line_of_a_request_is_the_same_as_that_of_a_record_in_json() -> None:
    fields: dict[str, object] = {"path": "/a", "ms": 1.5, "status": 200}
    record = logging.LogRecord("n", logging.INFO, "", 0, "request", (), None)
    record.created = 1_767_323_045.678
    record.__dict__["fields"] = fields
    formatter = JsonFormatter()
    assert formatter.request_line(record.created, fields) == formatter.format(record)


def test_values_with_blanks_are_quoted_in_plain() -> None:
    line = formatted(PlainFormatter(), "request", fields={"a": "b c=d"})
    assert line.endswith("request a='b c=d'")


@pytest.mark.parametrize("formatter", [PlainFormatter(), JsonFormatter()])
def test_a_message_cannot_add_a_line_to_the_log(formatter: logging.Formatter) -> None:
    line = formatted(formatter, HOSTILE, fields={"path": HOSTILE})
    assert line.isprintable()
    assert len(line.splitlines()) == 1


def test_an_exception_is_below_its_line_and_indented() -> None:
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        caught = (ValueError, error, error.__traceback__)
    first, *rest = formatted(PlainFormatter(), "failed", exc=caught).split("\n")
    assert first.endswith("warning failed")
    assert rest and all(line.startswith("    ") for line in rest)
    assert "\x1b" not in "".join(rest)
    logged = json.loads(formatted(JsonFormatter(), "failed", exc=caught))
    assert "ValueError" in logged["exception"]


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, as it was afterwards."""
    logger, access = logging.getLogger(), logging.getLogger("waystation.access")
    former = logger.handlers[:], logger.level, access.level
    yield logger
    logger.handlers[:], level, access_level = former
    logger.setLevel(level)
    access.setLevel(access_level)


@pytest.mark.parametrize("access", [True, False])
@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_the_line_per_request_has_a_switch_of_its_own(
    root: logging.Logger, level: str, access: bool
) -> None:
    handler = configure_logging("plain", level, access=access)
    handler.setStream(io.StringIO())
    logging.getLogger("waystation.access").info("request")
    logging.getLogger("proxy").warning("trouble")
    text = handler.stream.getvalue()  # type: ignore[attr-defined]
    assert ("info request" in text) == access
    assert ("warning trouble" in text) == (level != "error")
