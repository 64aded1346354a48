"""What a saved plan was made for, and whether that is what it is applied to.

A plan names its backend and workspace, and lineage and serial of its state (`saved_plan.py`). A plan of a new state has
no lineage, and Interlock's own backend leaves no address in it, so `interlock plan --out` adds a label: state, root
module, and the organisations behind its provider configurations.

Source: internal/plans/planfile and internal/plans/planproto in Terraform: a zip with `tfplan` (protocol buffers),
`tfstate`, `tfconfig/…`; entries that Terraform does not know are left alone.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from interlock.bounded import decode_json, read_json
from interlock.errors import PlanStale, UsageError
from interlock.run.plan_archive import opened_plan
from interlock.run.planned_files import HeldFiles, HeldModule

LABEL_NAME = "interlock.json"
"""The entry that Interlock adds to a plan which it keeps for later."""

_PLAN_AGAIN = "interlock plan --out FILE    and have that one reviewed"
_MODULE, _MODULES, _LOCK = "tfconfig/m-", "tfconfig/modules.json", ".terraform.lock.hcl"
_MODULE_FIELDS = ("Key", "Source", "Version", "Dir")
_STATE_BYTES = 256 << 20  # of the state inside a plan
_ENTRY_BYTES = 64 << 20  # of one entry that is read; the state in a plan is read elsewhere
_VARIABLES, _BACKEND = 2, 13  # fields of the plan's message
_KEY, _VALUE, _WORKSPACE, _MSGPACK = 1, 2, 3, 1  # fields of messages in it
_BYTES_WIRE = 2
_FIXED = {1: 8, 5: 4}  # wire types of fixed length, in bytes
_VARINT_BYTES = 10


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where a provider configuration led when the plan was made.

    Attributes:
        api: Address of the API.
        organisation: Id of the organisation; empty when it could not be read.
    """

    api: str
    organisation: str = ""


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """What a kept plan was made for.

    Attributes:
        version: Of this record.
        state: State name.
        module: The root module's path in its repository; empty outside one, or when it is not known.
        targets: Where each provider configuration leads, by its label.
    """

    version: int = 1
    state: str
    module: str = ""
    targets: dict[str, Target] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFor:
    """What a plan was made for.

    Attributes:
        backend: Type of its backend.
        place: The backend's settings as the plan holds them; they may be secrets.
        workspace: Terraform's workspace.
        label: What Interlock noted; None for a plan that plain Terraform made.
    """

    backend: str = ""
    place: Mapping[str, object] = field(default_factory=dict, repr=False)
    workspace: str = "default"
    label: Label | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedConfiguration:
    """The configuration that a plan holds, and its values of variables; they may be secrets.

    Attributes:
        files: By path, the root module's at the top.
        variables: By name; `UNREADABLE` for one that cannot be read.
    """

    files: Mapping[str, bytes] = field(repr=False)
    variables: Mapping[str, object] = field(repr=False)


UNREADABLE = object()
"""Stands for the value of a variable that only Terraform can read."""


def read_planned_for(plan: bytes) -> PlannedFor:
    """Read what a plan file says of its backend and target.

    Raises:
        UsageError: The bytes are not Terraform plan.
    """
    with opened_plan(plan) as archive:
        backend = _once(read_message(_entry(archive, "tfplan")), only=_BACKEND).get(_BACKEND, b"")
        parts = _once(read_message(backend))
        named = LABEL_NAME in archive.namelist()
        place = decoded_value(parts.get(_VALUE, b""))
        return PlannedFor(
            backend=parts.get(_KEY, b"").decode(errors="replace"),
            place=place if isinstance(place, dict) else {},
            workspace=parts.get(_WORKSPACE, b"default").decode(errors="replace"),
            label=decode_json(_entry(archive, LABEL_NAME), type=Label) if named else None,
        )


def read_planned_configuration(plan: bytes, *, without: str) -> PlannedConfiguration:
    """Read the configuration that a plan holds.

    Args:
        plan: The file.
        without: Name of a file that is left out: our own override.

    Raises:
        UsageError: The bytes are not Terraform plan.
    """
    with opened_plan(plan) as archive:
        modules = read_json(_entry(archive, _MODULES))
        folders = {f"tfconfig/m-{module['Key']}": str(module["Dir"]) for module in modules}
        files = {
            posixpath.join(folders[folder], name): _entry(archive, entry)
            for entry in archive.namelist()
            for folder, _, name in [entry.rpartition("/")]
            if folder in folders and name != without
        }
        entries = [
            dict(read_message(value))
            for number, value in read_message(_entry(archive, "tfplan"))
            if number == _VARIABLES
        ]
        variables = {each.get(_KEY, b"").decode(errors="replace"): _variable(each.get(_VALUE, b"")) for each in entries}
        return PlannedConfiguration(files=files, variables=variables)


