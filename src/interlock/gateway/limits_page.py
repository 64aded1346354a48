"""What the organisation's own limits API says about tokens.

Source: genesys/data/limits.json, `read_limits_at_run_time`: items have namespace, key and value.
"""

from __future__ import annotations

from interlock.bounded import read_json

PATH = "/api/v2/organizations/limits/namespaces/platform.api"
"""Needs the permission Limits > Organization > View; without it the documented limits stay."""

_KEYS = ("client.credentials.token.rate.per.minute", "token.rate.per.minute")
_DOCUMENT_MAX = 1024 * 1024
_VALUE_MAX = 1_000_000


def read_token_limit(body: bytes) -> int | None:
    """Return the requests a minute of one token; None when the answer does not say."""
    try:
        document = read_json(body[:_DOCUMENT_MAX])
    except ValueError:
        return None
    entities = document.get("entities") if isinstance(document, dict) else document
    items = [item for item in (entities if isinstance(entities, list) else []) if isinstance(item, dict)]
    return min((limit for item in items if (limit := _limit(item)) is not None), default=None)


def _limit(item: dict[str, object]) -> int | None:
    value = item.get("value")
    if item.get("key") not in _KEYS or not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 1 <= value <= _VALUE_MAX else None
