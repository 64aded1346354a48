"""The name under which an existing state queues: made from its address, so every machine finds the same queue."""

from __future__ import annotations

import hashlib
import re

from interlock.coordinator.names import STATE_NAME_MAX, check_state_name

_FOREIGN = re.compile(r"[^A-Za-z0-9._-]")
_MARK_CHARS = 10  # of the address's digest, when the name alone does not tell two addresses apart


def name_of_address(kind: str, address: str) -> str:
    """Return the state name of a whole address such as `s3://bucket/key`."""
    return name_of(kind, address.partition("://")[2] or address)


def name_of(kind: str, address: str) -> str:
    """Return the state name of an address such as `bucket/env:/prod/app.tfstate`.

    What a state name may not contain is replaced, and then a mark of the whole address is added, so that two addresses
    never share a name.
    """
    plain = f"{kind}/{address}"
    parts = [_FOREIGN.sub("-", part).lstrip("._-") for part in plain.split("/")]
    name = "/".join(part for part in parts if part)
    if name != plain or len(name) > STATE_NAME_MAX:
        mark = hashlib.sha256(address.encode()).hexdigest()[:_MARK_CHARS]
        name = f"{name[: STATE_NAME_MAX - _MARK_CHARS - 1].rstrip('/')}-{mark}"
    return check_state_name(name)
