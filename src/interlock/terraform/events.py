"""One line of Terraform's `-json` output -> one typed event.

Knows: the machine-readable UI of Terraform and OpenTofu. Knows nothing of processes or files.
A line never fails to become an event: unknown types are `Other`, everything that is not one of Terraform's JSON
objects is `Unparsed` text (Terraform prints boxed plain text for usage errors even with `-json`).
Source: docs/facts/terraform-runs.md#run-14, and runs of Terraform 1.11.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

BY_IDENTITY: Final = "(by its identity)"
"""Stands for the id of an object that an import names by its identity: Terraform 1.12 and later, OpenTofu 1.12."""
MAX_LINE_BYTES: Final = 8 * 1024 * 1024  # outputs and diagnostics may carry documents; a longer line is cut
MAX_TEXT_CHARS: Final = 64 * 1024  # what is kept of a line that is not an event


class Action(Enum):
    """What Terraform plans for, or does to, one resource instance."""

    NOOP = "noop"
    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    MOVE = "move"
    IMPORT = "import"
    REMOVE = "remove"
    """Forgotten: it leaves the state, the object stays."""
    OTHER = "other"
    """A word that this version of Interlock does not know; see the event's `message`."""


class Stage(Enum):
    """How far an operation is."""

    START = "start"
    PROGRESS = "progress"
    COMPLETE = "complete"
    ERRORED = "errored"


class Severity(Enum):
    """How bad a diagnostic is."""

    ERROR = "error"
    WARNING = "warning"


class Resource(Struct, frozen=True, kw_only=True):
    """A resource instance as the events name it; `key` is its index as text, empty without one."""

    address: str
    module: str = ""
    type: str = ""
    name: str = ""
    key: str = ""
    provider: str = ""


class Event(Struct, frozen=True, kw_only=True):
    """What all events have: the sentence for people, and when it was said (None when Terraform gave no time)."""

    message: str = ""
    at: datetime | None = None


class Version(Event, frozen=True, kw_only=True):
    """The first line: which tool speaks, and the version of its JSON output."""

    product: str
    version: str
    ui: str


class Refresh(Event, frozen=True, kw_only=True):
    """One resource is being read (start) or was read (complete)."""

    stage: Stage
    resource: Resource
    id: str = ""


class PlannedChange(Event, frozen=True, kw_only=True):
    """One planned change. `previous` is the address before a move; `importing` the id of an object being imported."""

    resource: Resource
    action: Action
    previous: Resource | None = None
    reason: str = ""
    importing: str = ""


class ResourceDrift(Event, frozen=True, kw_only=True):
    """What the refresh found changed outside Terraform; `delete` means that the object is gone."""

    resource: Resource
    action: Action
    previous: Resource | None = None


class Apply(Event, frozen=True, kw_only=True):
    """One resource operation. On `complete` the id is known, so these events are a journal of what exists."""

    stage: Stage
    resource: Resource
    action: Action
    id: str = ""
    elapsed_s: float = 0.0


class Provision(Event, frozen=True, kw_only=True):
    """One provisioner; `output` is a line that the user's own command printed."""

    stage: Stage
    resource: Resource
    provisioner: str = ""
    output: str = ""


class ChangeSummary(Event, frozen=True, kw_only=True):
    """The counts. `operation` is plan, apply or destroy; after a failed apply there is no such event."""

    operation: str
    add: int = 0
    change: int = 0
    remove: int = 0
    imports: int = 0
    forget: int = 0


class Output(Struct, frozen=True, kw_only=True):
    """One root output; `value` is its JSON text, empty when sensitive or not known yet."""

    name: str
    sensitive: bool
    action: str = ""
    value: str = ""


class Outputs(Event, frozen=True, kw_only=True):
    """The root outputs, of a plan (with actions) or of an apply (with values)."""

    outputs: tuple[Output, ...]


class Diagnostic(Event, frozen=True, kw_only=True):
    """An error or warning. `line` and `column` count from 1; 0 means that no place was given."""

    severity: Severity
    summary: str
    detail: str = ""
    address: str = ""
    file: str = ""
    line: int = 0
    column: int = 0


class StateLock(Event, frozen=True, kw_only=True):
    """Terraform takes (`acquire`) or gives back (`release`) the state lock; said only when it takes over 0.4 s."""

    step: str


class Log(Event, frozen=True, kw_only=True):
    """A sentence without data: `log`, or `init_output` with its message code."""

    code: str = ""