def read_planned_files(plan: bytes, *, without: str) -> HeldFiles:
    """Read the modules and the lock file that a plan holds.

    Args:
        plan: The file.
        without: Name of a file of the root module that is left out: our own override, which is replaced anyway.

    Raises:
        UsageError: The bytes are not Terraform plan.
    """
    with opened_plan(plan) as archive:
        entries = read_json(_entry(archive, _MODULES))
        files: dict[str, dict[str, bytes]] = {str(entry["Key"]): {} for entry in entries}
        if len(files) != len(entries):
            raise ValueError("it has a module twice")
        for name in archive.namelist():
            if name.startswith(_MODULE):
                key, _, file = name.removeprefix(_MODULE).rpartition("/")
                if key or file != without:
                    files[key][file] = _entry(archive, name)
        modules = {
            str(entry["Key"]): HeldModule(
                source=str(entry.get("Source", "")),
                version=str(entry.get("Version", "")),
                folder=str(entry["Dir"]),
                files=files[str(entry["Key"])],
            )
            for entry in entries
        }
        locked = _LOCK in archive.namelist()
        return HeldFiles(modules=modules, lock=_entry(archive, _LOCK) if locked else None)


def in_one_form(plan: bytes) -> bytes:
    """Return a plan written anew from its entries, so that Terraform reads what was checked.

    A zip may hold another one in its comment, or headers that contradict its directory; readers then disagree. So do
    readers of JSON: Go takes `dir` for `Dir`, so the list of modules is written anew as well.

    Raises:
        UsageError: It is not a plan, or names an entry twice.
    """
    fresh = io.BytesIO()
    with opened_plan(plan) as archive, zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED) as target:
        for info in archive.infolist():
            content = _entry(archive, info.filename, _STATE_BYTES)
            plain = _modules_in_one_form(content) if info.filename == _MODULES else content
            target.writestr(zipfile.ZipInfo(info.filename), plain)
    return fresh.getvalue()


def _modules_in_one_form(content: bytes) -> bytes:
    entries = [{name: entry[name] for name in _MODULE_FIELDS if name in entry} for entry in read_json(content)]
    return msgspec.json.encode(entries)


def with_label(plan: bytes, label: Label) -> bytes:
    """Return a plan with a label; one that is not a zip, as OpenTofu encrypts it, as it is.

    Raises:
        UsageError: It is a zip and not a plan.
    """
    labelled = io.BytesIO(plan)
    if not zipfile.is_zipfile(labelled):
        return plan
    with opened_plan(plan), zipfile.ZipFile(labelled, "a") as archive:
        archive.writestr(LABEL_NAME, msgspec.json.encode(label))
    return labelled.getvalue()


def with_override(plan: bytes, name: str, text: str) -> bytes:
    """Return a plan with another text of an override file; as it is when the plan holds no file of this name.

    Args:
        plan: The file.
        name: Of the override file.
        text: Its new content.

    Raises:
        UsageError: The bytes are not a plan.
    """
    with opened_plan(plan) as archive:
        entries = [(info, archive.read(info)) for info in archive.infolist()]
    if not any(info.filename.endswith("/" + name) for info, _ in entries):
        return plan
    adapted = io.BytesIO()
    with zipfile.ZipFile(adapted, "w") as archive:
        for info, content in entries:
            archive.writestr(info, text.encode() if info.filename.endswith("/" + name) else content)
    return adapted.getvalue()


def check_place(planned: PlannedFor, *, backend: str, place: Mapping[str, str | None], workspace: str) -> None:
    """Refuse a plan whose own backend is not the run's: Terraform would write to the plan's, not to the run's.

    Args:
        planned: What the plan says.
        backend: Type of the run's backend.
        place: Settings that it must have; None for one that must not be set.
        workspace: The run's workspace.

    Raises:
        PlanStale: It was made for another backend or workspace.
    """
    differ = [name for name, value in place.items() if (planned.place.get(name) or None) != value]
    if planned.backend != backend or differ or planned.workspace != workspace:
        told = f'backend "{planned.backend}", workspace {planned.workspace}'
        what = f" with another {' and '.join(differ)}" if differ and planned.backend == backend else ""
        raise PlanStale(
            "the saved plan belongs to another state",
            why=f'it was made for {told}{what}; this run is on backend "{backend}", workspace {workspace}',
            fix=_PLAN_AGAIN,
        )


