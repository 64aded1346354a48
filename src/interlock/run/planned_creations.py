"""What a plan is about to make: address, type and name of each object, read from the plan file. Pure.

Terraform's events have addresses and no values, and `terraform show` costs a start of it. The plan file has both.
Source: internal/plans/planproto/planfile.proto in Terraform; OpenTofu has kept the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from interlock.errors import UsageError
from interlock.genesys.creating_calls import name_attribute
from interlock.run.orphans import OF_GENESYS
from interlock.run.plan_archive import opened_plan
from interlock.run.planned_for import decoded_value, read_message
from interlock.terraform.events import Action
from interlock.terraform.plan import PlanFacts

_CHANGES, _ADDRESS, _PROVIDER, _CHANGE = 3, 13, 8, 9  # fields of Plan and of ResourceInstanceChange
_VALUES, _SECRET_PATHS = 2, 4  # of Change: before and after, or after alone; what is sensitive after
_ALIAS = re.compile(r'^provider\[".*"\]\.(?P<alias>\w[\w-]*)$')
_MAKING = frozenset({Action.CREATE, Action.REPLACE})


class PlannedCreation(Struct, frozen=True, kw_only=True):
    """One object that a plan makes.

    Attributes:
        address: Its instance address.
        type: Resource type.
        name: As its type's objects are known by; empty when it has none, or it is not known before.
        alias: Of the provider configuration, in the root module; empty for the default one.
    """

    address: str
    type: str
    name: str = ""
    alias: str = ""


def read_planned_creations(plan: bytes, facts: PlanFacts) -> tuple[PlannedCreation, ...]:
    """Return what a plan makes of Genesys Cloud's types; without names when the file cannot be read.

    Args:
        plan: The plan file.
        facts: What its events said; they have the types and the actions.
    """
    making = {
        change.resource.address: change.resource.type
        for change in facts.changes
        if change.action in _MAKING and change.resource.type.startswith(OF_GENESYS)
    }
    if not making:
        return ()
    try:
        found = {each.address: each for each in _read(plan, making)}
    except UsageError:
        found = {}
    return tuple(found.get(address, PlannedCreation(address=address, type=kind)) for address, kind in making.items())


def _read(plan: bytes, making: dict[str, str]) -> Iterator[PlannedCreation]:
    with opened_plan(plan) as archive:
        for number, raw in read_message(archive.read("tfplan")):
            if number == _CHANGES:
                fields = dict(read_message(raw))
                address = fields.get(_ADDRESS, b"").decode()
                if address in making:
                    yield _planned(address, making[address], fields)


def _planned(address: str, kind: str, fields: dict[int, bytes]) -> PlannedCreation:
    change = list(read_message(fields.get(_CHANGE, b"")))
    values = [value for number, value in change if number == _VALUES]
    secret = b"".join(value for number, value in change if number == _SECRET_PATHS)
    wanted = name_attribute(kind)
    after = decoded_value(values[-1]) if values else None
    name = after.get(wanted) if isinstance(after, dict) and wanted and wanted.encode() not in secret else None
    alias = _ALIAS.match(fields.get(_PROVIDER, b"").decode())
    return PlannedCreation(
        address=address,
        type=kind,
        name=name if isinstance(name, str) and name.isprintable() else "",
        alias=alias["alias"] if alias is not None else "",
    )