class Other(Event, frozen=True, kw_only=True):
    """A JSON event of a type that we do not know, or whose payload is not as expected."""

    type: str


class Unparsed(Event, frozen=True, kw_only=True):
    """A line that is not an event, in `message` (at most `MAX_TEXT_CHARS` of it; `cut` says that there was more)."""

    cut: bool = False


AnyEvent: TypeAlias = (
    Version
    | Refresh
    | PlannedChange
    | ResourceDrift
    | Apply
    | Provision
    | ChangeSummary
    | Outputs
    | Diagnostic
    | StateLock
    | Log
    | Other
    | Unparsed
)


class _Resource(msgspec.Struct):
    addr: str
    module: str = ""
    resource_type: str = ""
    resource_name: str = ""
    resource_key: str | int | None = None
    implied_provider: str = ""


class _Importing(msgspec.Struct):
    id: str | None = None


class _Change(msgspec.Struct):
    resource: _Resource
    action: str
    previous_resource: _Resource | None = None
    reason: str | None = None
    importing: _Importing | None = None


class _Hook(msgspec.Struct):
    resource: _Resource
    action: str = ""
    id_key: str | None = None
    id_value: str | None = None
    elapsed_seconds: float = 0.0
    provisioner: str = ""
    output: str = ""


class _Summary(msgspec.Struct):
    operation: str
    add: int = 0
    change: int = 0
    remove: int = 0
    imports: int = msgspec.field(default=0, name="import")
    forget: int = 0


class _Output(msgspec.Struct):
    sensitive: bool = False
    action: str = ""
    value: msgspec.Raw = msgspec.Raw()  # kept as bytes: numbers stay exact


class _Place(msgspec.Struct):
    line: int = 0
    column: int = 0


class _Range(msgspec.Struct):
    filename: str = ""
    start: _Place = msgspec.field(default_factory=_Place)


class _Diagnostic(msgspec.Struct):
    severity: Severity
    summary: str
    detail: str = ""
    address: str | None = None
    range: _Range | None = None


class _Header(msgspec.Struct):
    """The fields of every event; a line without `type` or `@message` is not one of Terraform's."""

    type: str
    message: str = msgspec.field(name="@message")
    timestamp: str = msgspec.field(default="", name="@timestamp")


class _Line(_Header):
    terraform: str = ""
    tofu: str = ""
    ui: str = ""
    message_code: str = ""
    change: _Change | None = None
    hook: _Hook | None = None
    changes: _Summary | None = None
    outputs: dict[str, _Output] | None = None
    diagnostic: _Diagnostic | None = None


_LINE = msgspec.json.Decoder(_Line)
_HEADER = msgspec.json.Decoder(_Header)

_APPLY: Final[Mapping[str, Stage]] = {
    "apply_start": Stage.START,
    "apply_progress": Stage.PROGRESS,
    "apply_complete": Stage.COMPLETE,
    "apply_errored": Stage.ERRORED,
}
_PROVISION: Final[Mapping[str, Stage]] = {
    "provision_start": Stage.START,
    "provision_progress": Stage.PROGRESS,
    "provision_complete": Stage.COMPLETE,
    "provision_errored": Stage.ERRORED,
}
_REFRESH: Final[Mapping[str, Stage]] = {"refresh_start": Stage.START, "refresh_complete": Stage.COMPLETE}
_LOCK: Final[Mapping[str, str]] = {"state_lock_acquire": "acquire", "state_lock_release": "release"}


def parse_event(line: bytes | str) -> AnyEvent:
    """Read one line, with or without its line end.

    Args:
        line: What Terraform printed. Longer than `MAX_LINE_BYTES`, it is not read as JSON.

    Returns:
        The event; `Other` for an unknown type or an unexpected payload, `Unparsed` for anything else. Never raises.
    """
    data = line.encode("utf-8", "surrogateescape") if isinstance(line, str) else line
    data = data.strip(b"\r\n")
    if not data.lstrip().startswith(b"{") or len(data) > MAX_LINE_BYTES:
        return _unparsed(data)
    try:
        return _event(_LINE.decode(data))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _header_only(data)


def _unparsed(data: bytes) -> Unparsed:
    text = data[: 4 * MAX_TEXT_CHARS].decode("utf-8", "replace")
    return Unparsed(message=text[:MAX_TEXT_CHARS], cut=len(text) > MAX_TEXT_CHARS or len(data) > 4 * MAX_TEXT_CHARS)


def _header_only(data: bytes) -> Other | Unparsed:
    try:
        header = _HEADER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _unparsed(data)
    return Other(message=header.message, at=_instant(header.timestamp), type=header.type)


