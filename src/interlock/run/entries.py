"""What a run's journal says: one struct for each kind of entry. docs/reference/run-journal.md is made from them.

A journal outlives the version that wrote it, and may be read by an older one. So reading is tolerant: a kind that is
not known is an `UnknownEntry`, a field that is not known is passed over, and one that is missing or spoiled is empty.
What `interlock runs logs --json` prints are the facts as they were written, not these structs.

The order of fields is the order on disk. A field may be added at the end, with a default; none changes its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final, TypeAlias, get_args

import msgspec
from msgspec import UNSET, Struct, UnsetType

from interlock.errors import InterlockError, fill_in_program


def spell_instant(at: datetime | None) -> str | None:
    """Return an instant as JSON has it."""
    return None if at is None else str(msgspec.to_builtins(at))


class ToldEntry(Struct, frozen=True, kw_only=True):
    """What every kind of entry can do."""

    KIND: ClassVar[str] = ""
    BLANK: ClassVar[Mapping[str, object]] = {}

    def facts(self) -> dict[str, object]:
        """Return the values as they are written: in order, without those that are not given."""
        plain: dict[str, object] = msgspec.to_builtins(self)
        return plain


class BinaryEntry(ToldEntry, frozen=True, kw_only=True):
    """Which Terraform is used, for which state.

    Attributes:
        run: Run id.
        state: The state's name.
        binary: Name and version of Terraform or OpenTofu.
    """

    KIND: ClassVar[str] = "binary"
    run: str
    state: str
    binary: str


class NoGatewayEntry(ToldEntry, frozen=True, kw_only=True):
    """The run goes without an API gateway.

    Attributes:
        why: The reason.
    """

    KIND: ClassVar[str] = "no-gateway"
    why: str


class ProtectionEntry(ToldEntry, frozen=True, kw_only=True):
    """Which signals Terraform does not hear.

    Attributes:
        level: `full`: Terraform hears neither SIGTERM nor SIGHUP; `hangup`: not SIGHUP; `none`.
        why: The reason.
    """

    KIND: ClassVar[str] = "protection"
    level: str
    why: str


class PhaseEntry(ToldEntry, frozen=True, kw_only=True):
    """The run enters a phase.

    Attributes:
        phase: `queued`, `planning`, `awaiting`, `applying`, `settling` or `ended`.
    """

    KIND: ClassVar[str] = "phase"
    phase: str


class Holding(Struct, frozen=True, kw_only=True):
    """Who holds the state that a run waits for."""

    who: str = ""
    run: str = ""
    info: str = ""


class StandingEntry(ToldEntry, frozen=True, kw_only=True):
    """The run's place in the queue, when it changes.

    Attributes:
        position: 1 for the next one.
        ahead: Who waits before it.
        holder: Who holds the state: `who`, `run`, `info`; null when nobody does.
        since: When the holder got it, as its record spells it.
        frozen: Why the queue is paused; null when it is not.
        expected_s: Seconds until its turn, by what runs of this state usually take; null when that is not known.
        foreign: Id of a plain Terraform's lock that is in the way; absent otherwise.
        held: Why the run does not want its turn yet, such as a maintenance window; absent otherwise.
    """

    KIND: ClassVar[str] = "standing"
    position: int
    ahead: list[str] = []
    holder: Holding | None = None
    since: str | None = None
    frozen: str | None = None
    expected_s: float | None = None
    foreign: str | UnsetType = UNSET
    held: str | UnsetType = UNSET


class GrantedEntry(ToldEntry, frozen=True, kw_only=True):
    """The run has the state.

    Attributes:
        token: Its fencing token.
    """

    KIND: ClassVar[str] = "granted"
    token: int


class InitEntry(ToldEntry, frozen=True, kw_only=True):
    """`terraform init` runs, because nothing suitable was kept.

    Attributes:
        binary: Which Terraform.
    """

    KIND: ClassVar[str] = "init"
    binary: str


class RefreshEntry(ToldEntry, frozen=True, kw_only=True):
    """Resources were refreshed; told twice a second at most.

    Attributes:
        count: How many so far.
    """

    KIND: ClassVar[str] = "refresh"
    count: int


class SavedPlanEntry(ToldEntry, frozen=True, kw_only=True):
    """A plan that was made before is applied.

    Attributes:
        digest: Its SHA-256.
    """

    KIND: ClassVar[str] = "saved-plan"
    digest: str


class PlanCounts(Struct, frozen=True, kw_only=True):
    """How many resources a plan adds, changes and removes, and how many it imports, and forgets, besides."""

    add: int = 0
    change: int = 0
    remove: int = 0
    imports: int | UnsetType = UNSET
    forget: int | UnsetType = UNSET


class PlanRow(Struct, frozen=True, kw_only=True):
    """What a plan does with one resource."""

    address: str = ""
    action: str = ""
    reason: str = ""


class PlanEntry(ToldEntry, frozen=True, kw_only=True):
    """The plan.

    Attributes:
        counts: `add`, `change`, `remove`, and where there are any, `imports` and `forget`.
        resources: `address`, `action` and `reason` of each change; at most 2,000.
        left_out: How many more there are.
        outputs: Names of outputs that change.
        drift: Addresses that changed outside Terraform.
        destroyed: How many objects the plan destroys.
        empty: Whether it changes nothing.
        forecast: What it costs: `calls`, `shortest_s`, `limited_by`, `parallelism`, `text` and more; absent without a
            gateway.
    """

    KIND: ClassVar[str] = "plan"
    counts: PlanCounts
    resources: list[PlanRow]
    left_out: int
    outputs: list[str]
    drift: list[str]
    destroyed: int
    empty: bool
    forecast: dict[str, Any] | UnsetType = UNSET


class PlanTextEntry(ToldEntry, frozen=True, kw_only=True):
    """The plan can be read: as Terraform prints it in `plan.txt`, for programs in `plan.json`, in the run's folder.

    Attributes:
        why: Why it cannot be shown as Terraform prints it; empty when it can.
    """

    KIND: ClassVar[str] = "plan-text"
    why: str


class OutputsEntry(ToldEntry, frozen=True, kw_only=True):
    """The root outputs after an apply; their values, masked, are in `outputs.json` in the run's folder.

    Attributes:
        names: Of the outputs.
    """

    KIND: ClassVar[str] = "outputs"
    names: list[str]


class PrintedEntry(ToldEntry, frozen=True, kw_only=True):
    """A line that a command of Terraform printed (`interlock exec`).

    Attributes:
        text: The line.
        is_error: Whether it says why the command failed.
    """

    KIND: ClassVar[str] = "printed"
    text: str
    is_error: bool = False


class KeptEntry(ToldEntry, frozen=True, kw_only=True):
    """The plan was kept for later (`--out`).

    Attributes:
        file: Where.
        digest: Its SHA-256, by which `--plan-digest` names it.
    """

    KIND: ClassVar[str] = "kept"
    file: str
    digest: str


class DriftEntry(ToldEntry, frozen=True, kw_only=True):
    """What a drift scan found; the scan itself is in the store.

    Attributes:
        counts: Counts by verdict (`open`, `to-revert`, …) and of open findings by kind, and `notes`; each is a fact of
            its own.
    """

    KIND: ClassVar[str] = "drift"
    counts: dict[str, Any]

    def facts(self) -> dict[str, object]:
        """Return the counts themselves."""
        return dict(self.counts)


class ApprovalEntry(ToldEntry, frozen=True, kw_only=True):
    """The run asks whether the plan may be applied.

    Attributes:
        question: What is asked; absent for the usual question.
    """

    KIND: ClassVar[str] = "approval"
    question: str | UnsetType = UNSET


class PolicyRow(Struct, frozen=True, kw_only=True):
    """What one rule of a policy says of a plan; see `interlock.policy.judging.Result`."""

    policy: str = ""
    rule: str = ""
    layer: str = ""
    passed: bool = False
    what: str = ""
    addresses: list[str] = []


class PolicyEntry(ToldEntry, frozen=True, kw_only=True):
    """What the policies of the state say of the plan.

    Attributes:
        results: One for each rule: `policy`, `rule`, `layer`, `passed`, `what`, `addresses`.
    """

    KIND: ClassVar[str] = "policy"
    results: list[PolicyRow]


class ApprovalAskedEntry(ToldEntry, frozen=True, kw_only=True):
    """Persons must approve what the run is about to do. It ends, and what it would do is kept.

    Attributes:
        request: By which `interlock approve` names it.
        digest: Of the kept plan, or of the command.
        needed: How many persons must approve.
        policy: The policy that says so.
        expires: Until when it may be approved and applied.
    """

    KIND: ClassVar[str] = "approval-asked"
    request: str
    digest: str
    needed: int
    policy: str
    expires: str


class ResourceEntry(ToldEntry, frozen=True, kw_only=True):
    """An operation of the apply began, ended or failed.

    Attributes:
        address: Of the object.
        action: `create`, `update`, `delete`, …
        stage: `start`, `complete` or `errored`.
        done: Operations completed so far.
        total: Operations planned.
        elapsed_s: Seconds that it took; only at `complete`.
        id: The object's id; only at `complete`.
    """

    KIND: ClassVar[str] = "resource"
    address: str
    action: str
    stage: str
    done: int
    total: int
    elapsed_s: float | UnsetType = UNSET
    id: str | UnsetType = UNSET


class DiagnosticEntry(ToldEntry, frozen=True, kw_only=True):
    """What Terraform or a provider reported.

    Attributes:
        severity: `error` or `warning`.
        summary: Its first line.
        detail: The rest, shortened; the whole is in the command's own output file.
        address: The object that it is about; empty when it is about none.
        file: Where in the configuration; empty when it does not say.
        line: The line there; 0 when it does not say.
    """

    KIND: ClassVar[str] = "diagnostic"
    severity: str
    summary: str
    detail: str
    address: str
    file: str
    line: int


class InterruptEntry(ToldEntry, frozen=True, kw_only=True):
    """Somebody wanted the run to stop.

    Attributes:
        cause: `sigint`, `sigterm`, `sighup`, `front-end-gone`, `cancelled`, `lease-lost` or `server-away`.
        action: What it meant: `leave`, `stop`, `warn`, `kill`, `decline` or `ignore`.
        phase: The phase in which it came.
        by: Who cancelled it from another machine, as the server names that one; else absent.
    """

    KIND: ClassVar[str] = "interrupt"
    cause: str
    action: str
    phase: str
    by: str | UnsetType = UNSET


class AskedEntry(ToldEntry, frozen=True, kw_only=True):
    """Terraform was asked to stop.

    Attributes:
        process: Its process id.
        outcome: `sent` (SIGINT), or why not: `before` (there is a marker), `elsewhere` (it was stopping already),
            `gone`.
    """

    KIND: ClassVar[str] = "asked"
    process: int
    outcome: str


class LeaseLostEntry(ToldEntry, frozen=True, kw_only=True):
    """The grant was taken away.

    Attributes:
        why: What the store said.
    """

    KIND: ClassVar[str] = "lease-lost"
    why: str | None


class RecoveryEntry(ToldEntry, frozen=True, kw_only=True):
    """What was found out about another run that holds the state.

    Attributes:
        verdict: `alive`, `gone`, `undecided`, or `broken` when its grant was taken away.
        token: Its fencing token.
        run: Its run id.
        text: The reasons, or what was saved.
    """

    KIND: ClassVar[str] = "recovery"
    verdict: str
    token: int
    run: str
    text: str


class RetryEntry(ToldEntry, frozen=True, kw_only=True):
    """The run begins again from a fresh plan.

    Attributes:
        attempt: Which attempt failed, from 1.
        what: How.
        why: Its cause.
    """

    KIND: ClassVar[str] = "retry"
    attempt: int
    what: str
    why: str | None


class GatewayEntry(ToldEntry, frozen=True, kw_only=True):
    """The run's API calls, when its gateway is closed.

    Attributes:
        counts: `calls`, `sent`, `waited_s`, `refused_by_api`, `fenced`, `retries`, …; each is a fact of its own.
    """

    KIND: ClassVar[str] = "gateway"
    counts: dict[str, Any]

    def facts(self) -> dict[str, object]:
        """Return the counts themselves."""
        return dict(self.counts)


class StateEntry(ToldEntry, frozen=True, kw_only=True):
    """Which state is stored at the end.

    Attributes:
        serial: Its serial.
        number: Number of the version; absent when the run planned only.
        written: Whether this run wrote it.
    """

    KIND: ClassVar[str] = "state"
    serial: int
    number: int | UnsetType = UNSET
    written: bool


class OrphanRow(Struct, frozen=True, kw_only=True):
    """An object that a run made and that no state holds."""

    type: str = ""
    name: str = ""
    id: str = ""
    import_id: str = ""
    address: str = ""
    path: str = ""
    run: str = ""
    doubt: str = ""
    text: str = ""


class OrphansEntry(ToldEntry, frozen=True, kw_only=True):
    """Objects that a run made and that no state holds.

    Attributes:
        when: `begin`: earlier runs made them; `plan`: this run's plan would make them once more; `end`: this run did.
        orphans: `type`, `name`, `id`, `import_id`, `address`, `path`, `run`, `doubt` (why it is not certain that it was
            made), and `text` for people; at most 200.
        left_out: How many more there are.
        next: The command that prints `import` blocks for them.
    """

    KIND: ClassVar[str] = "orphans"
    when: str
    orphans: list[OrphanRow]
    left_out: int = 0
    next: str = ""


class SuspectEntry(ToldEntry, frozen=True, kw_only=True):
    """The stored state lacks objects without a reason; it is frozen.

    Attributes:
        addresses: Those objects.
    """

    KIND: ClassVar[str] = "suspect"
    addresses: list[str]


class NoteEntry(ToldEntry, frozen=True, kw_only=True):
    """Something that people should know.

    Attributes:
        text: A sentence.
    """

    KIND: ClassVar[str] = "note"
    text: str


class EndEntry(ToldEntry, frozen=True, kw_only=True):
    """How the run ended; its last entry. A success has only the first two facts.

    Attributes:
        exit: Exit status.
        code: Stable code of the outcome.
        what: What went wrong.
        why: Its cause.
        next: What to do.
        in_flight: Operations that were cut off, so that nobody knows whether they took effect.
    """

    KIND: ClassVar[str] = "end"
    BLANK: ClassVar[Mapping[str, object]] = {"exit": 1}  # an end that does not say how is no success
    exit: int
    code: str
    what: str | UnsetType = UNSET
    why: str | UnsetType | None = UNSET
    next: str | UnsetType | None = UNSET
    in_flight: list[str] | UnsetType = UNSET

    @classmethod
    def of(cls, error: InterlockError) -> EndEntry:
        """Return the end of a run that failed."""
        named = error.facts.get("in_flight", [])
        in_flight = [str(operation) for operation in named] if isinstance(named, list | tuple) else []
        return cls(
            exit=error.exit_status,
            code=error.code,
            what=error.what,
            why=error.why,
            next=fill_in_program(error.fix),
            in_flight=in_flight,
        )


class UnknownEntry(ToldEntry, frozen=True, kw_only=True):
    """An entry of a version that knows more kinds, or one that was too long and was cut.

    Attributes:
        kind: What it calls itself.
        values: Its facts.
    """

    kind: str
    values: dict[str, Any]

    def facts(self) -> dict[str, object]:
        """Return the facts as they were."""
        return dict(self.values)


AnyEntry: TypeAlias = (
    BinaryEntry
    | NoGatewayEntry
    | ProtectionEntry
    | PhaseEntry
    | StandingEntry
    | GrantedEntry
    | InitEntry
    | RefreshEntry
    | SavedPlanEntry
    | PlanEntry
    | PlanTextEntry
    | KeptEntry
    | DriftEntry
    | ApprovalEntry
    | PolicyEntry
    | ApprovalAskedEntry
    | ResourceEntry
    | DiagnosticEntry
    | InterruptEntry
    | AskedEntry
    | LeaseLostEntry
    | RecoveryEntry
    | RetryEntry
    | GatewayEntry
    | StateEntry
    | OrphansEntry
    | OutputsEntry
    | PrintedEntry
    | SuspectEntry
    | NoteEntry
    | EndEntry
)
"""Every entry that this version writes, in the order in which the reference page has them."""

KINDS: Final[dict[str, type[AnyEntry]]] = {kind.KIND: kind for kind in get_args(AnyEntry)}
_BLANKS: Final[tuple[object, ...]] = ("", 0, False, [], {})
"""What stands for a fact that is missing or spoiled: the first of these that has the right type."""


def parse_entry(kind: str, facts: Mapping[str, Any]) -> AnyEntry | UnknownEntry:
    """Return an entry as it was told, as far as this version can read it. Never raises.

    Args:
        kind: Its kind.
        facts: Its facts, as JSON has them.
    """
    found = KINDS.get(kind)
    if found is None or set(facts) == {"cut"}:
        return UnknownEntry(kind=kind, values=dict(facts))
    if found is DriftEntry or found is GatewayEntry:
        return found(counts=dict(facts))
    try:
        return msgspec.convert(facts, found)
    except msgspec.ValidationError:
        return _mended(found, facts)


def _mended(kind: type[AnyEntry], facts: Mapping[str, Any]) -> AnyEntry:
    """Read field by field, so that one that is spoiled costs only itself."""
    values: dict[str, Any] = {}
    for each in msgspec.structs.fields(kind):
        candidates = [facts[each.name]] if each.name in facts else []
        blanks = (kind.BLANK[each.name],) if each.name in kind.BLANK else _BLANKS
        values |= _first_that_fits(each, [*candidates, *(blanks if each.required else ())])
    return kind(**values)


def _first_that_fits(field: msgspec.structs.FieldInfo, candidates: list[object]) -> dict[str, Any]:
    for candidate in candidates:
        try:
            return {field.name: msgspec.convert(candidate, field.type)}
        except msgspec.ValidationError:
            continue
    return {}