def check_label(planned: PlannedFor, *, state: str, module: str, is_new: bool) -> None:
    """Refuse a plan that was made for another state or root module, or of a new state without saying which.

    Args:
        planned: What the plan says.
        state: The run's state.
        module: The run's root module; see `Label`.
        is_new: The plan was made from no state, so that no lineage says which one it belongs to.

    Raises:
        PlanStale: It was.
    """
    label = planned.label
    if label is None:
        if is_new and planned.backend == "http":
            raise PlanStale(
                "the saved plan does not say for which state it was made",
                why="a plan of a new state has no lineage, and Interlock did not make this one",
                fix=_PLAN_AGAIN,
            )
        return
    if label.state != state:
        raise PlanStale(
            "the saved plan belongs to another state",
            why=f"it was made for state {label.state}, this run works on state {state}",
            fix=_PLAN_AGAIN,
        )
    if label.module and module and label.module != module:
        raise PlanStale(
            "the saved plan belongs to another root module",
            why=f"it was made in {label.module}, this run works in {module}",
            fix=_PLAN_AGAIN,
        )


def check_targets(planned: PlannedFor, targets: Mapping[str, Target]) -> None:
    """Refuse a plan whose provider configurations would now lead to another organisation, or nobody knows where.

    Raises:
        PlanStale: At least one would.
    """
    then = planned.label.targets if planned.label is not None else {}
    for name, before in sorted(then.items()):
        if (now := targets.get(name)) is None:
            raise PlanStale(
                "whether the saved plan is for this organisation cannot be told",
                why=f"{name} led to {_shown(before)} then and bypasses the gateway now: another login, or a flag",
                fix=_PLAN_AGAIN,
            )
        known = bool(before.organisation and now.organisation)
        if (before.organisation != now.organisation) if known else (before.api != now.api):
            raise PlanStale(
                "the saved plan was made for another organisation",
                why=f"{name} led to {_shown(before)} then, and leads to {_shown(now)} now",
                fix=_PLAN_AGAIN,
            )


def _shown(target: Target) -> str:
    return f"{target.api}, organisation {target.organisation}" if target.organisation else target.api


# -- reading ----------------------------------------------------------------------------------------------------------


def _entry(archive: zipfile.ZipFile, name: str, limit: int = _ENTRY_BYTES) -> bytes:
    if archive.getinfo(name).file_size > limit:
        raise UsageError(f"{name} inside the plan is too large", why="it is not a usual plan", fix=_PLAN_AGAIN)
    return archive.read(name)


def read_message(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and value of the fields of a protocol buffers message that hold bytes; others are skipped.

    Raises:
        ValueError: The bytes are not a message.
    """
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        wire = key & 7
        if wire == _BYTES_WIRE:
            length, at = _varint(content, at)
            if at + length > len(content):
                raise ValueError("the plan is cut off")
            yield key >> 3, content[at : at + length]
            at += length
        elif wire == 0:
            _, at = _varint(content, at)
        elif wire in _FIXED:
            at += _FIXED[wire]
        else:
            raise ValueError("the plan has a field of an unknown kind")


def _once(fields: Iterator[tuple[int, bytes]], *, only: int | None = None) -> dict[int, bytes]:
    """Return fields by number. Terraform merges a field that comes again, so that one of two readers would be deceived.

    Raises:
        ValueError: One comes twice.
    """
    found: dict[int, bytes] = {}
    for number, value in fields:
        if only in (None, number) and found.setdefault(number, value) is not value:
            raise ValueError("the plan names its backend twice")
    return found


def _varint(content: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(_VARINT_BYTES):
        byte = content[at + shift]
        number |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:  # noqa: PLR2004 - the last byte of a number has no high bit
            return number, at + shift + 1
    raise ValueError("the plan has a number that is too long")


def decoded_value(dynamic: bytes) -> object:
    """Return a dynamic value; unknown values and marks in it come as msgspec's extension objects."""
    packed = dict(read_message(dynamic)).get(_MSGPACK)
    return None if packed is None else msgspec.msgpack.decode(packed)


def _variable(dynamic: bytes) -> object:
    """Return the value of a variable, which is packed with its type; `UNREADABLE` when it is not all known.

    A null has no type.
    """
    value = decoded_value(dynamic)
    if dynamic and value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not _is_plain(value[1]):  # noqa: PLR2004 - type and value
        return UNREADABLE
    return value[1]


def _is_plain(value: object) -> bool:
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, dict):
            pending.extend(each.values())
        elif isinstance(each, list):
            pending.extend(each)
        elif each is not None and not isinstance(each, str | int | float | bool):
            return False
    return True
