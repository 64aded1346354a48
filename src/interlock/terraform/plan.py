"""What a plan will do: facts from the event stream, and typed changes from `terraform show -json`.

Source: docs/facts/terraform-runs.md#run-14; runs of Terraform 1.11.4.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from itertools import islice
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from interlock.bounded import OutOfBounds, decode_json, is_deeper
from interlock.errors import PROGRAM, TerraformFailed
from interlock.late_pattern import late
from interlock.secrecy import (
    MIN_COPY_CHARS,
    Secrets,
    all_texts,
    gather_secrets,
    hide_shapes,
    is_named_pair,
    may_look_secret,
    may_name_secrets,
    placed_texts,
    secret_places,
    sounds_secret,
)
from interlock.terraform.events import BY_IDENTITY, Action, ChangeSummary, Event, Outputs, PlannedChange, ResourceDrift

MAX_PLAN_BYTES: Final = 512 * 1024 * 1024  # `show -json` of a plan over a 100 MB state has about four copies of it
MIN_SECRET_CHARS: Final = MIN_COPY_CHARS
MAX_PLAN_VALUES: Final = 8_000_000  # of the JSON: some 1 GB when they are objects; a plan over a 25 MB state has fewer
MAX_PLAN_DEPTH: Final = 200  # the deepest provider schema seen has 12
MAX_ATTRIBUTES: Final = 10_000  # per resource; what is changed beyond it is only counted
MAX_COUNTED: Final = 10_000  # per resource; what is changed beyond both is not looked at
MAX_ALL_ATTRIBUTES: Final = 300_000  # of all resources together: a deep one takes half a millisecond
MAX_PATH_CHARS: Final = 1_000  # of one attribute's path: a deep or oddly named one times 10,000 fills the memory

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

Places: TypeAlias = tuple[tuple[str, ...], ...]
_Json: TypeAlias = bytes | str | msgspec.Raw | None
_NOTHING: Final = (None, msgspec.Raw(b"null"))

SENSITIVE: Final = "(sensitive value)"
UNKNOWN: Final = "(known after apply)"

_DELETES: Final = frozenset({Action.DELETE, Action.REPLACE, Action.REMOVE})
_CHANGES: Final = frozenset({Action.CREATE, Action.UPDATE, Action.IMPORT, Action.MOVE, *_DELETES})
_HIDDEN: Final = hide_shapes("-----BEGIN PRIVATE KEY-----")
_PLAIN_KEY: Final = late(r"[A-Za-z_][A-Za-z0-9_-]*")


class Counts(Struct, frozen=True, kw_only=True):
    """Terraform's own counts: a replacement is one `add` and one `remove`."""

    add: int = 0
    change: int = 0
    remove: int = 0
    imports: int = 0
    forget: int = 0


class PlanFacts(Struct, frozen=True, kw_only=True):
    """What the events of a plan said.

    Attributes:
        changes: Planned changes other than no-ops, in Terraform's order.
        drift: What the refresh found changed outside Terraform.
        counts: None until Terraform gave its summary, that is, while planning or after a failed plan.
        changed_outputs: Names of root outputs that will change.
        may_delete: Managed instance addresses, and objects, which a state written under this plan may lack (promise
            P6); see `judge_deletions`. Data instances are not listed: Terraform drops them without saying so.
        refreshed_out: Those of them that are out of the state already when the apply begins: refresh found them gone,
            or a `moved` block renamed them. Only the plan file says so; empty until it was read.
        refresh_differs: Whether refresh changed any managed object in the state; likewise.
    """

    changes: tuple[PlannedChange, ...] = ()
    drift: tuple[ResourceDrift, ...] = ()
    counts: Counts | None = None
    changed_outputs: tuple[str, ...] = ()
    may_delete: frozenset[str] = frozenset()
    refreshed_out: frozenset[str] = frozenset()
    refresh_differs: bool = False

    @property
    def is_empty(self) -> bool:
        """Nothing would change, resources and outputs alike."""
        return not self.changes and not self.changed_outputs

    @property
    def destroyed(self) -> tuple[str, ...]:
        """Addresses of objects that will be destroyed, replaced ones included, forgotten ones not."""
        doomed = {Action.DELETE, Action.REPLACE}
        return tuple(change.resource.address for change in self.changes if change.action in doomed)


