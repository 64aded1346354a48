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
_EVERYTHING, _PART = "**", "*"
_STARS = frozenset({_EVERYTHING, _PART})
_GLOB = re.compile(r"[A-Za-z0-9*][A-Za-z0-9._*@/-]*\Z", re.ASCII)


def may(role: Role, glob: str, right: Right, state: str) -> bool:
    """Say whether a role over the states of a glob has a right on a state. Whatever is not said is refused.

    Args:
        role: Who.
        glob: Over which states.
        right: To do what.
        state: On which state, or `EVERY_STATE` for what is about all of them: only a role over all has it.
    """
    # `**` is not a name: whether a glob fits it as one would be a matter of how stars are compared with stars.
    return right in RIGHTS[role] and (glob == EVERY_STATE if state == EVERY_STATE else matches(glob, state))


def least_role(right: Right) -> Role:
    """Return the first role that has a right."""
    return next(role for role in Role if right in RIGHTS[role])


@lru_cache(maxsize=4096)  # each request of a token asks it
def matches(glob: str, state: str) -> bool:
    """Say whether a glob names a state: `*` stands for anything within a part of the name, `**` also across parts.

    A workspace is part of the last part: `prod/*` names `prod/routing` and `prod/routing@eu`, and not `prod/a/b`.
    """
    reached = {0}
    words = _words(glob)
    for character in state:
        reached = {each for at in _beyond(words, reached) for each in _taken(words, at, character)}
    return len(words) in _beyond(words, reached)


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


def _words(glob: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\*\*|.", glob, re.DOTALL))


# All places in the glob at once, in a time that rises with the length of the name: a regular expression made of twenty
# stars tries more ways than there is time, and whoever may ask for a state would hold up the server with its name.
def _beyond(words: tuple[str, ...], reached: set[int]) -> set[int]:
    """Return the places in a glob, with those behind stars that stand for nothing."""
    found = set(reached)
    for at, word in enumerate(words):
        if at in found and word in _STARS:
            found.add(at + 1)
    return found


def _taken(words: tuple[str, ...], at: int, character: str) -> tuple[int, ...]:
    """Return where the next character of a name leads from a place in a glob."""
    word = words[at] if at < len(words) else ""
    if word == character:
        return (at + 1,)
    return (at,) if word == _EVERYTHING or (word == _PART and character != "/") else ()
