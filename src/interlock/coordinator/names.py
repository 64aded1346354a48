"""Names of states, and the keys under which their records are kept."""

from __future__ import annotations

import re

from interlock.errors import UsageError

STATE_NAME_MAX = 200
"""Characters in a state name. It is also part of URLs, file names and S3 keys."""

_PREFIX = "state/"
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z", re.ASCII)


def check_state_name(name: str) -> str:
    """Return the name of a state, such as `prod/routing`.

    Segments between slashes consist of letters, digits, `.`, `_` and `-`, and begin with a letter or digit; so no
    segment is empty, `.` or `..`.

    Raises:
        UsageError: The name is none.
    """
    if len(name) <= STATE_NAME_MAX and all(_SEGMENT.match(segment) for segment in name.split("/")):
        return name
    raise UsageError(
        f"{name[:STATE_NAME_MAX]!a} is not a state name",
        why=f"it is longer than {STATE_NAME_MAX} characters" if len(name) > STATE_NAME_MAX else "",
        fix="use letters, digits, '.', '_', '-', in parts between '/' that begin with a letter or digit: prod/routing",
    )


def key_of(state: str) -> str:
    """Return the key of a state's record. Raises as `check_state_name`."""
    return _PREFIX + check_state_name(state)


def key_prefix(prefix: str = "") -> str:
    """Return the prefix of the keys of all states whose name begins with `prefix`."""
    return _PREFIX + prefix


def state_of(key: str) -> str:
    """Return the state whose record has this key."""
    return key.removeprefix(_PREFIX)