def gather_plan(events: Iterable[Event]) -> PlanFacts:
    """Gather the facts of one plan from its events; events of other kinds are passed over."""
    changes: list[PlannedChange] = []
    drift: list[ResourceDrift] = []
    counts: Counts | None = None
    outputs: dict[str, None] = {}
    for event in events:
        match event:
            case PlannedChange(action=action) if action is not Action.NOOP or event.importing:
                changes.append(event)
            case ResourceDrift():
                drift.append(event)
            case ChangeSummary(operation="plan"):
                counts = _counts(event)
            case Outputs():
                outputs.update((output.name, None) for output in event.outputs if output.action not in {"", "noop"})
            case _:
                pass
    return PlanFacts(
        changes=tuple(changes),
        drift=tuple(drift),
        counts=counts and _with_forgotten(counts, changes),
        changed_outputs=tuple(outputs),
        may_delete=frozenset(_may_delete(changes, drift)),
    )


def _counts(event: ChangeSummary) -> Counts:
    return Counts(add=event.add, change=event.change, remove=event.remove, imports=event.imports, forget=event.forget)


def _with_forgotten(counts: Counts, changes: Iterable[PlannedChange]) -> Counts:
    """Count what leaves the state and stays an object: Terraform's summary does not, OpenTofu's does."""
    removed = sum(change.action is Action.REMOVE for change in changes)
    return msgspec.structs.replace(counts, forget=counts.forget or removed)


def _may_delete(changes: Iterable[PlannedChange], drift: Iterable[ResourceDrift]) -> Iterator[str]:
    """A replaced instance counts: when its creation fails, the state is written without it."""
    for change in changes:
        if change.action in _DELETES:
            yield change.resource.address
        if change.previous is not None:
            yield change.previous.address
    for gone in drift:
        if gone.action in _DELETES:
            yield gone.resource.address
        if gone.previous is not None:
            yield gone.previous.address


class AttributeChange(Struct, frozen=True, kw_only=True):
    """One attribute before and after.

    Attributes:
        path: `members[0].name`; empty when the whole object is the value.
        before: The old value; `SENSITIVE` in place of a secret, None also when it was absent.
        after: The new value; `SENSITIVE` or `UNKNOWN` in place of one that must or can not be shown.
        forces_replacement: Terraform replaces the object because of this attribute.
    """

    path: str
    before: Json
    after: Json
    sensitive: bool = False
    unknown: bool = False
    forces_replacement: bool = False


class ResourceChange(Struct, frozen=True, kw_only=True):
    """One entry of `resource_changes` or `resource_drift`.

    Attributes:
        actions: As Terraform lists them, such as `("delete", "create")`.
        action: The same in one word; a moved-only entry is `MOVE`.
        deposed: Key of a deposed object, else empty.
        attributes: What differs; values of sensitive attributes are masked.
        left_out: How many differing attributes beyond `MAX_ATTRIBUTES` are not listed, counted up to `MAX_COUNTED`.
    """

    address: str
    previous: str = ""
    mode: str = "managed"
    type: str = ""
    name: str = ""
    provider: str = ""
    actions: tuple[str, ...] = ()
    action: Action = Action.NOOP
    deposed: str = ""
    reason: str = ""
    importing: str = ""
    attributes: tuple[AttributeChange, ...] = ()
    left_out: int = 0


class OutputChange(Struct, frozen=True, kw_only=True):
    """One root output's change."""

    name: str
    action: Action
    before: Json
    after: Json
    sensitive: bool = False


class PlanDocument(Struct, frozen=True, kw_only=True):
    """A plan as `terraform show -json` tells it.

    Attributes:
        format_version: Of the JSON, such as `1.2`.
        applyable: Applying would do something (None before Terraform 1.7).
        complete: False when `-target` or deferral left something out.
        errored: The plan failed half-way and cannot be applied.
    """

    format_version: str = ""
    terraform_version: str = ""
    changes: tuple[ResourceChange, ...] = ()
    drift: tuple[ResourceChange, ...] = ()
    outputs: tuple[OutputChange, ...] = ()
    applyable: bool | None = None
    complete: bool | None = None
    errored: bool = False

    @property
    def counts(self) -> Counts:
        """The counts that Terraform would print."""
        managed = [change for change in self.changes if change.mode == "managed"]
        actions = [change.action for change in managed]
        replaced = actions.count(Action.REPLACE)
        kept = sum(change.action is Action.REPLACE and "forget" in change.actions for change in managed)
        return Counts(
            add=actions.count(Action.CREATE) + replaced,
            change=actions.count(Action.UPDATE),
            remove=actions.count(Action.DELETE) + replaced - kept,
            imports=sum(bool(change.importing) for change in self.changes),
            forget=actions.count(Action.REMOVE) + kept,
        )

    @property
    def may_delete(self) -> frozenset[str]:
        """The same set as `PlanFacts.may_delete`."""
        entries = [entry for entry in (*self.changes, *self.drift) if entry.mode == "managed"]
        gone = {entry.address for entry in entries if entry.action in _DELETES}
        return frozenset(gone | {entry.previous for entry in entries if entry.previous})

    @property
    def changed(self) -> tuple[ResourceChange, ...]:
        """The entries that do something: no no-ops, no reads of data sources."""
        return tuple(entry for entry in self.changes if entry.action in _CHANGES or entry.importing)


