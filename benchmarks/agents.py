"""The request headers of real clients, as they send them. Data only."""

from __future__ import annotations

UV = {
    "Accept-Encoding": "gzip, deflate, zstd",
    "Accept": (
        "application/vnd.pypi.simple.v1+json, "
        "application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
    ),
    "User-Agent": (
        'uv/0.13.9 {"installer":{"name":"uv","version":"0.13.9","subcommand":["pip","install"]},'
        '"python":"3.11.7","implementation":{"name":"CPython","version":"3.11.7"},'
        '"distro":{"name":"Debian GNU/Linux","version":"12","id":"bookworm",'
        '"libc":{"lib":"glibc","version":"2.36"}},"system":{"name":"Linux","release":"6.1.0"},'
        '"cpu":"x86_64","openssl_version":null,"setuptools_version":null,"rustc_version":null,'
        '"ci":null}'
    ),
}
"""Of uv 0.13.9; pages in JSON."""

PIP = {
    "User-Agent": (
        'pip/26.3 {"ci":null,"cpu":"x86_64","distro":{"id":"bookworm","libc":{"lib":"glibc",'
        '"version":"2.36"},"name":"Debian GNU/Linux","version":"12"},"implementation":'
        '{"name":"CPython","version":"3.11.7"},"installer":{"name":"pip","version":"26.3"},'
        '"openssl_version":"OpenSSL 3.0.17 1 Jul 2025","python":"3.11.7",'
        '"setuptools_version":"65.5.0","system":{"name":"Linux","release":"6.1.0"}}'
    ),
    "Accept-Encoding": "gzip, deflate",
    "Accept": (
        "application/vnd.pypi.simple.v1+json, "
        "application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
    ),
    "Connection": "keep-alive",
}
"""Of pip 26.3; pages in JSON."""

OLD_PIP = PIP | {"Accept": "text/html", "User-Agent": PIP["User-Agent"].replace("26.3", "21.3.1")}
"""Of pip 21, which knows HTML only."""

UV_FILE = UV | {"Accept": "*/*", "Accept-Encoding": "identity"}
"""Of uv for wheels and core metadata."""
