from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return AT


def entry(
    address: str,
    before: Any,
    after: Any,
    *,
    actions: tuple[str, ...] = ("update",),
    sensitive: Any = None,
    unknown: Any = None,
) -> dict[str, Any]:
    return {
        "address": address,
        "mode": "managed",
        "type": address.partition(".")[0],
        "name": address.partition(".")[2],
        "change": {
            "actions": list(actions),
            "before": before,
            "after": after,
            "before_sensitive": sensitive or {},
            "after_sensitive": sensitive or {},
            "after_unknown": unknown or {},
        },
    }


@pytest.fixture
def make_entry() -> Callable[..., dict[str, Any]]:
    return entry


@pytest.fixture
def make_plan() -> Callable[..., bytes]:
    """A plan's JSON from drifted and planned entries and the state's resources."""

    def make(
        drift: list[dict[str, Any]], changes: list[dict[str, Any]] | None = None, prior: list[Any] | None = None
    ) -> bytes:
        document = {
            "format_version": "1.2",
            "resource_drift": drift,
            "resource_changes": changes or [],
            "prior_state": {"values": {"root_module": {"resources": prior or []}}},
        }
        return json.dumps(document).encode()

    return make
