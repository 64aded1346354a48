"""What a plan does, as one digest: two plans with the same one do the same, from whatever state they were made.

An approval outlives the plan that it was given for when a fresh plan has the same essence. So everything is in it that
decides what an apply does: each change with its values before and after, outputs, actions, variables, the configuration
(provisioners run commands), the locked providers. What only says how the plan came about is not: the serial, the time,
what refresh found, the address of the run's own gateway.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from interlock.errors import UsageError
from interlock.run.plan_archive import opened_plan
from interlock.terraform.plan import ShownPlan

_THROUGH_GATEWAY = "genesyscloud"  # its provider blocks have the gateway of the run; where they lead is compared apart
_LOCK_FILE = ".terraform.lock.hcl"


def essence_of(shown: bytes, plan: bytes, targets: object = None) -> str:
    """Return the essence of a plan, 64 hexadecimal digits.

    Args:
        shown: The plan as `terraform show -json` prints it.
        plan: The plan file.
        targets: Where each provider configuration leads through the gateway, as plain values.

    Raises:
        TerraformFailed: `shown` cannot be read.
    """
    digest = hashlib.sha256(msgspec.json.encode(targets, order="deterministic") + b"\n")
    for part in _parts(ShownPlan(shown)):
        digest.update(msgspec.json.encode(part, order="deterministic") + b"\n")
    digest.update(_providers(plan))
    return digest.hexdigest()


def _parts(plan: ShownPlan) -> Iterator[object]:
    with plan.reading():
        for entry in sorted(plan.each("resource_changes"), key=_place):
            if entry["change"].get("actions") != ["no-op"] or entry["change"].get("importing") is not None:
                yield entry
        for name in ("output_changes", "action_invocations", "deferred_changes", "variables"):
            yield [name, plan.value(name)]
        yield ["configuration", _configuration(plan.value("configuration"))]


def _place(entry: Mapping[str, Any]) -> tuple[str, str]:
    return str(entry.get("address")), str(entry.get("deposed", ""))


def _configuration(told: Any) -> object:
    if not isinstance(told, dict):
        return told
    providers = told.get("provider_config") or {}
    return {**told, "provider_config": {name: _provider(each) for name, each in providers.items()}}


def _provider(told: Any) -> object:
    if isinstance(told, dict) and told.get("name") == _THROUGH_GATEWAY:
        return {name: value for name, value in told.items() if name != "expressions"}
    return told


def _providers(plan: bytes) -> bytes:
    """Return the lock file of a plan; nothing of one that OpenTofu encrypted, whose providers `take_plan` compares."""
    with suppress(UsageError, KeyError), opened_plan(plan) as archive:
        return archive.read(_LOCK_FILE)
    return b""
