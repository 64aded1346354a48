"""Names of states, and the keys under which their records are kept."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from interlock.errors import UsageError
from interlock.late_pattern import late

STATE_NAME_MAX = 200
"""Characters in a state name. It is also part of URLs, file names and S3 keys."""

_PREFIX = "state/"
_PART = "[A-Za-z0-9][A-Za-z0-9._-]*"
_SEGMENT = late(rf"{_PART}\Z", re.ASCII)
_AT = "@"
StateName = Annotated[
    str, Meta(extra_json_schema={"pattern": f"^{_PART}(/{_PART})*(@{_PART})?$", "maxLength": STATE_NAME_MAX})
]
"""The name of a state, as documents describe it; what is one `check_state_name` decides."""
DEFAULT_WORKSPACE = "default"
"""Terraform's workspace of whoever chose none; its state has the root module's own name."""


def check_state_name(name: str) -> str:
    """Return the name of a state, such as `prod/routing`.

    Segments between slashes consist of letters, digits, `.`, `_` and `-`, and begin with a letter or digit; so no
    segment is empty, `.` or `..`. After the last one may stand `@` and a workspace, of the same characters.

    Raises:
        UsageError: The name is none.
    """
    root, at, space = name.partition(_AT)
    segments = [*root.split("/"), *([space] if at else [])]
    if len(name) <= STATE_NAME_MAX and all(map(_SEGMENT.match, segments)) and not (at and space == DEFAULT_WORKSPACE):
        return name
    raise UsageError(
        f"{name[:STATE_NAME_MAX]!a} is not a state name",
        why=f"it is longer than {STATE_NAME_MAX} characters" if len(name) > STATE_NAME_MAX else "",
        fix="use letters, digits, '.', '_', '-', in parts between '/' that begin with a letter or digit: prod/routing",
    )


def root_and_workspace(name: str) -> tuple[str, str]:
    """Return the name of a state without its workspace, and that, `default` where it names none: `prod@eu`."""
    root, _, space = name.partition(_AT)
    return root, space or DEFAULT_WORKSPACE


def in_workspace(name: str, workspace: str) -> str:
    """Return the name of a root module's state in a workspace.

    Args:
        name: Its name without one.
        workspace: Terraform's workspace.

    Raises:
        UsageError: A state cannot be named after it.
    """
    return check_state_name(name if workspace == DEFAULT_WORKSPACE else f"{name}{_AT}{workspace}")


def key_of(state: str) -> str:
    """Return the key of a state's record. Raises as `check_state_name`."""
    return _PREFIX + check_state_name(state)


def key_prefix(prefix: str = "") -> str:
    """Return the prefix of the keys of all states whose name begins with `prefix`."""
    return _PREFIX + prefix


def state_of(key: str) -> str:
    """Return the state whose record has this key."""
    return key.removeprefix(_PREFIX)
