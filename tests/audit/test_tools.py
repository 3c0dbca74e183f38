"""Facts from the header User-Agent, of real tools and of hostile ones."""

from __future__ import annotations

import pytest

from proxy.audit import Tool
from proxy.audit.tools import tool_of
from tests.support.audits import AGENT

UV = (
    'uv/0.13.1 {"installer":{"name":"uv","version":"0.13.1","subcommand":["pip","install"]},'
    '"python":"3.11.7","implementation":{"name":"CPython","version":"3.11.7"},"distro":null,'
    '"system":{"name":"Darwin","release":"24.1"},"cpu":"arm64","openssl_version":null,"ci":null}'
)


def test_the_facts_of_pip_are_read() -> None:
    assert tool_of(AGENT) == Tool(
        "pip",
        "26.3",
        python="3.12.1",
        implementation="CPython 3.12.1",
        system="Linux 6.1",
        distro="Debian GNU/Linux 12",
        cpu="x86_64",
        ci=True,
        user_data="job https://ci.example.com/7",
    )


def test_the_facts_of_uv_are_read_with_what_it_leaves_out() -> None:
    expected = Tool("uv", "0.13.1", "3.11.7", "CPython 3.11.7", "Darwin 24.1", cpu="arm64", ci=None)
    assert tool_of(UV) == expected


def test_other_tools_have_a_name_and_a_version() -> None:
    assert str(tool_of("poetry/2.1.0 CPython/3.12.1 Linux/6.1")) == "poetry 2.1.0"
    assert str(tool_of("")) == "-"


@pytest.mark.parametrize(
    "hostile",
    [
        "pip/26.3 " + "[" * 10_000,
        'pip/26.3 {"python":' + '{"a":' * 10_000,
        "pip/26.3 {" + "x" * 1_000_000,
        'pip/26.3 {"python": 3}',
        'pip/26.3 {"python":"\\ud800"}',
        "pip/26.3 \udce4{}",
    ],
)
def test_a_header_that_is_no_object_has_a_tool_alone(hostile: str) -> None:
    assert tool_of(hostile) == Tool("pip", "26.3")


def test_values_are_short_and_cannot_end_a_line() -> None:
    data = "\\n\\u001b[31m\\u2028\\u0085" + "x" * 1000
    tool = tool_of(f'pip/26.3 {{"python":"{data}","user_data":"{data}"}}')
    assert tool.python == "??[31m??" + "x" * 56
    assert len(tool.user_data) == 200
    assert tool.user_data.isprintable()
