"""What is below a project: levels, a tree that is opened by its address, a graph."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from proxy.face.need_tree import Branch, NeedTree
from proxy.presentation import need_graph
from tests.support.face_world import FaceWorld
from tests.support.waiting import until

RING = {"a": ["b", "c"], "b": ["c"], "c": ["a", "d"], "d": []}


async def branches(*opened: str) -> Sequence[Branch]:
    async def needs(name: str) -> list[str]:
        return RING[name]

    return await NeedTree(needs, opened).below("a")


def outline(found: Sequence[Branch]) -> str:
    """Each branch with its depth, and ``^`` for one that stands further up."""
    return " ".join(f"{each.depth}{each.name}{'^' * each.is_repeated}" for each in found)


async def test_a_branch_is_opened_by_the_address_and_a_repeated_one_is_marked() -> None:
    assert outline(await branches()) == "0b 0c"
    assert outline(await branches("b")) == "0b 1c 0c^"
    found = await branches("b", "c", "nothing")
    assert outline(found) == "0b 1c 2a^ 2d 0c^"  # a ring has an end
    b, c = found[0], found[1]
    assert b.is_open and b.toggled == "c,nothing" and c.toggled == "b,nothing"
    assert [each.is_leaf for each in found] == [False, False, True, True, True]
    assert (await branches())[1].toggled == "c"


def test_a_graph_has_a_box_for_each_project_and_a_line_for_each_need() -> None:
    levels = [["a"], ["b", "c"], ["<d>"]]
    drawn = str(need_graph("A & B", levels, [("a", "b"), ("a", "c"), ("c", "<d>"), ("<d>", "a")]))
    assert (drawn.count("<rect"), drawn.count("<path")) == (4, 4)
    assert 'role="img"' in drawn and "A &amp; B" in drawn and "&lt;d&gt;" in drawn
    assert "nan" not in drawn and "style=" not in drawn


def test_what_cannot_be_read_as_a_graph_is_not_drawn() -> None:
    names = [f"n{number}" for number in range(15)]
    assert need_graph("x", [["a"], names], [("a", name) for name in names]) is None
    assert need_graph("x", [["a"], names[1:]], [("a", name) for name in names]) is not None
    assert need_graph("x", [["a"]], []) is None
    assert need_graph("x", [["a"], ["b"]], [("a", "a")]) is None


@pytest.mark.asyncio(loop_scope="module")
async def test_the_page_has_levels_sizes_the_tree_and_the_graph(world: FaceWorld) -> None:
    await world.get("/project/demo/")

    async def is_known() -> bool:
        await world.get("/search/?q=demo")
        _, text = await world.get("/project/acme-tool/dependencies/")
        return "demo-base" in text.split('id="below"')[1]

    await until(is_known)
    _, text = await world.get("/project/acme-tool/dependencies/")
    below, tree = text.split('id="below"')[1].split('id="tree"')
    assert "3 projects in 2 levels, at least" in below and 'class="graph"' in below
    assert "nothing of 2 is here" in below  # colorama and demo-base: no page of them was read
    assert 'href="?open=demo#tree-1"' in tree and 'aria-expanded="false"' in tree
    _, text = await world.get("/project/acme-tool/dependencies/?open=demo,<b>")
    tree = text.split('id="tree"')[1].split('id="needed-by"')[0]
    assert 'aria-expanded="true"' in tree and ">demo-base<" in tree and "<b>" not in tree
    assert not re.search(r"\bheld\b", text)
