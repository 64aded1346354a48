"""Roles, what each may do, and to which states. Pure: the one place where that is decided.

A role holds for the states that a glob names. Each role may do what the one before it may, and more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from types import MappingProxyType

from interlock.errors import UsageError


class Right(Enum):
    """What can be done to a state, or to the server."""

    READ_OUTPUTS = "read-outputs"
    READ_STATE = "read-state"
    PLAN = "plan"
    APPLY = "apply"
    LOCK = "lock"
    FORCE_UNLOCK = "force-unlock"
    RESTORE = "restore"
    APPROVE = "approve"
    FREEZE = "freeze"
    ADMINISTER = "administer"


class Role(Enum):
    """Who somebody is, for some states."""

    READER = "reader"
    PLANNER = "planner"
    RUNNER = "runner"
    OPERATOR = "operator"
    ADMIN = "admin"


_READER = frozenset({Right.READ_OUTPUTS, Right.READ_STATE})
_PLANNER = _READER | {Right.PLAN}
_RUNNER = _PLANNER | {Right.APPLY, Right.LOCK}
_OPERATOR = _RUNNER | {Right.FORCE_UNLOCK, Right.RESTORE, Right.APPROVE, Right.FREEZE}

RIGHTS: Mapping[Role, frozenset[Right]] = MappingProxyType(
    {
        Role.READER: _READER,
        Role.PLANNER: _PLANNER,
        Role.RUNNER: _RUNNER,
        Role.OPERATOR: _OPERATOR,
        Role.ADMIN: _OPERATOR | {Right.ADMINISTER},
    }
)
"""What each role may do."""

EVERY_STATE = "**"
GLOB_MAX = 200
_GLOB = re.compile(r"[A-Za-z0-9*][A-Za-z0-9._*@/-]*\Z", re.ASCII)


def may(role: Role, glob: str, right: Right, state: str) -> bool:
    """Say whether a role over the states of a glob has a right on a state. Whatever is not said is refused."""
    return right in RIGHTS[role] and matches(glob, state)


def least_role(right: Right) -> Role:
    """Return the first role that has a right."""
    return next(role for role in Role if right in RIGHTS[role])


def matches(glob: str, state: str) -> bool:
    """Say whether a glob names a state: `*` stands for anything within a part of the name, `**` also across parts.

    A workspace is part of the last part: `prod/*` names `prod/routing` and `prod/routing@eu`, and not `prod/a/b`.
    """
    return _pattern(glob).fullmatch(state) is not None


def check_glob(glob: str) -> str:
    """Return a glob over names of states.

    Raises:
        UsageError: It can name none.
    """
    if len(glob) <= GLOB_MAX and _GLOB.match(glob) and "***" not in glob:
        return glob
    raise UsageError(
        f"{glob[:GLOB_MAX]!a} names no states",
        why="it is made of the characters of state names, `*` within a part and `**` across parts",
        fix="write prod/*, prod/** or **",
    )


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*|\*)", glob)
    words = {"**": ".*", "*": "[^/]*"}
    return re.compile("".join(words.get(part, re.escape(part)) for part in parts), re.ASCII)
