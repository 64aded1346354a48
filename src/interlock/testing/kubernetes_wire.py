"""Leases as newer clients send them to the Kubernetes API: protocol buffers instead of JSON. Pure.

Terraform 1.15 and OpenTofu 1.12 do so, Terraform 1.11 does not; Secrets come as JSON from all of them, and each client
takes JSON for an answer. Source: generated.proto of k8s.io/api/coordination/v1 and k8s.io/apimachinery.
"""

from __future__ import annotations

from typing import Any

from interlock.run.planned_for import read_message

_ENVELOPE = b"k8s\0"  # before a message that says its kind and has the object in a field
_RAW = 2
_METADATA, _SPEC = 1, 2
_TEXTS = {1: "name", 3: "namespace", 5: "uid", 6: "resourceVersion"}
_MAPS = {11: "labels", 12: "annotations"}
_HOLDER = 1


def is_packed(body: bytes) -> bool:
    """Say whether a body came as protocol buffers."""
    return body.startswith(_ENVELOPE)


def read_lease(body: bytes) -> dict[str, Any]:
    """Return a Lease as JSON has it: names, labels, annotations, version and holder.

    Raises:
        ValueError: The bytes are not a message.
    """
    lease = _fields(_fields(body.removeprefix(_ENVELOPE)).get(_RAW, b""))
    spec = _fields(lease.get(_SPEC, b""))
    held = {"holderIdentity": spec[_HOLDER].decode()} if _HOLDER in spec else {}
    return {"metadata": _metadata(lease.get(_METADATA, b"")), "spec": held}


def _metadata(content: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, value in read_message(content):
        if number in _TEXTS and value:
            found[_TEXTS[number]] = value.decode()
        elif number in _MAPS:
            entry = _fields(value)
            found.setdefault(_MAPS[number], {})[entry.get(1, b"").decode()] = entry.get(2, b"").decode()
    return found


def _fields(content: bytes) -> dict[int, bytes]:
    return dict(read_message(content))
