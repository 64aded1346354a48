"""A plan and its outputs as programs and people may see them: every secret masked, in one order.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from interlock.bounded import decode_json
from interlock.errors import StateInvalid, UsageError
from interlock.run.shown import by_address
from interlock.secrecy import MASK, NO_KNOWN_SECRETS, NO_SECRETS, KnownSecrets, hide_within
from interlock.state.outputs import read_outputs
from interlock.terraform.events import Output
from interlock.terraform.plan import SENSITIVE, PlanDocument


def told_plan(document: PlanDocument, known: KnownSecrets = NO_KNOWN_SECRETS) -> dict[str, object]:
    """Return a plan as plain values: resources and outputs that change, by address and name.

    Args:
        document: The plan; `parse_plan` has masked what it marks.
        known: Further secrets, such as credentials of the environment.
    """
    changed = sorted(document.changed, key=lambda change: by_address(change.address))
    counts = document.counts
    told: dict[str, object] = {
        "counts": msgspec.to_builtins(counts),
        "resources": [_resource(msgspec.to_builtins(change)) for change in changed],
        "outputs": [
            {**msgspec.to_builtins(output), "action": output.action.value}
            for output in document.outputs
            if output.action.value != "noop"
        ],
        "drift": sorted((each.address for each in document.drift if each.mode == "managed"), key=by_address),
        "complete": document.complete,
        "errored": document.errored,
        "terraform_version": document.terraform_version,
    }
    return known.hide_within(told) if known else told  # type: ignore[return-value]


def _resource(change: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in change.items() if value not in ("", None)}


def outputs_of_state(body: bytes | None) -> tuple[Output, ...]:
    """Return the root outputs of a stored state; none of one that cannot be read."""
    try:
        found = read_outputs(body) if body else {}
    except (StateInvalid, UsageError):
        return ()
    return tuple(
        Output(name=name, sensitive=each.sensitive, value="" if each.sensitive else bytes(each.value).decode())
        for name, each in found.items()
    )


def told_outputs(outputs: Iterable[Output], known: KnownSecrets = NO_KNOWN_SECRETS) -> dict[str, object]:
    """Return outputs by name; a secret one, by mark, name or looks, as its mask.

    Args:
        outputs: As Terraform or the state has them.
        known: Further secrets.
    """
    found = {output.name: _output(output) for output in outputs}
    return known.hide_within(found) if known else found  # type: ignore[return-value]


def _output(output: Output) -> object:
    if output.sensitive:
        return SENSITIVE
    value = decode_json(output.value.encode(), type=Any) if output.value else None
    hidden = hide_within(value, NO_SECRETS, names=(output.name,))
    return SENSITIVE if hidden == MASK else hidden
