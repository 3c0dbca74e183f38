"""Policies over a mirror: they judge before anything is fetched, and also what is only stored."""

from __future__ import annotations

import pytest

from proxy.errors import Denied, NoSuchFile
from proxy.events import FileAnswered
from proxy.indexes import Guarded
from proxy.model import File
from proxy.policies import Policy
from tests.support.content import read_blob
from tests.support.judging import policies_of
from tests.support.mirror_site import DEMO, MirrorSite, OpenMirror
from tests.support.policies import Cooldown, FakePolicy, upload_time

WHEEL = "demo-1.0-py3-none-any.whl"
SUFFIXES = ["", ".metadata", ".provenance"]


def refuse_all() -> FakePolicy:
    return FakePolicy(lambda file: True)


async def get(index: Guarded, file: File, suffix: str = "") -> bytes:
    artifact = await index.file(DEMO, file.filename + suffix, file.address_digest)
    return await read_blob(artifact.blob)


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_nothing_of_a_refused_file_is_fetched_or_counted_as_answered(
    site: MirrorSite, suffix: str
) -> None:
    site.add(provenance={})
    async with site.open() as it:
        (file,) = (await it.page()).files
        with pytest.raises(Denied):
            await get(Guarded(it.mirror, [refuse_all()]), file, suffix)
        assert not any(isinstance(event, FileAnswered) for event in it.heard)
    assert site.upstream.count("/files/") == 0


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_a_refused_file_stays_refused_when_it_is_stored(
    site: MirrorSite, suffix: str
) -> None:
    site.add(provenance={})
    async with site.open() as it:
        (file,) = (await it.page()).files
        await it.read(file, suffix)
        await stored(it)
        it.heard.clear()
        with pytest.raises(Denied):
            await get(Guarded(it.mirror, [refuse_all()]), file, suffix)
        assert not any(isinstance(event, FileAnswered) for event in it.heard)


async def stored(it: OpenMirror) -> None:
    """Until all that was fetched is stored and remembered."""
    await it.mirror._siblings.close()
    await it.all_stored()


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_the_siblings_of_an_allowed_wheel_are_served(site: MirrorSite, suffix: str) -> None:
    """Their names and digests match no rule about distributions."""
    wheel = site.add(provenance={})
    async with site.open() as it:
        index = Guarded(it.mirror, [FakePolicy(lambda file: not file.filename.endswith(".whl"))])
        (file,) = (await index.page(DEMO)).files
        expected = {"": wheel.content.read_bytes(), ".metadata": wheel.metadata}
        assert await get(index, file, suffix) == expected.get(suffix, b"{}")


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize("suffix", ["", ".metadata"])
async def test_a_stored_file_that_its_page_no_longer_lists_is_judged(
    site: MirrorSite, suffix: str, offline: bool
) -> None:
    site.add()
    site.add("2.0")
    async with site.open() as it:
        (file, _) = (await it.page()).files
        data = await it.read(file, suffix)
        await stored(it)
        site.upstream.remove(WHEEL)
        site.clock.advance(601)
        await it.page()
    async with site.open(offline=offline) as it:
        allowing = FakePolicy(lambda file: False)
        assert await get(Guarded(it.mirror, [allowing]), file, suffix) == data
        (judged,) = allowing.judged[-1].page.files
        assert (judged.filename, judged.sha256) == (WHEEL, file.sha256)
        for policy in (
            FakePolicy(lambda file: file.filename == WHEEL),
            FakePolicy(lambda judged: judged.sha256 == file.sha256),
        ):
            it.heard.clear()
            with pytest.raises(Denied):
                await get(Guarded(it.mirror, [policy]), file, suffix)
            assert not any(isinstance(event, FileAnswered) for event in it.heard)


async def test_a_file_that_vanished_is_judged_by_its_upload_time(site: MirrorSite) -> None:
    now = site.clock()
    site.add(uploaded=upload_time(now))
    site.add("2.0")
    async with site.open() as it:
        (file, _) = (await it.page()).files
        await it.read(file)
        await stored(it)
        site.upstream.remove(WHEEL)
        site.clock.advance(601)
        await it.page()
        index = Guarded(it.mirror, [Cooldown(1000)], site.clock)
        with pytest.raises(Denied):
            await get(index, file)
        site.clock.advance(400)
        assert await get(index, file)


async def test_other_bytes_under_a_listed_name_are_judged_as_those_that_are_asked_for(
    site: MirrorSite,
) -> None:
    site.add(padding=1)
    async with site.open(on_changed_file="warn") as it:
        (old,) = (await it.page()).files
        data = await it.read(old)
        await stored(it)
        site.add(padding=2)
        site.clock.advance(601)
        (new,) = (await it.page()).files
        assert new.sha256 != old.sha256
        index = Guarded(it.mirror, [FakePolicy(lambda file: file.sha256 == new.sha256)])
        assert await get(index, old) == data
        with pytest.raises(Denied):
            await get(index, new)


