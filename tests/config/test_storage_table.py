"""The table [storage]: addresses of stores, checked before anything is opened."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.cli.settings import in_force
from proxy.config import load_settings
from proxy.errors import ConfigurationError

GOOD_FILES = (
    *("s3://bucket", "s3://my.bucket-1/a/b", "gs://bucket_1/team", "az://container/prefix/"),
    *("file:/srv/files", "file:///srv/files"),
)
BAD_FILES = (
    *("bucket", "/srv/files", "http://s3.example.com/bucket", "s3:bucket", "s3:///prefix"),
    *(
        "s3://key:secret@bucket",
        "s3://bucket?region=x",
        "s3://bucket#x",
        "s3://B",
        "s3://bucket:90",
    ),
    *("s3://bucket/a//b", "s3://bucket/../x", "s3://bucket/a b", "file:files", "file://host/files"),
    *("file:/srv/../etc", "s3://bucket/a%2Fb", "", "S3://[", "s3://bucket/a\nb"),
)
GOOD_RECORDS = (
    *("redis://localhost", "redis://:secret@redis.example.com:6379/0", "rediss://redis:6380"),
    "redis+sentinel://one:26379,two:26379/main/0",
    "rediss+cluster://user:p%40ss@one:7000,two:7000",
    "redis://[::1]:6379/2",
)
BAD_RECORDS = (
    *("localhost:6379", "http://redis", "redis://", "redis://a,b", "redis://host:port"),
    *("redis://:p@ss@host", "redis://:pa/ss@host", "redis://host?password=x", "sentinel://host"),
)


def load(**values: Any) -> Any:
    return load_settings({"storage": values}).settings.storage


@pytest.mark.parametrize("files", GOOD_FILES)
def test_stores_of_files(files: str) -> None:
    assert load(files=files).files == files


@pytest.mark.parametrize("files", BAD_FILES)
def test_other_addresses_of_files_are_refused(files: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        load(files=files)
    assert error.value.key == "storage.files"
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("records", GOOD_RECORDS)
def test_stores_of_records(records: str) -> None:
    assert load(records=records).records == records


@pytest.mark.parametrize("records", BAD_RECORDS)
def test_other_addresses_of_records_are_refused(records: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        load(records=records)
    assert error.value.key == "storage.records"
    assert "ss@host" not in str(error.value)


def test_what_belongs_to_an_object_store_needs_one() -> None:
    for values in ({"local_cache": "1GB"}, {"redirect": True}):
        with pytest.raises(ConfigurationError, match="without files"):
            load(**values)
        with pytest.raises(ConfigurationError, match="in a folder already"):
            load(files="file:/srv/files", **values)


def test_passwords_are_not_shown() -> None:
    values = {"storage": {"records": "redis://user:secret@redis.example.com:6379"}}
    shown = in_force(load_settings(values).settings)["storage"]
    assert shown["records"] == "redis://***@redis.example.com:6379"