def parse_plan(data: bytes | str) -> PlanDocument:
    """Read the JSON of `terraform show -json PLANFILE`.

    Raises:
        TerraformFailed: It is too large, no JSON object, or not a plan of format 0.x or 1.x.
    """
    shown = ShownPlan(data)
    with shown.reading():
        version = shown.text("format_version")
        if not version:
            raise _unreadable("it has no format_version")
        if version.partition(".")[0] not in {"0", "1"}:
            raise _unreadable(f"its format {version!r} is not known")
        return _plan(shown)


class ShownPlan:
    """The JSON of a plan, which a small plan file can make as large as its author likes; its parts are read when asked.

    So what nobody needs (`planned_values`, most of `configuration`) takes neither time nor memory, and of the changes
    one after the other is in memory, not all together.

    Args:
        data: What `terraform show -json` printed.

    Raises:
        TerraformFailed: It has too many bytes or values, is nested too deeply, or is not a JSON object.
    """

    def __init__(self, data: bytes | str) -> None:
        if len(data) > MAX_PLAN_BYTES:
            raise _unreadable(f"it has {len(data)} bytes; the limit is {MAX_PLAN_BYTES}")
        # Each value but the first of its list or object has a comma before it: known before any takes memory.
        commas = data.count(",") if isinstance(data, str) else data.count(b",")
        if commas > MAX_PLAN_VALUES:
            raise _unreadable(f"it has more than {MAX_PLAN_VALUES} values")
        with self.reading():
            self._parts = _fields(data)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Translate what goes wrong when a part is read; see the class for what is raised."""
        try:
            yield
        except OutOfBounds as error:
            raise _unreadable(str(error)) from error
        except msgspec.ValidationError as error:
            raise _unreadable("its parts are not as expected") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _unreadable("it is nested too deeply" if "nested" in str(error) else "it is not JSON") from error
        except (RecursionError, TypeError, AttributeError, KeyError) as error:
            raise _unreadable("its parts are not as expected") from error

    def value(self, name: str) -> Any:
        """Return a field of the plan; None when it has none."""
        return _value(self._parts.get(name))

    def text(self, name: str) -> str:
        """Return a field that is text, else an empty one."""
        return _text({name: self.value(name)}, name)

    def each(self, name: str) -> Iterator[Mapping[str, Any]]:
        """Yield the entries of a field, one read after the other."""
        return map(_value, _items(self._parts.get(name)))

    def secret_texts(self) -> frozenset[str]:
        """Return the texts that are sensitive anywhere in the plan.

        Providers copy them where Terraform does not mark them: `terraform_data` copies a sensitive `input` to an
        `output` that the plan JSON of 1.11.4 calls not sensitive.
        """
        with self.reading():
            return frozenset(self._secrets())

    def _secrets(self) -> Iterator[str]:
        for name in ("resource_changes", "resource_drift"):
            for raw in _items(self._parts.get(name)):
                entry = _value(raw)
                yield from _secrets_of_change(entry["change"], secret_places(_text(entry, "type")), _Hints(raw))
        for raw in _fields(self._parts.get("output_changes")).values():
            yield from _secrets_of_change(_value(raw), (), _Hints(raw))
        configuration = _fields(_fields(self._parts.get("configuration")).get("root_module"))
        declared = _value(configuration.get("variables")) or {}
        for name, variable in (self.value("variables") or {}).items():
            if (declared.get(name) or {}).get("sensitive") is True:
                yield from _marked_texts(variable.get("value"), sensitive=True)
        prior = _fields(_fields(self._parts.get("prior_state")).get("values"))
        yield from _secrets_of_state(prior.get("root_module"))
        for output in (_value(prior.get("outputs")) or {}).values():
            yield from _marked_texts(output.get("value"), output.get("sensitive"))


def _fields(raw: _Json) -> dict[str, msgspec.Raw]:
    """Return the fields of an object, unread; of none or null, none."""
    return {} if raw in _NOTHING else decode_json(raw, type=dict[str, msgspec.Raw])


def _items(raw: _Json) -> list[msgspec.Raw]:
    """Return the items of a list, unread; of none or null, none."""
    return [] if raw in _NOTHING else decode_json(raw, type=list[msgspec.Raw])


def _value(raw: _Json) -> Any:
    if raw is None:
        return None
    value = decode_json(raw, type=Any, float_hook=_number)
    written = bytes(raw) if isinstance(raw, msgspec.Raw) else raw
    opened = written.count(b"{") + written.count(b"[") if isinstance(written, bytes) else MAX_PLAN_DEPTH + 1
    if opened > MAX_PLAN_DEPTH and is_deeper(value, MAX_PLAN_DEPTH):
        raise OutOfBounds(f"it is nested more than {MAX_PLAN_DEPTH} levels deep")
    return value


class _Hints:
    """What the written form of a part tells at once: whether anything in it can be secret for its name or its looks."""

    __slots__ = ("looks", "names")

    def __init__(self, raw: msgspec.Raw) -> None:
        written = bytes(raw).decode()
        self.names = may_name_secrets(written)
        self.looks = may_look_secret(written)


def _unreadable(why: str) -> TerraformFailed:
    return TerraformFailed("the plan's JSON cannot be read", why=why, fix=f"{PROGRAM} show -json PLANFILE")


def _number(text: str) -> float | str:
    """Keep a number exactly: as a float when that is the same number, else as its text."""
    number = float(text)
    return number if Decimal(repr(number)) == Decimal(text) else text


def _plan(shown: ShownPlan) -> PlanDocument:
    secrets = gather_secrets(shown.secret_texts())
    outputs = sorted((shown.value("output_changes") or {}).items())
    room = iter(range(MAX_ALL_ATTRIBUTES))
    flags = {name: shown.value(name) for name in ("applyable", "complete", "errored")}
    return PlanDocument(
        format_version=shown.text("format_version"),
        terraform_version=shown.text("terraform_version"),
        changes=tuple(_resource_change(entry, secrets, room) for entry in shown.each("resource_changes")),
        drift=tuple(_resource_change(entry, secrets, room) for entry in shown.each("resource_drift")),
        outputs=tuple(_output_change(name, change, secrets) for name, change in outputs),
        applyable=_flag(flags, "applyable"),
        complete=_flag(flags, "complete"),
        errored=_flag(flags, "errored") is True,
    )


def secret_texts(data: bytes | str) -> frozenset[str]:
    """Return the texts that are sensitive anywhere in a plan's JSON; see `ShownPlan`."""
    return ShownPlan(data).secret_texts()


