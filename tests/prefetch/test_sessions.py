"""What a session knows of one client, and when it ends."""

from __future__ import annotations

from packaging.specifiers import SpecifierSet

from proxy.distributions.core_metadata import RequiredProject
from proxy.events import AnswerServed, Outcome, RequestKind
from proxy.model import ProjectName
from proxy.prefetch.sessions import (
    MAX_PROJECTS,
    MAX_SESSIONS,
    SESSION_GAP,
    Session,
    Sessions,
    Taken,
)
from tests.support.speculating import user_agent

DEMO, FOO, BAR = ProjectName("demo"), ProjectName("foo"), ProjectName("bar")


def asked(client: str = "10.0.0.1", agent: str = "x") -> AnswerServed:
    return AnswerServed(
        client=client,
        user_agent=agent,
        method="GET",
        path="/simple/demo/",
        kind=RequestKind.PAGE,
        project=DEMO,
        status=200,
        outcome=Outcome.MISS,
    )


def need(project: ProjectName, specifier: str = "", *extras: str) -> RequiredProject:
    return RequiredProject(project, SpecifierSet(specifier), frozenset(extras))


def test_a_session_belongs_to_one_address_and_one_tool() -> None:
    sessions = Sessions()
    first = sessions.of(asked(), 0.0)
    assert sessions.of(asked(), 1.0) is first
    assert sessions.of(asked("10.0.0.2"), 1.0) is not first
    assert sessions.of(asked(agent=user_agent()), 1.0).client is not None


def test_a_session_ends_when_it_has_been_quiet() -> None:
    sessions = Sessions()
    early, late = sessions.of(asked("a"), 0.0), sessions.of(asked("b"), 1.0)
    sessions.of(asked("a"), 2.0)
    assert list(sessions.end(SESSION_GAP)) == []
    assert list(sessions.end(SESSION_GAP + 1)) == [late]
    assert list(sessions.end(SESSION_GAP + 2)) == [early]


def test_there_are_only_so_many_sessions() -> None:
    sessions = Sessions()
    for number in range(MAX_SESSIONS + 10):
        sessions.of(asked(str(number)), 0.0)
    assert len(list(sessions.end(1e9))) == MAX_SESSIONS


def test_what_was_asked_for_is_remembered_in_order_and_in_bounds() -> None:
    session = Session(None)
    for project in (FOO, BAR, FOO):
        session.ask(project)
    session.asked[BAR] = "bar-1.0-py3-none-any.whl"
    assert session.taken == [Taken(FOO), Taken(BAR, "bar-1.0-py3-none-any.whl")]
    for number in range(2 * MAX_PROJECTS):
        session.ask(ProjectName(f"p{number}"))
        session.need(DEMO, need(ProjectName(f"p{number}")))
    assert len(session.asked) == MAX_PROJECTS
    assert not session.need(DEMO, need(ProjectName("one-more")))


def test_the_newest_word_of_each_owner_counts() -> None:
    session = Session(None)
    assert session.need(FOO, need(DEMO, "<2"))
    assert not session.need(FOO, need(DEMO, "<2"))
    assert session.need(BAR, need(DEMO, ">1"))
    assert set(session.specifiers(DEMO)) == {SpecifierSet("<2"), SpecifierSet(">1")}
    assert session.need(FOO, need(DEMO, "<3"))
    assert set(session.specifiers(DEMO)) == {SpecifierSet("<3"), SpecifierSet(">1")}


def test_another_extra_makes_known_requirements_unknown() -> None:
    session = Session(None)
    session.need(FOO, need(DEMO))
    session.known[DEMO] = "demo-1.0-py3-none-any.whl"
    assert session.need(BAR, need(DEMO, "", "fast"))
    assert DEMO not in session.known
    assert not session.need(BAR, need(DEMO, "", "fast"))


def test_a_client_is_predictable_until_more_choices_were_wrong_than_right() -> None:
    session = Session(None)
    for number in range(3):
        session.choose(DEMO, "expected")
        session.take(DEMO, "other")
        assert session.predictable == (number < 2)
    for _ in range(4):
        session.choose(DEMO, "expected")
        session.take(DEMO, "expected")
    assert session.predictable


def test_only_the_first_wheel_that_is_taken_says_whether_a_choice_was_right() -> None:
    session = Session(None)
    session.choose(DEMO, "expected")
    for filename in ("expected", "a", "b", "c", "d"):
        session.take(DEMO, filename)
    assert session.predictable