async def test_a_file_in_no_index_is_absent(site: MirrorSite) -> None:
    site.add()
    async with site.open() as it:
        index = Guarded(it.mirror, [refuse_all()])
        with pytest.raises(NoSuchFile):
            await index.file(DEMO, "demo-9-py3-none-any.whl", "0" * 64)


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize("suffix", ["", ".metadata"])
async def test_stored_files_that_upstream_dropped_may_be_refused(
    site: MirrorSite, suffix: str, offline: bool
) -> None:
    site.add()
    site.add("2.0")
    async with site.open() as it:
        (file, other) = (await it.page()).files
        await it.read(file, suffix)
        await stored(it)
        site.upstream.remove(WHEEL)
        site.clock.advance(601)
        await it.page()
    async with site.open(offline=offline, vanished_files="refuse") as it:
        with pytest.raises(Denied, match=f"Refused by rule vanished: {WHEEL}"):
            await get(Guarded(it.mirror, []), file, suffix)
        with pytest.raises(Denied, match="of a test"):  # the policies word the reason
            policy = FakePolicy(lambda file: True, reason="of a test")
            await get(Guarded(it.mirror, [policy]), file, suffix)
        if not offline:
            assert await get(Guarded(it.mirror, []), other, suffix)
        with pytest.raises(NoSuchFile):  # not stored, so nothing is known of it
            await it.mirror.file(DEMO, WHEEL, "1" * 64)


def first_seen(**table: object) -> list[Policy]:
    return policies_of({"kind": "cooldown", "age": "600s", "batch": "1s"} | table)


async def test_a_file_without_an_upload_time_waits_from_when_it_was_first_seen(
    site: MirrorSite,
) -> None:
    site.add(uploaded=None)
    settings = {"policies": {"week": {"kind": "cooldown", "age": "1d", "unknown": "first-seen"}}}
    policies = first_seen(unknown="first-seen")
    for elapsed, passes in ((0, False), (599, False), (1, True), (9000, True)):
        site.clock.advance(elapsed)  # each time after a restart
        async with site.open(**settings) as it:
            page = await Guarded(it.mirror, policies, site.clock).page(DEMO)
            assert bool(page.files) is passes
            assert page.not_after == (None if passes else site.clock() + 600 - elapsed)
    site.add(padding=2, uploaded=None)  # other bytes under the name are new
    site.clock.advance(601)
    async with site.open(on_changed_file="accept", **settings) as it:
        assert not (await Guarded(it.mirror, policies, site.clock).page(DEMO)).files


async def test_upload_times_that_are_not_trusted_are_those_of_the_first_sight(
    site: MirrorSite,
) -> None:
    site.add(uploaded=upload_time(0))
    start = site.clock()
    for elapsed, passes in ((0, False), (599, False), (1, True)):
        site.clock.advance(elapsed)
        async with site.open(trust_dates=False) as it:
            (file,) = (await it.page()).files
            assert file.uploaded_at
            assert abs(file.uploaded_at.timestamp() - start) < 0.01
            page = await Guarded(it.mirror, first_seen(), site.clock).page(DEMO)
            assert bool(page.files) is passes


async def test_a_clock_that_is_set_back_takes_nothing_away(site: MirrorSite) -> None:
    site.add(uploaded=upload_time(site.clock()))
    async with site.open() as it:
        index = Guarded(it.mirror, first_seen(), site.clock)
        assert not (await index.page(DEMO)).files
        site.clock.advance(600)
        assert (await index.page(DEMO)).files
        site.clock.advance(-3600)
        assert (await index.page(DEMO)).files


@pytest.mark.parametrize("show", ["hide", "yank"])
async def test_a_yank_during_the_cooldown_shows_after_it(site: MirrorSite, show: str) -> None:
    """A rule that shows files as yanked adds its own reason until the file matures."""
    uploaded = upload_time(site.clock())
    site.add(uploaded=uploaded)
    async with site.open() as it:
        index = Guarded(it.mirror, first_seen(age="700s", show=show), site.clock)

        async def yanks() -> list[str | bool]:
            return [file.yanked for file in (await index.page(DEMO)).files]

        waiting = await yanks()
        assert len(waiting) == (show == "yank")
        site.add(uploaded=uploaded, yanked="broken")
        site.clock.advance(601)
        assert await yanks() == [f"{each} (yanked upstream: broken)" for each in waiting]
        site.clock.advance(100)
        assert await yanks() == ["broken"]