def _event(line: _Line) -> AnyEvent:
    at = _instant(line.timestamp)
    if line.change is not None:
        return _change(line, line.change, at)
    if line.hook is not None:
        return _hook(line, line.hook, at)
    if line.diagnostic is not None and line.type == "diagnostic":
        return _diagnostic(line, line.diagnostic, at)
    return _plain(line, at)


def _change(line: _Line, change: _Change, at: datetime | None) -> AnyEvent:
    resource, action = _resource(change.resource), _action(change.action)
    previous = None if change.previous_resource is None else _resource(change.previous_resource)
    if line.type == "resource_drift":
        return ResourceDrift(message=line.message, at=at, resource=resource, action=action, previous=previous)
    if line.type != "planned_change":
        return Other(message=line.message, at=at, type=line.type)
    # No tool tells of a plan to do nothing: OpenTofu has no other word for forgetting an object and making its like.
    is_forgetting = action is Action.NOOP and previous is None and change.importing is None
    return PlannedChange(
        message=line.message,
        at=at,
        resource=resource,
        action=Action.REPLACE if is_forgetting else action,
        previous=previous,
        reason=change.reason or "",
        importing="" if change.importing is None else change.importing.id or BY_IDENTITY,
    )


def _hook(line: _Line, hook: _Hook, at: datetime | None) -> AnyEvent:
    resource, ident = _resource(hook.resource), hook.id_value or ""
    if stage := _APPLY.get(line.type):
        return Apply(
            message=line.message,
            at=at,
            stage=stage,
            resource=resource,
            action=_action(hook.action),
            id=ident,
            elapsed_s=hook.elapsed_seconds,
        )
    if stage := _REFRESH.get(line.type):
        return Refresh(message=line.message, at=at, stage=stage, resource=resource, id=ident)
    if stage := _PROVISION.get(line.type):
        return Provision(
            message=line.message,
            at=at,
            stage=stage,
            resource=resource,
            provisioner=hook.provisioner,
            output=hook.output,
        )
    return Other(message=line.message, at=at, type=line.type)


def _diagnostic(line: _Line, found: _Diagnostic, at: datetime | None) -> Diagnostic:
    place = found.range or _Range()
    return Diagnostic(
        message=line.message,
        at=at,
        severity=found.severity,
        summary=found.summary,
        detail=found.detail,
        address=found.address or "",
        file=place.filename,
        line=place.start.line,
        column=place.start.column,
    )


def _plain(line: _Line, at: datetime | None) -> AnyEvent:
    if line.changes is not None and line.type == "change_summary":
        return _summary(line, line.changes, at)
    if line.outputs is not None and line.type == "outputs":
        return Outputs(message=line.message, at=at, outputs=_outputs(line.outputs))
    if line.type == "version" and (line.tofu or line.terraform):
        product, version = ("tofu", line.tofu) if line.tofu else ("terraform", line.terraform)
        return Version(message=line.message, at=at, product=product, version=version, ui=line.ui)
    if step := _LOCK.get(line.type):
        return StateLock(message=line.message, at=at, step=step)
    if line.type in {"log", "init_output"}:
        return Log(message=line.message, at=at, code=line.message_code)
    return Other(message=line.message, at=at, type=line.type)


def _summary(line: _Line, counts: _Summary, at: datetime | None) -> ChangeSummary:
    return ChangeSummary(
        message=line.message,
        at=at,
        operation=counts.operation,
        add=counts.add,
        change=counts.change,
        remove=counts.remove,
        imports=counts.imports,
        forget=counts.forget,
    )


def _outputs(found: Mapping[str, _Output]) -> tuple[Output, ...]:
    return tuple(
        Output(name=name, sensitive=output.sensitive, action=output.action, value=_value(output))
        for name, output in sorted(found.items())
    )


def _value(output: _Output) -> str:
    return "" if output.sensitive else bytes(output.value).decode("utf-8", "replace")


def _resource(found: _Resource) -> Resource:
    return Resource(
        address=found.addr,
        module=found.module,
        type=found.resource_type,
        name=found.resource_name,
        key="" if found.resource_key is None else str(found.resource_key),
        provider=found.implied_provider,
    )


def _action(word: str) -> Action:
    try:
        return Action(word)
    except ValueError:
        return Action.OTHER


def _instant(text: str) -> datetime | None:
    """Read Terraform's time; some events come with an offset, some with `Z`, and it may be missing."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
