"""The frame of every page for people."""

from __future__ import annotations

from html import escape

from proxy.export.style import STYLE

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
"""Nothing is run and nothing is fetched, whatever a description smuggles in."""


def document(title: str, site: str, home: str, body: str) -> bytes:
    """The page; ``body`` is HTML, ``home`` the relative address of the start page."""
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n'
        "<head>\n"
        '<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>{STYLE}</style>\n"
        "</head>\n"
        "<body>\n"
        f'<header class="top"><div><a href="{home}">{escape(site)}</a></div></header>\n'
        f"<main>\n{body}</main>\n"
        "<footer>Plain files, made by waystation.</footer>\n"
        "</body>\n"
        "</html>\n"
    ).encode("utf-8", "replace")
