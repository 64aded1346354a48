"""Roles, what each may do, and to which states. Pure: the one place where that is decided.

A role holds for the states that a glob names. Each role may do what the one before it may, and more.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from interlock.globs import EVERY_STATE, GLOB_MAX, check_glob, matches

__all__ = ["EVERY_STATE", "GLOB_MAX", "RIGHTS", "Right", "Role", "check_glob", "least_role", "matches", "may"]


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
