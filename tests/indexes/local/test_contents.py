"""What is read of local files before anybody asks."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from proxy.distributions.filenames import parse_filename
from proxy.indexes.local.catalogue import Catalogue
from proxy.indexes.local.folder_tree import DirectoryTree
from proxy.indexes.local.follower import Follower
from proxy.indexes.local.private_page import Contents
from proxy.storage.keys import Key, RecordKind
from tests.support.distributions import core_metadata, tarred
from tests.support.records import CountedRecords


async def test_a_name_is_confirmed_though_its_file_was_read_while_the_directory_was_listed(
    tmp_path: Path,
) -> None:
    content = tarred({"foo-1.0-1/PKG-INFO": core_metadata("foo", "1.0-1")})
    (tmp_path / "foo-1.0-1.tar.gz").write_bytes(content)
    records = CountedRecords()
    catalogue = Catalogue(Key(RecordKind.LOCAL_FILES, "x"), records, time.time)
    unread = DirectoryTree(
        tmp_path, legacy=False, named=lambda place, _: parse_filename(place[1]), clock=time.time
    )
    follower = Follower("private", unread, watch=True, announce=lambda _: None)
    await follower.bring_up_to_date()
    (entry,) = follower.table.all()
    await catalogue.details(entry, unread.opened)
    assert follower.table.claimed() == {"foo-1-0"}
    await Contents("private", follower, catalogue, unread.opened, records).read_pending()
    assert follower.table.claimed() == {"foo"}
    await asyncio.gather(catalogue.close(), follower.close())
