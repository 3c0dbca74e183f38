"""Pages in JSON, the ordinary and the odd, and that both ways to read them agree."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import UnreadablePage
from proxy.model import File, ProjectStatus
from proxy.simple.file_records import COMPILE_PATTERN_FROM
from tests.support.page_strategies import (
    FILES,
    HEX64,
    METADATA_SHA256,
    SHA256,
    URL,
    WHEEL,
    read_file,
    read_json,
)

SDIST = "holy-grail-1.0.tar.gz"
AS_PYPI = {
    "core-metadata": {"sha256": METADATA_SHA256},
    "data-dist-info-metadata": {"sha256": METADATA_SHA256},
    "filename": WHEEL,
    "hashes": {"sha256": SHA256},
    "provenance": None,
    "requires-python": ">=3.9",
    "size": 1337,
    "upload-time": "2026-10-01T12:30:00.123456Z",
    "url": f"{FILES}/{WHEEL}",
    "yanked": False,
}


def item(filename: str, **keys: Any) -> dict[str, Any]:
    return {"filename": filename, "url": f"{FILES}/{filename}", "hashes": {}} | keys


def names(*files: object, **keys: Any) -> list[str]:
    return [file.filename for file in read_json({"files": list(files), **keys}).files]


def test_a_page_as_pypi_sends_it() -> None:
    page = read_json(
        {
            "alternate-locations": [],
            "files": [AS_PYPI],
            "meta": {"_last-serial": 7, "api-version": "1.4", "tracks": []},
            "name": "holy-grail",
            "project-status": {"status": "active"},
            "versions": ["0.9", "1.0"],
        }
    )
    assert page.files == (
        File(
            WHEEL,
            f"{FILES}/{WHEEL}",
            {"sha256": SHA256},
            1337,
            ">=3.9",
            "2026-10-01T12:30:00.123456Z",
            False,
            {"sha256": METADATA_SHA256},
        ),
    )
    assert page.versions == ("0.9", "1.0")
    assert page.status == ProjectStatus("active")
    assert page.meta == {"_last-serial": 7}
    assert page.extra == {}


ODD = st.sampled_from([None, "", True, False, 0, -1, 3, 1.5, [], {}, "x", {"sha256": "x"}, [1]])
DIGITS = HEX64 | HEX64.map(str.upper) | st.sampled_from(["", "a" * 32, "xyz", "True", "None"])
HASHES = st.one_of(
    st.fixed_dictionaries({"sha256": HEX64}),
    st.fixed_dictionaries({"sha256": DIGITS}),
    st.dictionaries(st.sampled_from(["sha256", "SHA256", "md5", "new"]), DIGITS, max_size=2),
)
FILENAMES = st.sampled_from(
    [WHEEL, SDIST, "Holy.Grail-1.0-py3-none-any.whl", "holy-grail-1.0-1.zip", "holy-grail-1.exe",
     "holy_grail-1-py3-none-any.whl\n", "other-1.0.zip", "", "../x", "holy_grail-\u00e9-a-b-c.whl"]
)  # fmt: skip
URLS = st.sampled_from(
    [f"{FILES}/{WHEEL}", f"{FILES}/{WHEEL}?a=b%2F", f"{FILES}/{WHEEL}#sha256={SHA256}", "x/y.whl",
     "/root.whl", "//h.example.org/a.whl", "https://u:p@h.example.org/a.whl", "ftp://h/a.whl",
     "https://h.example.org\\@evil.example/a", "HTTPS://H.example.org:444/a", "https://[::1]:8/a.whl",
     "", "\n", f"{FILES}/{WHEEL}\n", "https://h.example.org", "https://h.example.org?/a", "http://["]
)  # fmt: skip
TIMES = st.sampled_from(
    ["2026-10-01T12:30:00Z", "2026-10-01T12:30:00.123Z", "2026-02-29T00:00:00Z", "None", "",
     "2026-02-30T00:00:00Z", "2026-12-31T23:59:59.999999Z", "2026-13-01T00:00:00Z", "\n",
     "2026-10-01T24:61:00Z", "2026-10-01T12:30:00", "2026-10-01T12:30:00+02:00",
     "1999-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "2026-W01-1T10:00:00.123456Z",
     "2024-02-29T00:00:00Z"]
)  # fmt: skip
TYPED_FILES = st.fixed_dictionaries(
    {"filename": FILENAMES, "url": URLS, "hashes": HASHES},
    optional={
        "requires-python": st.none() | st.sampled_from(["", ">=3", "&gt;=3"]),
        "core-metadata": st.none() | st.booleans() | HASHES,
        "data-dist-info-metadata": st.none() | st.booleans() | HASHES,
        "size": st.none() | st.sampled_from([0, 1, 2**63 - 1, 2**63, 10**400, -1]),
        "upload-time": st.none() | TIMES,
        "yanked": st.none() | st.booleans() | st.sampled_from(["", "why", "False"]),
        "provenance": st.none() | URLS,
    },
)
PERHAPS_ODD = st.one_of(
    TYPED_FILES,
    TYPED_FILES,
    st.builds(
        lambda file, key, value: {**file, key: value},
        TYPED_FILES,
        st.sampled_from(sorted(AS_PYPI)),
        ODD,
    ),
)


@given(st.lists(TYPED_FILES, max_size=3) | st.lists(PERHAPS_ODD, max_size=3))
def test_the_quick_and_the_thorough_way_agree(files: list[dict[str, Any]]) -> None:
    seen = read_json({"files": files})
    examined = read_json({"files": [*files, {"x-unknown": 1}], "x-unknown": 1, "meta": {}})
    assert msgspec.structs.replace(examined, extra={}) == seen


@given(TYPED_FILES)
def test_a_file_of_well_typed_keys_is_judged_alike_beside_an_odd_one(file: dict[str, Any]) -> None:
    alone = read_json({"files": [file]})
    beside = read_json({"files": [{**file, "x-unknown": 1}]})
    plain = tuple(msgspec.structs.replace(each, extra={}) for each in beside.files)
    assert plain == alone.files


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ([], "JSON of the Simple API"),
        ({}, "JSON of the Simple API"),
        ({"files": None}, "JSON of the Simple API"),
        ({"files": {}}, "JSON of the Simple API"),
        ({"message": "please log in"}, "JSON of the Simple API"),
        ({"files": [], "folders": []}, "JSON of the Simple API"),
        ({"files": [{"id": 1, "filename": "report.pdf"}], "total": 1}, "JSON of the Simple API"),
        ({"files": [], "meta": {"api-version": "2.0"}}, "API version"),
        ({"files": [], "meta": {"api-version": 2}}, "API version"),
        ({"files": [], "meta": {"api-version": "0.9"}}, "API version"),
        ({"files": [], "meta": {"api-version": "1!1"}}, "API version"),
        ({"files": [], "name": "other"}, "another project"),
        ({"files": [], "name": 7}, "another project"),
        ({"files": [], "name": "-"}, "another project"),
    ],
)
def test_what_is_no_page_of_this_project_is_unreadable(page: object, why: str) -> None:
    with pytest.raises(UnreadablePage, match=why):
        read_json(page)


@pytest.mark.parametrize("version", ["1.0", "1.4", "1.99", "1", 1.0, None, "missing", True, []])
def test_any_minor_version_is_read_and_none_is_the_first(version: object) -> None:
    meta = {} if version == "missing" else {"api-version": version}
    assert names(item(SDIST), meta=meta) == [SDIST]
    assert names(item(SDIST), meta=None) == [SDIST]


def test_the_name_may_be_spelled_in_any_way() -> None:
    assert names(item(SDIST), name="Holy._Grail") == [SDIST]


def test_nulls_and_wrong_types_are_as_if_unsaid() -> None:
    bare = File(WHEEL, f"{FILES}/{WHEEL}", {"sha256": SHA256})
    optional = ("requires_python", "core_metadata", "size", "upload_time", "yanked", "provenance")
    wrong: tuple[object, ...] = (None, "", [], {}, 1.5, {"sha256": 1})
    for value in wrong:
        assert read_file(**dict.fromkeys(optional, value)) == bare
    for key in ("requires_python", "upload_time", "provenance", "yanked"):
        assert read_file(**{key: ""}) == bare
    assert read_file(hashes=None).hashes == {}
    assert read_file(size=True).size is None
    assert read_file(size="12").size is None
    assert read_file(size=-1).size is None
    assert read_file(requires_python=3).requires_python is None
    assert read_file(yanked=1).yanked is False
    page = read_json({"files": [], "project-status": None, "versions": None, "meta": None})
    assert page.status is None


def test_yanked_with_and_without_reason() -> None:
    assert read_file(yanked=True).yanked is True
    assert read_file(yanked="why").yanked == "why"
    for value in (False, None, ""):
        assert read_file(yanked=value).yanked is False


def test_hashes_are_kept_if_they_can_be() -> None:
    kept = {"sha512": "a" * 128, "md5": "b" * 32, "sha1": "c" * 40, "tiger192": "abc"}
    bad = {"sha256": "a" * 63, "blake2b": "g" * 64, "new": "not hex", "sha224": None, "sha384": ""}
    assert read_file(hashes={**kept, **bad}).hashes == kept
    assert read_file(hashes={"SHA256": SHA256.upper()}).hashes == {"sha256": SHA256}


@pytest.mark.parametrize(
    "hashes", [{"sha256": "../../x"}, {"md5": "", "sha256": "a" * 63}, {"SHA512": "z" * 128}]
)
def test_a_file_with_only_malformed_digests_is_dropped(hashes: dict[str, str]) -> None:
    assert names(AS_PYPI | {"hashes": hashes}, item(SDIST)) == [SDIST]


def test_metadata_has_three_names_and_the_standard_one_wins() -> None:
    theirs, ours = {"sha256": SHA256}, {"sha256": METADATA_SHA256}
    assert read_file(core_metadata=ours, dist_info_metadata=theirs).metadata == ours
    assert read_file(dist_info_metadata=ours, data_dist_info_metadata=theirs).metadata == ours
    assert read_file(data_dist_info_metadata=ours).metadata == ours
    assert read_file(core_metadata=False, data_dist_info_metadata=ours).metadata is False
    assert read_file(core_metadata=None, data_dist_info_metadata=ours).metadata == ours
    assert read_file(core_metadata={"sha256": "x"}, dist_info_metadata=True).metadata is True


def test_only_wheels_have_metadata_beside_them() -> None:
    for name in (SDIST, "holy_grail-1.0-py3.9.egg"):
        for hashes in ({}, {"sha256": SHA256}):
            odd = item(name, hashes=hashes, **{"core-metadata": True})
            (file,) = read_json({"files": [odd]}).files
            assert file.metadata is False


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("2026-10-01T12:30:00Z", "2026-10-01T12:30:00Z"),
        ("2026-10-01T12:30:00.123Z", "2026-10-01T12:30:00.123Z"),
        ("2024-02-29T12:30:00Z", "2024-02-29T12:30:00Z"),
        ("2026-10-01T14:30:00+02:00", "2026-10-01T12:30:00Z"),
        ("2026-10-01 12:30:00.5+00:00", "2026-10-01T12:30:00.500000Z"),
        ("2026-10-01T12:30:00", None),
        ("2026-02-29T12:30:00Z", None),
        ("yesterday", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("0001-12-31T00:00:00Z", None),
        ("9999-12-31T23:59:59.999999Z", None),
        (1790000000, None),
    ],
)
def test_upload_times_are_brought_into_the_standard_form(said: object, kept: str | None) -> None:
    file = read_file(upload_time=said)
    assert file.uploaded == kept
    assert kept is None or file.uploaded_at is not None


def test_versions_are_kept_or_derived_from_the_files() -> None:
    files = [item("holy-grail-1.0-1.zip"), item(WHEEL), item(SDIST), item("holy-grail-2004d.zip")]
    assert read_json({"files": files, "versions": ["2004d", "1"]}).versions == ("2004d", "1")
    assert read_json({"files": files, "versions": []}).versions == ()
    for odd in (None, "1.0", {"1.0": 1}, ["1.0", 2]):
        assert read_json({"files": files, "versions": odd}).versions == ("1.0.post1", "1.0")


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        ({"project-status": {"status": "archived"}}, ProjectStatus("archived")),
        (
            {"project-status": {"status": "deprecated", "reason": "old"}},
            ProjectStatus("deprecated", "old"),
        ),
        (
            {"meta": {"project-status": "archived", "project-status-reason": "old"}},
            ProjectStatus("archived", "old"),
        ),
        ({"project-status": {"status": "archived", "reason": 1}}, ProjectStatus("archived")),
        ({"project-status": {"status": "haunted", "reason": "old"}}, None),
        ({"project-status": {"status": ["archived"]}}, None),
        ({"project-status": {}}, None),
        ({"project-status": 1}, None),
    ],
)
def test_the_status_of_the_project(keys: dict[str, Any], status: ProjectStatus | None) -> None:
    page = read_json({"files": [item(SDIST)], **keys})
    assert page.status == status
    assert page.meta == page.extra == {}
    assert len(page.files) == 1


def test_unknown_keys_survive_and_dead_ones_do_not() -> None:
    dead: dict[str, Any] = {
        "tracks": ["https://x.example.org"],
        "gpg-sig": True,
        "namespaces": None,
    }
    dead["alternate-locations"] = []
    page = read_json(
        {
            "files": [{**AS_PYPI, **dead, "x-file": {"deep": [1, None]}}],
            "meta": {**dead, "api-version": "1.1", "_last-serial": "9"},
            "x-page": 2.5,
            **dead,
        }
    )
    assert page.files[0].extra == {"x-file": {"deep": [1, None]}}
    assert page.meta == {"_last-serial": "9"}
    assert page.extra == {"x-page": 2.5}


def test_unknown_values_too_deep_to_be_written_again_are_dropped() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    assert read_json({"files": [], "x": deep, "y": [[1]], "meta": {}}).extra == {"y": [[1]]}


def test_addresses_are_relative_to_where_the_page_was_found() -> None:
    links = {
        f"../../packages/x/{WHEEL}": f"https://index.example.org/packages/x/{WHEEL}",
        f"/whl/{WHEEL}": f"https://index.example.org/whl/{WHEEL}",
        f"//cdn.example.org/{WHEEL}": f"https://cdn.example.org/{WHEEL}",
        f"http://h.example.org:8080/{WHEEL}": f"http://h.example.org:8080/{WHEEL}",
    }
    for link, url in links.items():
        assert read_file(url=link).url == url


def test_addresses_keep_their_spelling() -> None:
    for tail in ("a-1+b%2Bc.whl", "x.whl?X-Sig=a%2Fb%7E~+c&d=%20", "%41%2e.whl"):
        assert read_file(url=f"{FILES}/{tail}").url == f"{FILES}/{tail}"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://files.example.org/x.whl",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:text/html,x",
        "git+https://h.example.org/x.whl",
        "https://good.example.org\\@evil.example/x.whl",
        "http:///x.whl",
        "https://h.example.org",
        "https://evil.example?.good.example.org/x.whl",
        "https://h\n.example.org/x.whl",
        "https://h.example.org/\0x.whl",
        "https://h.example.org:port/x.whl",
        "https://[x]/x.whl",
        "http://[",
        "https://ex\u00e4mple.example.org/x.whl",
        "",
        None,
        7,
    ],
)
def test_files_without_an_address_on_the_web_are_dropped(url: object) -> None:
    assert names({**AS_PYPI, "url": url}, item(SDIST)) == [SDIST]


def test_user_and_password_are_taken_off() -> None:
    assert read_file(url="https://u:p@h.example.org/x.whl").url == "https://h.example.org/x.whl"
    page = {"files": [{"filename": SDIST, "url": SDIST, "hashes": {}}]}
    (file,) = read_json(page, url="https://user:secret@h.example.org/simple/holy-grail/").files
    assert file.url == f"https://h.example.org/simple/holy-grail/{SDIST}"


def test_fragments_are_taken_off() -> None:
    assert read_file(url=f"{FILES}/{WHEEL}#sha256=00").url == f"{FILES}/{WHEEL}"


def test_the_filename_is_the_last_of_the_address_if_unsaid() -> None:
    for name, url in [(None, f"a/{SDIST}?x=/y"), (7, "holy-grail-1.0%2Btar.tar.gz")]:
        (file,) = read_json({"files": [{"filename": name, "url": url}]}).files
        assert file.filename in (SDIST, "holy-grail-1.0+tar.tar.gz")
    assert names({"url": f"{FILES}/%ff"}, {"url": f"{FILES}/"}) == []
    assert names({"url": f"{FILES}/x%252f..%252fholy-grail-1.zip"}) == []


@pytest.mark.parametrize(
    "name",
    ["bbb-1.0-py3-none-any.whl", "holy_grail_x-1.0.zip", "../holy-grail-1.0.zip", "holy-grail",
     ".holy-grail-1.0.zip", "holy-grail-1.0.zip\n", "holy-grail-1.0.zip.", "x" * 300, '"><script>',
     "holy-grail-1.0.zip\nholy-grail-1.1.zip", "\nholy-grail-1.0.zip"]
)  # fmt: skip
@pytest.mark.parametrize("others", [1, 2 * COMPILE_PATTERN_FROM])
def test_files_of_others_and_unsafe_names_are_dropped(name: str, others: int) -> None:
    good = [f"holy-grail-1.{number}.tar.gz" for number in range(others)]
    beside = [{**AS_PYPI, "filename": each} for each in good]
    assert names({**AS_PYPI, "filename": name}, *beside) == good


def test_what_no_client_installs_is_still_listed() -> None:
    legacy = ["holy_grail-1.0-py2.7.egg", "holy-grail-1.0.win32.exe", "holy-grail-2004d.tar.gz"]
    assert names(*(item(name) for name in legacy)) == legacy


def test_one_bad_file_does_not_spoil_the_page() -> None:
    assert names(None, 1, "x", [], {}, {"filename": SDIST}, item(SDIST), {"url": []}) == [SDIST]


def test_a_name_is_listed_once_as_it_came_first() -> None:
    page = read_json({"files": [item(SDIST, size=1), item(SDIST, size=2)]})
    assert [file.size for file in page.files] == [1]
    assert page.file(SDIST) == page.files[0]


def test_provenance_is_an_address_too() -> None:
    url = "https://index.example.org/integrity/x/provenance"
    assert read_file(provenance=url).provenance == url
    assert read_file(provenance="prov").provenance == f"{URL}prov"
    assert read_file(provenance="javascript:x").provenance is None


def test_a_large_page_is_read_whole() -> None:
    files = [item(f"holy_grail-1.{n}-py3-none-any.whl") for n in range(10_000)]
    page = read_json({"files": files})
    assert [file.filename for file in page.files] == [file["filename"] for file in files]
    assert len(json.dumps(page.versions)) > 10_000
