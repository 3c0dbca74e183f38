"""A table of the kind ``routed``: ordered rules by project name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from proxy import late_pattern
from proxy.config.index_base import IndexTableBase
from proxy.config.values import Table, UserPath
from proxy.policies import EXPRESSION, captured_names, project_pattern

DENY = "deny"
RESERVED = "reserved"
_VARIABLE = late_pattern(r"\{([^{}]*)\}")


class PageTarget(Table):
    """A page that is a file: HTML, or JSON if its name ends in ``.json``."""

    page: UserPath
    """With variables: ``{name}`` is the project, others are captured by the rule's pattern."""

    @field_validator("page")
    @classmethod
    def _check_path(cls, value: UserPath) -> UserPath:
        if ".." in value.parts:
            raise ValueError('is a path with ".."')
        return value

    @property
    def variables(self) -> set[str]:
        return set(_VARIABLE.findall(str(self.page)))


def _kind_of_target(value: object) -> str:
    return "page" if isinstance(value, dict | PageTarget) else "index"


RuleTarget = Annotated[
    Annotated[str, Tag("index")] | Annotated[PageTarget, Tag("page")],
    Discriminator(_kind_of_target),
]


class RuleTable(Table):
    """The index that answers for the projects of these patterns."""

    projects: Annotated[list[str], Field(min_length=1)]
    to: RuleTarget
    """The name of an index, ``deny``, ``reserved``, or a page file."""
    reason: str = ""
    """The reason that a refused client reads."""

    @field_validator("projects")
    @classmethod
    def _check_patterns(cls, value: list[str]) -> list[str]:
        project_pattern(value)
        return value

    @model_validator(mode="after")
    def _check_variables(self) -> Self:
        if isinstance(self.to, PageTarget):
            known = {"name", *captured_names(self.projects)}
            if unknown := sorted(self.to.variables - known):
                raise ValueError(
                    f"has a page with {{{unknown[0]}}}, which its patterns do not capture"
                )
        return self


class RoutedTable(IndexTableBase):
    """The first rule that matches decides; a project without a rule does not exist."""

    kind: Literal["routed"]
    rules: Annotated[list[RuleTable], Field(min_length=1)]
    file_hosts: list[str] = []
    """Of page files, as in a mirror."""
    members_key: ClassVar[str] = "rules"

    @property
    def reserved_patterns(self) -> Sequence[str]:
        """Names and patterns that are kept private, without expressions."""
        rules = (rule for rule in self.rules if rule.to == RESERVED)
        return [each for rule in rules for each in rule.projects if not each.startswith(EXPRESSION)]

    @property
    def members(self) -> Sequence[str]:
        targets = (rule.to for rule in self.rules)
        return [to for to in targets if isinstance(to, str) and to not in (DENY, RESERVED)]
