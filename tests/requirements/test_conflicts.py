"""Which requirements are at fault, found out by a resolver that is asked for fewer of them."""

from __future__ import annotations

import pytest

from proxy.requirements.conflicts import MAX_TRIES, find_conflicting
from proxy.requirements.model import ResolverInput
from proxy.requirements.resolver import UvFailed


class Resolver:
    """Fails at some lines, and where all lines of some group come together."""

    def __init__(self, *bad: str, together: tuple[set[str], ...] = ()) -> None:
        self.bad = bad
        self.together = together
        self.asked: list[ResolverInput] = []

    async def __call__(self, asked: ResolverInput) -> None:
        self.asked.append(asked)
        if found := [line for line in asked.lines if line in self.bad]:
            raise UvFailed(f"no {found[0]}")
        if any(group <= {*asked.lines} for group in self.together):
            raise UvFailed("not together")


def requirements(*lines: str) -> ResolverInput:
    return ResolverInput("given", "".join(f"{line}\n" for line in lines))


async def errors_of(
    asked: ResolverInput, resolver: Resolver, *, known: str = "", suspects: str = ""
) -> dict[str, str]:
    found = await find_conflicting(asked, resolver, known.split(), suspects.split())
    return {line: str(error) for line, error in found.items()}


async def test_one_alone_is_at_fault() -> None:
    assert await errors_of(requirements("a"), Resolver("a")) == {"a": "no a"}


async def test_none_is_at_fault_without_those_that_are_known() -> None:
    assert await errors_of(requirements("a", "b"), Resolver("a"), known="a") == {}
    assert await errors_of(requirements("a", "b"), Resolver("a", "b"), known="a") == {"b": "no b"}


async def test_suspects_are_tried_first() -> None:
    names = [f"p{number}" for number in range(500)]
    resolver = Resolver("p3", "p77")
    found = await errors_of(requirements(*names), resolver, suspects="p3 p77")
    assert found == {"p3": "no p3", "p77": "no p3"}
    assert len(resolver.asked) == 3
    found = await errors_of(requirements(*names), Resolver("p3", "p77"), suspects="p3 p90")
    assert found == {"p3": "no p3", "p77": "no p77"}, "others may be at fault instead"


async def test_each_one_is_found_with_its_own_reason() -> None:
    names = [f"p{number}" for number in range(500)]
    resolver = Resolver("p3", "p77", "p499")
    found = await errors_of(requirements(*names), resolver)
    assert found == {"p3": "no p3", "p77": "no p77", "p499": "no p499"}
    assert len(resolver.asked) < MAX_TRIES


async def test_those_that_exclude_each_other_share_their_reason() -> None:
    resolver = Resolver(together=({"c", "d"},))
    assert await errors_of(requirements("a", "b", "c", "d"), resolver) == {
        "c": "not together",
        "d": "not together",
    }
    far = await errors_of(requirements("c", "a", "b", "d"), Resolver(together=({"c", "d"},)))
    assert {"c", "d"} <= far.keys() and set(far.values()) == {"not together"}


async def test_what_is_wrong_beside_another_fault_is_found_too() -> None:
    resolver = Resolver("b", together=({"a", "d"},))
    found = await errors_of(requirements("a", "b", "c", "d"), resolver)
    assert found["b"] == "no b"
    assert {"a", "d"} <= found.keys()


async def test_options_count_for_every_part() -> None:
    resolver = Resolver("b")
    await errors_of(requirements("--no-binary c", "a", "b"), resolver)
    assert {part.text.splitlines()[0] for part in resolver.asked} == {"--no-binary c"}


@pytest.mark.parametrize("count", [MAX_TRIES, 1000])
async def test_the_number_of_resolver_runs_is_bounded(count: int) -> None:
    names = [f"p{number}" for number in range(count)]
    resolver = Resolver(*names)
    assert await errors_of(requirements(*names), resolver)
    assert len(resolver.asked) <= MAX_TRIES
