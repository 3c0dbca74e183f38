"""The first rule that matches decides, about everything of a project."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import Denied, IndexUnavailable, NoSuchProject
from proxy.indexes import Index, Route, Routed, deny, reserve
from proxy.model import ProjectName
from proxy.policies import project_pattern
from tests.support.fake_index import FakeIndex

TORCH, NUMPY, ACME, EVIL = map(ProjectName, ("torch", "numpy", "acme-x", "evil"))


def route(pattern: str, target: Any) -> Route:
    return Route(project_pattern([pattern]), target, pattern)


class RuleShop:
    def __init__(self) -> None:
        self.cuda, self.world = FakeIndex("cuda"), FakeIndex("world")
        for index in (self.cuda, self.world):
            for project in (TORCH, NUMPY, ACME, EVIL):
                index.add(project, f"{project}-1.0.tar.gz", index.name.encode())
        self.index: Index = Routed(
            "main",
            [
                route("torch", self.cuda),
                route("evil", deny("main", "see wiki")),
                route("acme-*", reserve),
                route("n*", self.world),
            ],
        )


@pytest.fixture
def shop() -> RuleShop:
    return RuleShop()


async def every_answer(index: Index, project: ProjectName) -> list[Any]:
    name = f"{project}-1.0.tar.gz"
    answers: list[Any] = []
    for ask in (
        lambda: index.page(project),
        lambda: index.file(project, name),
        lambda: index.file(project, name, "0" * 64),
        lambda: index.file(project, f"{name}.metadata"),
        lambda: index.file(project, f"{name}.provenance"),
    ):
        try:
            answers.append(await ask())
        except Exception as error:
            answers.append(error)
    return answers


async def test_a_project_is_asked_of_the_index_of_its_rule_and_of_no_other(
    shop: RuleShop,
) -> None:
    assert (await shop.index.page(TORCH)).source == "cuda"
    assert (await shop.index.page(NUMPY)).source == "world"
    await every_answer(shop.index, TORCH)
    await every_answer(shop.index, NUMPY)
    assert not [each for each in shop.world.asked if "torch" in each]
    assert not [each for each in shop.cuda.asked if "numpy" in each]


async def test_a_denied_project_is_refused_whatever_is_asked_for(shop: RuleShop) -> None:
    for answer in await every_answer(shop.index, EVIL):
        assert isinstance(answer, Denied)
        assert (answer.rule, str(answer)) == ("main", "Refused by rule main: evil: see wiki")


async def test_a_reserved_project_is_absent_and_no_index_is_asked(shop: RuleShop) -> None:
    for answer in await every_answer(shop.index, ACME):
        assert isinstance(answer, NoSuchProject)
    assert shop.world.asked == shop.cuda.asked == []


async def test_without_a_rule_there_is_no_such_project(shop: RuleShop) -> None:
    for answer in await every_answer(shop.index, ProjectName("requests")):
        assert isinstance(answer, NoSuchProject)
    assert shop.world.asked == shop.cuda.asked == []


async def test_later_rules_are_not_tried_if_the_index_lacks_the_project(shop: RuleShop) -> None:
    del shop.cuda.pages[TORCH]
    index = Routed("main", [route("torch", shop.cuda), route("*", shop.world)])
    with pytest.raises(NoSuchProject):
        await index.page(TORCH)
    assert shop.world.asked == []


async def test_an_error_of_the_index_is_the_answer(shop: RuleShop) -> None:
    shop.cuda.error = IndexUnavailable("cuda", "out of order")
    with pytest.raises(IndexUnavailable):
        await shop.index.page(TORCH)


async def test_projects_are_those_that_rules_let_through(shop: RuleShop) -> None:
    assert await shop.index.projects() == {TORCH, NUMPY}
    both = Routed("main", [route("torch", shop.world), route("*", shop.world)])
    assert await both.projects() == {TORCH, NUMPY, ACME, EVIL}


async def test_an_explanation_names_the_rule(shop: RuleShop) -> None:
    found = {
        project: await shop.index.explain(project)
        for project in (TORCH, EVIL, ACME, ProjectName("requests"))
    }
    assert [each.result for each in found.values()] == ["answers", "refused", "absent", "absent"]
    assert [each.steps[0].rule for each in found.values()] == ["torch", "evil", "acme-*", ""]
