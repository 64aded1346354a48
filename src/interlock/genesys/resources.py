"""Resource types: what one operation costs, their quirks, and the conflicts that reveal an order of work.

Source: data/calls.json, data/resources.json, data/conflicts.json (read from the provider's code).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from interlock.genesys.tables import Meta, load_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """API calls of one operation on one resource without optional parts: a lower bound.

    Attributes:
        create: With the read back that ends it.
        read: One refresh.
        update: With the read back; for types that are never updated, a delete and a create.
        delete: With one poll that finds the object gone.
        known: False when the type is not in the table and the default was used.
    """

    create: int
    read: int
    update: int
    delete: int
    known: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigureCalls:
    """What starting the provider once costs, before the first resource.

    Attributes:
        api: API calls.
        walks_of_an_apply: How often one `terraform apply` configures the provider.
    """

    api: int
    walks_of_an_apply: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForceDelete:
    """The provider deletes this type with a force flag, so the API's in-use protection is off."""

    query: str
    effect: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bypass:
    """A call that no gateway block catches.

    Attributes:
        uses: What makes the call with the token of the login: a type, `data.` and a type, or a type and an argument or
            block of it. Empty for a call that takes no token, or whose address the gateway gives.
        reads: Whether objects of these types are read past the gateway too, not only changed.
        at_run: What becomes of the call in a run with a gateway of its own: `lent` a token, `taken` by the gateway, or
            `free`, since it needs no token; `untried` where nobody has seen it.
        at_server: The same in a run at a server that keeps the OAuth client; `refused` before it is made.
    """

    resource: str
    call: str
    retries: str
    at_run: str
    at_server: str
    uses: tuple[str, ...] = ()
    reads: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """An answer of the API that reveals an order of work.

    Attributes:
        name: Stable name of this row.
        resource: Type that was refused.
        action: `create`, `update` or `delete`.
        statuses: HTTP statuses; empty when the failure is not an HTTP status.
        message_contains: Text in the message; empty when the status is enough.
        other: The type that stands in the way; `*` for any, empty for none.
        provider_retries: What the provider does by itself.
        fix: What a person does.
        evidence: Where this was read.
    """

    name: str
    resource: str
    action: str
    statuses: tuple[int, ...]
    message_contains: str
    other: str
    provider_retries: str
    fix: str
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _CallRow:
    create: int
    read: int
    update: int | None
    delete: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _CallTable:
    meta: Meta
    default: _CallRow
    configure: ConfigureCalls
    types: dict[str, _CallRow]
    slowest: dict[str, dict[str, float | str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _QuirkTable:
    meta: Meta
    force_deleted: dict[str, ForceDelete]
    soft_deleted: dict[str, str]
    no_update: dict[str, str]
    takes_over: dict[str, str]
    blind_drift: dict[str, str]
    version_checked: dict[str, str]
    delete_confirm_wait_s: dict[str, float]
    bypasses_gateway: tuple[Bypass, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _ConflictTable:
    meta: Meta
    conflicts: tuple[Conflict, ...]


@cache
def _calls() -> _CallTable:
    return load_table("calls", _CallTable)


@cache
def _quirks() -> _QuirkTable:
    return load_table("resources", _QuirkTable)


def calls_of(resource_type: str) -> Calls:
    """What one operation on this type costs; the default for a type that is not in the table."""
    table = _calls()
    row = table.types.get(resource_type)
    known = row is not None
    row = row or table.default
    update = row.delete + row.create if row.update is None else row.update
    return Calls(create=row.create, read=row.read, update=update, delete=row.delete, known=known)


def configure_calls() -> ConfigureCalls:
    """What starting the provider costs."""
    return _calls().configure


def slowest_step_s(resource_type: str, action: str) -> float:
    """Seconds that one operation takes at least whatever the API's speed, because the provider sleeps or polls."""
    value = _calls().slowest.get(resource_type, {}).get(action, 0.0)
    return float(value)


def find_force_delete(resource_type: str) -> ForceDelete | None:
    """How the type is force-deleted, or None when the API's in-use protection holds."""
    return _quirks().force_deleted.get(resource_type)


def find_quirks(resource_type: str) -> tuple[str, ...]:
    """Everything unusual about the type, one sentence each."""
    quirks = _quirks()
    tables = (quirks.soft_deleted, quirks.no_update, quirks.takes_over, quirks.blind_drift, quirks.version_checked)
    found = [table[resource_type] for table in tables if resource_type in table]
    forced = find_force_delete(resource_type)
    return (*found, f"{forced.query}: {forced.effect}") if forced else tuple(found)


def gateway_bypasses() -> tuple[Bypass, ...]:
    """Calls that reach Genesys Cloud past any gateway."""
    return _quirks().bypasses_gateway


def token_uses() -> tuple[str, ...]:
    """What a configuration uses that asks Genesys Cloud past any gateway with the token of the login."""
    return tuple(use for each in gateway_bypasses() for use in each.uses)


def types_read_past() -> tuple[str, ...]:
    """Resource types that are read past any gateway too, so that each plan with one asks there."""
    return tuple(use for each in gateway_bypasses() if each.reads for use in each.uses if not use.startswith("data."))


@cache
def conflicts() -> tuple[Conflict, ...]:
    """Answers that reveal an order of work."""
    return load_table("conflicts", _ConflictTable).conflicts


def find_conflict(resource_type: str, *, action: str, status: int, message: str) -> Conflict | None:
    """The known conflict that fits an answer of the API; the row with a message text wins over one without."""
    fitting = [
        row
        for row in conflicts()
        if row.resource == resource_type
        and row.action == action
        and status in row.statuses
        and row.message_contains.lower() in message.lower()
    ]
    return max(fitting, key=lambda row: len(row.message_contains), default=None)
