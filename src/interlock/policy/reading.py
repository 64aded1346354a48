"""From settings to policies. A hand: it knows which time zones this machine has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any

import msgspec

from interlock.errors import UsageError, command
from interlock.policy.policy import Layer, Policy


def read_policies(told: Iterable[Mapping[str, Any]]) -> tuple[Policy, ...]:
    """Return the policies that settings have as plain values."""
    return tuple(msgspec.convert(one, Policy) for one in told)


@lru_cache(maxsize=64)
def zone(name: str) -> tzinfo:
    """Return a time zone; see `interlock.policy.windows.Zones`.

    Raises:
        UsageError: This machine does not know it.
    """
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise UsageError(
            f"time zone {name[:60]!r} is not known on this machine",
            why="a policy's window or freeze is in it, so it cannot be said whether changes may begin",
            fix="pip install 'interlock[policy]'",
        ) from error


def checked_policies(policies: Iterable[Policy], *, source: str) -> tuple[Policy, ...]:
    """Return policies that a client sent, once they are such as a file could say.

    A time zone, a time of the day or a pattern that nobody can read would end each request for their states.

    Args:
        policies: As they were sent.
        source: Who sent them, for people.

    Raises:
        UsageError: A value is wrong; see `parse_policies`.
    """
    told = tuple(policies)
    if any(not program.policies.startswith("/") for one in told for program in one.programs):
        raise UsageError(f"{source}: the path of a program's rules is not absolute", why="it is read where a run works")
    document = {"policies": [_as_told(one) for one in told]}
    return parse_policies(document, file=source, layer=Layer.SERVER, again="FILE")


def _as_told(policy: Policy) -> dict[str, Any]:
    """Return a policy as a file says it."""
    plain: dict[str, Any] = msgspec.to_builtins(policy, builtin_types=(datetime,))
    begins_and_ends = {"begin": "from", "end": "to"}
    told = {
        **{name: value for name, value in plain.items() if name not in _SPELLED_OTHERWISE},
        "protected": {"types": plain["protected_types"], "addresses": plain["protected_addresses"]},
        "approval_expires": plain["approval_s"],
        "wait": plain["wait_s"],
    }
    for kind in ("windows", "freezes"):
        told[kind] = [{begins_and_ends.get(name, name): value for name, value in one.items()} for one in plain[kind]]
    return {name: value for name, value in told.items() if value is not None}


_SPELLED_OTHERWISE = frozenset({"layer", "protected_types", "protected_addresses", "approval_s", "wait_s"})


def parse_policies(document: Mapping[str, Any], *, file: str, layer: Layer, again: str = "") -> tuple[Policy, ...]:
    """Return the policies of a document `{"policies": […]}` that is not interlock.yaml.

    Args:
        document: As read.
        file: Where it is from, for people.
        layer: Who says them.
        again: The file that a person gives once more when a value is wrong; empty for `file`.

    Raises:
        UsageError: A value or a key is wrong; the message names the nearest valid key.
    """
    from pathlib import Path

    from pydantic import ValidationError

    from interlock.settings.policies import PoliciesDocument, policy_keys_at
    from interlock.settings.reading import explained

    try:
        parsed = PoliciesDocument.model_validate(document)
    except ValidationError as error:
        raise explained(file, error, policy_keys_at, again=command("policies", "set", again or file)) from None
    base = Path(file).absolute().parent
    return read_policies({**policy.plain(base), "layer": layer.value} for policy in parsed.policies)
