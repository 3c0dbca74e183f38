"""Debian's slapd on loopback, with users and groups."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.pki import Authority
from tests.support.sockets import free_port
from tests.support.waiting import until

SLAPD = shutil.which("slapd", path="/usr/sbin:/usr/bin:/usr/local/sbin")
SCHEMAS = Path("/etc/ldap/schema")
BASE = "dc=example,dc=com"
PEOPLE, GROUPS = f"ou=people,{BASE}", f"ou=groups,{BASE}"
ADMIN, ADMIN_PASSWORD = f"cn=admin,{BASE}", "searcher's password"
_ENTRIES = f"""
dn: {BASE}
objectClass: organization
objectClass: dcObject
o: example
dc: example

dn: {PEOPLE}
objectClass: organizationalUnit
ou: people

dn: {GROUPS}
objectClass: organizationalUnit
ou: groups

dn: uid=alice,{PEOPLE}
objectClass: inetOrgPerson
uid: alice
cn: Alice
sn: A
userPassword: alice's password

dn: uid=b*b (x),{PEOPLE}
objectClass: inetOrgPerson
uid: b*b (x)
cn: Bob
sn: B
userPassword: bob's password

dn: cn=dev,{GROUPS}
objectClass: groupOfNames
cn: dev
member: uid=alice,{PEOPLE}
member: uid=b*b (x),{PEOPLE}

dn: cn=ops,{GROUPS}
objectClass: groupOfNames
cn: ops
member: uid=b*b (x),{PEOPLE}
"""


class Slapd(NamedTuple):
    url: str
    process: asyncio.subprocess.Process


@asynccontextmanager
async def running_slapd(folder: Path, authority: Authority | None = None) -> AsyncIterator[Slapd]:
    """Skips the test where there is no slapd. With an authority, it speaks TLS alone."""
    if SLAPD is None:
        pytest.skip("slapd is not installed")
    data = folder / "slapd"
    data.mkdir()
    certificate, key = authority.issue("127.0.0.1") if authority else ("", "")
    tls = [f"TLSCertificateFile {certificate}", f"TLSCertificateKeyFile {key}"] if authority else []
    config = data / "slapd.conf"
    schemas = [f"include {SCHEMAS}/{each}.schema" for each in ("core", "cosine", "inetorgperson")]
    config.write_text(
        "\n".join(
            [
                *schemas,
                *("modulepath /usr/lib/ldap", "moduleload back_mdb", *tls, "database mdb"),
                *(f'suffix "{BASE}"', f'rootdn "{ADMIN}"', f'rootpw "{ADMIN_PASSWORD}"'),
                *(f"directory {data}", "access to attrs=userPassword by anonymous auth by * none"),
                "access to * by users read by * none",
            ]
        )
        + "\n"
    )
    entries = data / "entries.ldif"
    entries.write_text(_ENTRIES)
    add = await asyncio.create_subprocess_exec(
        Path(SLAPD).with_name("slapadd"), "-f", config, "-l", entries
    )
    assert await add.wait() == 0
    port = free_port()
    url = f"{'ldaps' if authority else 'ldap'}://127.0.0.1:{port}"
    process = await asyncio.create_subprocess_exec(
        SLAPD, "-f", config, "-h", url, "-d", "0", stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await until(lambda: _answers(port))
        yield Slapd(url, process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
