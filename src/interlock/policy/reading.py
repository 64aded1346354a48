"""From settings to policies. A hand: it knows which time zones this machine has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import tzinfo
from functools import lru_cache
from typing import Any

import msgspec

from interlock.errors import UsageError
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


def parse_policies(document: Mapping[str, Any], *, file: str, layer: Layer) -> tuple[Policy, ...]:
    """Return the policies of a document `{"policies": […]}` that is not interlock.yaml.

    Args:
        document: As read.
        file: Where it is from, for people.
        layer: Who says them.

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
        raise explained(file, error, policy_keys_at) from None
    base = Path(file).absolute().parent
    return read_policies({**policy.plain(base), "layer": layer.value} for policy in parsed.policies)
