"""What a plan does, in a form that does not change: what checks in CEL are asked about. Pure.

docs/reference/policies.md documents it as a contract: fields may be added, none is renamed or gets another meaning. It
has no attribute values, so no secret of a plan comes to a check.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct, to_builtins

VERSION = 1
OTHER = "other"
ACTIONS = ("create", "update", "replace", "delete", "move", "import", "remove", "read")
"""The words for what happens to a resource; `remove` takes it out of the state and leaves the object. `OTHER` is what a
newer Terraform does."""


class Resource(Struct, frozen=True, kw_only=True):
    """One planned change.

    Attributes:
        address: Of the resource instance.
        type: Such as `genesyscloud_routing_queue`.
        name: In the configuration.
        module: Address of its module; empty in the root module.
        action: One of `ACTIONS`.
        previous: Its address before, where it moves; else empty.
        reason: Why Terraform replaces it, in Terraform's word; else empty.
    """

    address: str
    type: str = ""
    name: str = ""
    module: str = ""
    action: str = ""
    previous: str = ""
    reason: str = ""


class PlanSummary(Struct, frozen=True, kw_only=True):
    """A plan as policies see it.

    Attributes:
        version: Of this form.
        state: The state's name.
        operation: `plan`, `apply` or `destroy`.
        who: Who ordered the run.
        ci: Whether a CI job did.
        counts: Action to how many resources; every action is there.
        types: Resource type to action to how many.
        resources: What changes, no-ops left out, ordered by address.
        destroyed: Addresses of what is deleted or replaced.
        outputs: Names of root outputs that change.
        drift: Addresses that were changed outside of Terraform.
        calls: API calls that the apply needs at least; None where no gateway could tell.
    """

    version: int = VERSION
    state: str
    operation: str
    who: str = ""
    ci: bool = False
    counts: dict[str, int]
    types: dict[str, dict[str, int]]
    resources: tuple[Resource, ...]
    destroyed: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    calls: int | None = None


def summarise(  # noqa: PLR0913 - what a plan is known by
    resources: Iterable[Resource],
    *,
    state: str,
    operation: str,
    who: str = "",
    ci: bool = False,
    outputs: tuple[str, ...] = (),
    drift: tuple[str, ...] = (),
    calls: int | None = None,
) -> PlanSummary:
    """Return the summary of a plan; the arguments are its fields."""
    ordered = tuple(sorted(resources, key=lambda one: one.address))
    types: dict[str, dict[str, int]] = {}
    for one in ordered:
        of_type = types.setdefault(one.type, {})
        of_type[one.action] = of_type.get(one.action, 0) + 1
    return PlanSummary(
        state=state,
        operation=operation,
        who=who,
        ci=ci,
        counts=dict.fromkeys((*ACTIONS, OTHER), 0) | Counter(one.action for one in ordered),
        types=types,
        resources=ordered,
        destroyed=tuple(one.address for one in ordered if one.action in {"delete", "replace"}),
        outputs=tuple(sorted(outputs)),
        drift=tuple(sorted(drift)),
        calls=calls,
    )


def as_plain(summary: PlanSummary) -> dict[str, object]:
    """Return the summary as JSON has it."""
    plain: dict[str, object] = to_builtins(summary)
    return plain