def hide_secrets(text: str, secrets: frozenset[str]) -> str:
    """Return a plan as Terraform prints it with copies of sensitive texts hidden; Terraform hides those it has marked.

    Args:
        text: What `terraform show` printed.
        secrets: See `ShownPlan.secret_texts`.
    """
    for secret in secrets:
        text = text.replace(json.dumps(secret, ensure_ascii=False), SENSITIVE)
        lines = secret.split("\n") if "\n" in secret else []  # printed line by line between <<-EOT and EOT
        for line in lines:
            if len(line.strip()) >= MIN_SECRET_CHARS:
                text = text.replace(line.strip(), SENSITIVE)
    known = gather_secrets(secrets)
    # Not splitlines: it also parts at NEL and form feed, and would show a secret that holds one in two halves.
    return "\n".join(known.hide(line, SENSITIVE) for line in text.split("\n"))


def _secrets_of_change(change: Mapping[str, Any], places: Places, hints: _Hints) -> Iterator[str]:
    for side in ("before", "after"):
        yield from _marked_texts(change.get(side), change.get(f"{side}_sensitive"))
        yield from _telling_texts(change.get(side), places, hints)


def _secrets_of_state(root: msgspec.Raw | None) -> Iterator[str]:
    """Yield what is sensitive in the state that the plan began with: only there are data sources that were read."""
    waiting = [root]
    while waiting:
        module = _fields(waiting.pop())
        waiting.extend(_items(module.get("child_modules")))
        for raw in _items(module.get("resources")):
            resource = _value(raw)
            yield from _marked_texts(resource.get("values"), resource.get("sensitive_values"))
            yield from _telling_texts(resource.get("values"), secret_places(_text(resource, "type")), _Hints(raw))


