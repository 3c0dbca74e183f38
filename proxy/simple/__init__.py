"""The Simple API on the wire (PEP 503, 691, 700): parse, render, negotiate."""

from proxy.simple.negotiate import (
    MediaType,
    accepts_gzip,
    choose_media,
)
from proxy.simple.page import (
    clean_hashes,
    clean_size,
    clean_upload_time,
    clean_yanked,
    drop_refused_hosts,
    gather_extra_files,
    make_page,
    without_extra_files,
)
from proxy.simple.parse_json import is_json, parse_ordinary
from proxy.simple.parse_process import outcome_of, parse_page
from proxy.simple.render import (
    Links,
    absolute_links,
    html_pieces,
    json_pieces,
    page_html,
    page_json,
    projects_html,
    projects_html_pieces,
    projects_json,
    projects_json_pieces,
    relative_links,
)
from proxy.simple.urls import (
    is_loopback,
    last_segment,
    resolve,
)

__all__ = [
    "Links",
    "MediaType",
    "absolute_links",
    "accepts_gzip",
    "choose_media",
    "clean_hashes",
    "clean_size",
    "clean_upload_time",
    "clean_yanked",
    "drop_refused_hosts",
    "gather_extra_files",
    "html_pieces",
    "is_json",
    "is_loopback",
    "json_pieces",
    "last_segment",
    "make_page",
    "outcome_of",
    "page_html",
    "page_json",
    "parse_ordinary",
    "parse_page",
    "projects_html",
    "projects_html_pieces",
    "projects_json",
    "projects_json_pieces",
    "relative_links",
    "resolve",
    "without_extra_files",
]
