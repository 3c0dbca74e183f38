"""Descriptions as HTML: markup is rendered, and hostile markup is harmless."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import textwrap
from html.parser import HTMLParser
from pathlib import Path

import pytest

from proxy.presentation import readme_worker as rendering
from proxy.presentation.readme import MAX_README, ReadmeRenderer
from tests.support.fork_server import ROOT

MARKDOWN = "text/markdown"
RST = "text/x-rst"
BAD = {
    *("script", "style", "iframe", "object", "embed", "form", "button", "link", "meta", "base"),
    *("svg", "math", "img", "body", "noscript"),
}
LEADS_ASTRAY = re.compile(r"\s*(javascript|data|//)", re.IGNORECASE).match


async def html(text: str, content_type: str) -> str:
    async with ReadmeRenderer() as readme:
        return await readme.render(text, content_type)


class Tags(HTMLParser):
    """The tags, links and text of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: dict[str, set[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")


async def test_markdown_is_rendered() -> None:
    found = await html("# Foo\n\n*a* `b`\n\n| x | y |\n|---|---|\n| 1 | 2 |\n", MARKDOWN)
    assert {"h3", "em", "code", "table", "td"} <= Tags(found).names


async def test_restructured_text_is_rendered() -> None:
    found = await html("Foo\n===\n\n*a* ``b``\n\n- c\n\n.. code:: python\n\n   x = 1\n", RST)
    assert {"h3", "em", "ul", "li", "pre"} <= Tags(found).names
    assert '<span class="mi">1</span>' in found


async def test_code_is_coloured() -> None:
    found = await html("```python\nimport os\n```\n", MARKDOWN)
    assert '<span class="kn">import</span>' in found


async def test_a_description_without_a_type_is_restructured_text() -> None:
    assert "<em>a</em>" in await html("*a*", "")


async def test_commonmark_differs_from_github_markdown() -> None:
    text = "~~a~~"
    assert "<del>" in await html(text, MARKDOWN)
    assert "<del>" not in await html(text, f"{MARKDOWN}; charset=UTF-8; variant=CommonMark")


@pytest.mark.parametrize(
    ("text", "content_type"),
    [
        ("*a* <b>", "text/plain"),
        ("*a* <b>", "application/x-unknown"),
        ("*a* <b>", "nonsense; ="),
        ("Title\n====\n\n*a* <b>", RST),  # an underline too short is an error
        ("*a* <b>\n\n.. include:: /etc/passwd\n", RST),
        ("*a* <b>\n\n.. raw:: html\n\n   <script>x</script>\n", RST),
        ("*a* <b>\n\n.. csv-table::\n   :file: /etc/passwd\n", RST),
        ("*a* <b>" + "x" * MAX_README, MARKDOWN),
    ],
)
async def test_unrenderable_descriptions_are_shown_as_text(text: str, content_type: str) -> None:
    found = await html(text, content_type)
    assert found.startswith('<pre class="plain">') and found.endswith("</pre>")
    assert "*a* &lt;b&gt;" in found
    assert Tags(found).names == {"pre"}
    assert "root:" not in found


async def test_an_empty_description_is_empty() -> None:
    assert await html(" \n", MARKDOWN) == ""


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<scr<script>ipt>alert(1)</scr</script>ipt>",
        "<img src=x onerror=alert(1)>",
        "<a href='javascript:alert(1)'>x</a> [x](javascript:alert(1)) [x](data:text/html,x)",
        "[x]: JaVaScRiPt:alert(1)\n\n[x]",
        "<iframe src='//evil.example.com'></iframe><object data=x></object><embed src=x>",
        "<form action='//evil.example.com'><input type=text><button>x</button></form>",
        "<style>*{display:none}</style><link rel=stylesheet href=x><meta http-equiv=refresh>",
        "<p style='position:fixed'>x</p><svg onload=alert(1)><math href=javascript:x>",
        "</pre></article></body><script>alert(1)</script>",
        "<base href='//evil.example.com'><!-- <script>x</script> -->",
        '<img alt="&quot;><script>alert(1)</script>" src="x">',
        '<a title="--><script>alert(1)</script>" href="#x">x</a>',
        "<noscript><p title='</noscript><script>alert(1)</script>'>",
        "```html\n<script>alert(1)</script>\n```",
    ],
)
async def test_hostile_markup_is_harmless(text: str) -> None:
    async with ReadmeRenderer() as readme:
        for content_type in (MARKDOWN, RST, "text/plain"):
            found = Tags(await readme.render(text, content_type))
            assert not found.names & BAD
            assert not {name for name in found.attributes if name.startswith("on")}
            assert "style" not in found.attributes
            links = found.attributes.get("href", set()) | found.attributes.get("src", set())
            assert not [link for link in links if LEADS_ASTRAY(link)]


async def test_images_become_their_alternative_text() -> None:
    text = "[![build & <b>](https://ci.example.com/x.svg)](https://ci.example.com/) ![](x.png)"
    found = await html(text, MARKDOWN)
    assert '<span class="picture">build &amp; &lt;b&gt;</span></a>' in found
    assert "x.svg" not in found and "x.png" not in found


async def test_an_image_without_text_becomes_the_end_of_its_address() -> None:
    picture = "https://ci.example.com/a/b/badge.svg?branch=main"
    found = await html(f".. image:: {picture}\n   :target: https://ci.example.com/\n", RST)
    assert '<span class="picture">badge.svg</span>' in found
    assert "branch" not in found


async def test_characters_are_unchanged() -> None:
    found = await html("a &amp; b &lt; c & d < e &#9731; é\n\n`&amp;`", MARKDOWN)
    assert "a &amp; b &lt; c &amp; d &lt; e ☃ é" in found
    assert "<code>&amp;amp;</code>" in found


async def test_rendering_that_takes_too_long_is_stopped_and_the_next_succeeds() -> None:
    async with asyncio.timeout(60), ReadmeRenderer(limit=2.0) as readme:
        assert "<em>" in await readme.render("*a*", MARKDOWN)
        found = await readme.render(">" * 200_000, MARKDOWN)
        assert found.startswith('<pre class="plain">&gt;')
        assert "<em>" in await readme.render("*a*", MARKDOWN)


async def test_a_late_answer_is_not_used_for_the_next_description() -> None:
    async with asyncio.timeout(60), ReadmeRenderer() as readme:
        assert "<em>" in await readme.render("*a*", MARKDOWN)
        task = asyncio.create_task(readme.render("slow\n\n" * 40_000, RST))
        await asyncio.sleep(0)  # it has been written to the process, which is at work on it
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert "<em>next</em>" in await readme.render("*next*", MARKDOWN)


async def test_the_process_has_ended_at_the_end() -> None:
    async with ReadmeRenderer() as readme:
        await readme.render("*a*", MARKDOWN)
        process = readme._process
        assert process and process.returncode is None
    assert process.returncode is not None


def test_without_the_extra_descriptions_are_shown_as_text() -> None:
    """In a Python without the module."""
    script = """
        import asyncio, sys
        sys.modules["readme_renderer"] = None
        from proxy.presentation.readme import ReadmeRenderer, can_render
        async def main():
            async with ReadmeRenderer() as readme:
                print(can_render(), await readme.render("*a* <b>", "text/markdown"))
        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == 'False <pre class="plain">*a* &lt;b&gt;</pre>\n'


def test_the_rendering_process_imports_nothing_of_proxy() -> None:
    """The process is started by its path, as the product may not be importable there."""
    assert rendering.__file__
    source = Path(rendering.__file__).read_text()
    assert "proxy" not in re.findall(r"^(?:from|import) (\w+)", source, re.MULTILINE)