def _telling_texts(value: Any, places: Places, hints: _Hints) -> Iterator[str]:
    """Yield the texts that are secret by the provider's schema, by a name on the way, or by their looks."""
    if places or hints.names:
        yield from (text for text in placed_texts(value, places) if len(text) >= MIN_SECRET_CHARS)
    if hints.looks:
        yield from (text for text in all_texts(value) if len(text) >= MIN_SECRET_CHARS and hide_shapes(text) == _HIDDEN)


def _marked_texts(value: Any, sensitive: Any) -> Iterator[str]:
    """Yield what a tree of marks, which is `true` or of the value's shape, has marked."""
    if sensitive is True:
        yield from (text for text in all_texts(value) if len(text) >= MIN_SECRET_CHARS)
    elif isinstance(sensitive, dict) and isinstance(value, dict):
        for key, mark in sensitive.items():
            yield from _marked_texts(value.get(key), mark)
    elif isinstance(value, list) and isinstance(sensitive, list | dict):
        for place, item in enumerate(value):
            yield from _marked_texts(item, _sub(sensitive, place))


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""


def _flag(document: Mapping[str, Any], name: str) -> bool | None:
    value = document.get(name)
    return value if isinstance(value, bool) else None


def _resource_change(entry: Mapping[str, Any], secrets: Secrets, room: Iterator[int]) -> ResourceChange:
    """Return one change; each differing attribute takes one step of `room`, which all changes share."""
    change = entry["change"]
    actions = tuple(str(word) for word in change.get("actions") or ())
    previous = _text(entry, "previous_address")
    action = _one_action(actions)
    every = iter(()) if action is Action.NOOP else _attributes(change, secrets)
    differing = (attribute for attribute, _ in zip(every, room, strict=False))
    attributes = tuple(islice(differing, MAX_ATTRIBUTES))
    left_out = sum(1 for _ in islice(differing, MAX_COUNTED))
    return ResourceChange(
        address=entry["address"],
        previous=previous,
        mode=_text(entry, "mode") or "managed",
        type=_text(entry, "type"),
        name=_text(entry, "name"),
        provider=_text(entry, "provider_name"),
        actions=actions,
        action=Action.MOVE if action is Action.NOOP and previous else action,
        deposed=_text(entry, "deposed"),
        reason=_text(entry, "action_reason"),
        importing=_importing(change.get("importing")),
        attributes=attributes,
        left_out=left_out,
    )


_ONE_ACTION: Final[Mapping[tuple[str, ...], Action]] = {
    (): Action.NOOP,
    ("no-op",): Action.NOOP,
    ("create",): Action.CREATE,
    ("read",): Action.READ,
    ("update",): Action.UPDATE,
    ("delete",): Action.DELETE,
    ("delete", "create"): Action.REPLACE,
    ("create", "delete"): Action.REPLACE,
    ("forget",): Action.REMOVE,
    ("create", "forget"): Action.REPLACE,
    ("forget", "create"): Action.REPLACE,
}


def _importing(named: Any) -> str:
    return _text(named, "id") or BY_IDENTITY if isinstance(named, dict) else ""


def _one_action(actions: tuple[str, ...]) -> Action:
    return _ONE_ACTION.get(actions, Action.OTHER)


def _output_change(name: str, change: Mapping[str, Any], secrets: Secrets) -> OutputChange:
    marks = _Marks(change, secrets)
    return OutputChange(
        name=name,
        action=_one_action(tuple(str(word) for word in change.get("actions") or ())),
        before=marks.shown_before(change.get("before")),
        after=marks.shown_after(change.get("after")),
        sensitive=marks.is_sensitive,
    )


def _attributes(change: Mapping[str, Any], secrets: Secrets) -> Iterator[AttributeChange]:
    """List what differs between before and after, what forces a replacement marked."""
    forcing = {spell_path(tuple(path)) for path in change.get("replace_paths") or ()}
    for found in _differences(change.get("before"), change.get("after"), _Marks(change, secrets), ()):
        forces = any(found.path == path or found.path.startswith((f"{path}.", f"{path}[")) for path in forcing)
        yield replace(found, forces_replacement=True) if forces else found


class _Marks:
    """The mask trees at one path (each `true`, or a tree of the value's shape), and texts that are secret anywhere."""

    __slots__ = ("_after", "_before", "secrets", "unknown")

    def __init__(self, change: Mapping[str, Any], secrets: Secrets) -> None:
        self._before: Any = change.get("before_sensitive")
        self._after: Any = change.get("after_sensitive")
        self.unknown: Any = change.get("after_unknown")
        self.secrets = secrets

    @property
    def is_sensitive(self) -> bool:
        return self._before is True or self._after is True

    def of_a_secret_name(self, before: Any, after: Any) -> _Marks:
        """Return these marks with every text marked: a flag or a null under such a name tells nothing."""
        below = {"before_sensitive": _is_telling(before), "after_sensitive": _is_telling(after)}
        return _Marks({**below, "after_unknown": self.unknown}, self.secrets)

    def at(self, step: str | int) -> _Marks:
        below = {
            "before_sensitive": _sub(self._before, step),
            "after_sensitive": _sub(self._after, step),
            "after_unknown": _sub(self.unknown, step),
        }
        return _Marks(below, self.secrets)

    def shown_before(self, value: Any) -> Json:
        return SENSITIVE if self.is_sensitive else _masked(value, self._before, self.secrets)

    def shown_after(self, value: Any) -> Json:
        if self.is_sensitive:
            return SENSITIVE
        return UNKNOWN if self.unknown is True else _masked(value, self._after, self.secrets)


def _is_telling(value: Any) -> bool:
    return value is not None and not isinstance(value, bool)


def _sub(tree: Any, step: str | int) -> Any:
    if tree is True:
        return True
    if isinstance(tree, dict):
        return tree.get(str(step))
    if isinstance(tree, list) and isinstance(step, int) and step < len(tree):
        return tree[step]
    return None


def _differences(before: Any, after: Any, marks: _Marks, path: tuple[str | int, ...]) -> Iterator[AttributeChange]:
    unknown = marks.unknown is True
    if not marks.unknown and before is not None and _same(before, after):
        return
    if not marks.is_sensitive and not unknown and (steps := _steps(before, after, marks)):
        named = is_named_pair(before) or is_named_pair(after)
        for step in steps:
            old, new, below = _child(before, step), _child(after, step), marks.at(step)
            below = below.of_a_secret_name(old, new) if named and step == "value" else below
            yield from _differences(old, new, below, (*path, step))
    elif unknown or not _same(before, after):
        if any(isinstance(step, str) and sounds_secret(step) for step in path):
            marks = marks.of_a_secret_name(before, after)
        yield AttributeChange(
            path=marks.secrets.hide(spell_path(path), SENSITIVE),
            before=marks.shown_before(before),
            after=marks.shown_after(after),
            sensitive=marks.is_sensitive,
            unknown=unknown,
        )


def _steps(before: Any, after: Any, marks: _Marks) -> list[str | int]:
    """The children to look at; none when either side is a plain value, so the pair is one change."""
    sides = [side for side in (before, after) if side is not None]
    if sides and all(isinstance(side, dict) for side in sides):
        hidden = marks.unknown if isinstance(marks.unknown, dict) else {}
        return sorted({key for side in sides for key in side} | set(hidden))
    if sides and all(isinstance(side, list) for side in sides):
        hidden_length = len(marks.unknown) if isinstance(marks.unknown, list) else 0
        return list(range(max(hidden_length, *(len(side) for side in sides))))
    return []


def _child(value: Any, step: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(str(step))
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return value[step]
    return None


def _same(before: Any, after: Any) -> bool:
    """Compare as JSON does: `True` is not 1, in nested values too."""
    if not isinstance(before, dict | list):
        return type(before) is type(after) and bool(before == after)
    return before == after and json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)


def _masked(value: Any, sensitive: Any, secrets: Secrets) -> Json:
    if sensitive is True:
        return SENSITIVE
    if isinstance(value, dict):
        pair = is_named_pair(value)
        return {
            secrets.hide(key, SENSITIVE): _masked(
                item, sounds_secret(key) or (pair and key == "value") or _sub(sensitive, key), secrets
            )
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_masked(item, _sub(sensitive, place), secrets) for place, item in enumerate(value)]
    plain: Json = value
    if value is None or isinstance(value, bool):
        return plain
    hidden = secrets.hide(str(value), SENSITIVE)
    return plain if hidden == str(value) else hidden


def spell_path(path: tuple[str | int, ...]) -> str:
    """Spell the way to a value as people write it: `members[0].name`; one that is very long is cut."""
    text = ""
    for step in path:
        if len(text) > MAX_PATH_CHARS:
            return f"{text[:MAX_PATH_CHARS]}…"
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
    return text
