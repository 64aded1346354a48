"""What a person or pipeline asked of a run: plain data that crosses from the front end to the supervisor."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

import msgspec

from interlock.bounded import decode_json
from interlock.errors import UsageError, reason_of
from interlock.policy.policy import Policy

MASK = "(masked)"
_MASKED = f"={MASK}"
ORDER_FILE = "order.json"
"""Its file in the run's folder, without what is secret."""


class Operation(Enum):
    """The supervised operations."""

    PLAN = "plan"
    APPLY = "apply"
    DESTROY = "destroy"
    DRIFT = "drift"
    REFRESH = "refresh"
    EXEC = "exec"
    """A command of Terraform that changes the state; see `interlock.terraform.state_command`."""
    READ = "read"
    """One that reads it."""


RUNS_A_COMMAND = frozenset({Operation.EXEC, Operation.READ})


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What a drift scan looks for beside the state; see `interlock.drift.Look`."""

    types: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    divisions: tuple[str, ...] = ()


AGREED_FILE = "interlock.deletions.json"
"""Beside interlock.yaml: deletions to which reviewers agreed. It is part of the change that they reviewed."""

MAX_AGREED = 100  # objects of one consent; who deletes more should sit in front of it


class Agreed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A consent to deletions, for one version of one state.

    Attributes:
        state: Its name, which reviewers read; the consent is for no other.
        lineage: Of the state.
        serial: Its serial when the deletions were planned; an apply makes another one, and uses the consent up.
        objects: Addresses that may be deleted or replaced.
    """

    state: str
    lineage: str
    serial: int
    objects: tuple[str, ...]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One run as ordered. Paths are absolute; the environment goes by inheritance.

    Only `extra` may hold secrets, when a person types them; they go to the supervisor alone, see `without_secrets`.

    Attributes:
        run: Run id.
        operation: What to do.
        directory: The root module.
        state: State name.
        who: `user@host`, and the CI job where there is one.
        home: Interlock's home; the run's own folder is in it.
        server: The server that keeps queue and state; empty for this machine's own.
        terraform: Binary that was asked for; None to search.
        extra: Flags for Terraform, as given after `--`.
        auto_approve: Apply without asking.
        wait_s: Longest wait for the turn; None for no bound.
        queue: False: fail immediately when the state is locked.
        plan_file: A saved plan to apply; None to make one.
        plan_digest: Digest, whole or short, that the saved plan must have; None when nobody named one.
        allow_other_files: A saved plan may have been made from other files or values than the ones here.
        out: Where a copy of the plan is to be kept; None for nowhere.
        max_deletes: Most deletions; None for no limit.
        protected: Deletions need `allow_destroy`.
        allow_destroy: The person allowed deletions on a protected state.
        agreed: Deletions to which reviewers agreed, of any state.
        gate: A plan that an apply would be refused for is refused itself.
        detailed_exitcode: Exit 2 when a plan has changes.
        lease_s: Lease length.
        heartbeat_s: Renewal period.
        job: URL of the CI job, when the run is part of one.
        deadline_s: Longest time that an apply may need of the API budget; None for no bound.
        retries: How often a run begins again from a fresh plan after a failure that passes.
        gateway: Whether the API gateway stands before Genesys Cloud.
        in_place: The configuration declares an empty `backend "http" {}` itself.
        backend: Type of the configuration's own backend, when the state stays there; empty for ours.
        workspace: Terraform's workspace of a state that only we write; empty where Terraform's own backend is used.
        former: Names under which the state may have been kept before it got this one.
        named: The person named the state with `--state`, so that no other can be meant.
        patience_s: Silence after which a waiting supervisor is passed over.
        module: The root module's path in its repository; empty outside one.
        look: What a drift scan looks for beside the state.
        protect: Whether Terraform hears signals to whole process trees: `auto`, `always` or `never`.
        encrypted: What has OpenTofu encrypt the state, the plan or both; empty when nothing does.
        encryption_asks: That refers to variables, so every command gets their values.
        drift_gate: An apply reverts drift only where somebody decided so.
        first_apply: The person says that nothing was ever stored for this root module.
        in_ci: It was ordered by a CI job.
        is_watched: A person at a terminal sees it.
        command: Words of a command of Terraform, for `EXEC` and `READ`; its values are in `extra`.
        policies: Those of the operator and the repository for this state; the home's own are joined in its store.
        branch: The branch or change whose job this is, as the CI system calls it; empty outside of one.
        approval: The request for approval of which it applies the kept plan; empty for a run of its own.
        withheld: Variables that were given when that plan was made, whose values were not kept and are not given now.
    """

    run: str
    operation: Operation
    directory: str
    state: str
    who: str
    home: str
    terraform: str | None = None
    extra: tuple[str, ...] = ()
    auto_approve: bool = False
    wait_s: float | None = None
    queue: bool = True
    plan_file: str | None = None
    plan_digest: str | None = None
    allow_other_files: bool = False
    out: str | None = None
    max_deletes: int | None = None
    protected: bool = False
    allow_destroy: bool = False
    agreed: tuple[Agreed, ...] = ()
    gate: bool = False
    detailed_exitcode: bool = False
    lease_s: float = 6.0
    heartbeat_s: float = 1.5
    job: str | None = None
    deadline_s: float | None = None
    retries: int = 1
    gateway: bool = True
    in_place: bool = False
    protect: str = "auto"
    backend: str = ""
    workspace: str = ""
    former: tuple[str, ...] = ()
    named: bool = False
    patience_s: float = 15.0
    module: str = ""
    look: Look = Look()
    encrypted: str = ""
    encryption_asks: bool = False
    drift_gate: bool = False
    first_apply: bool = False
    in_ci: bool = False
    is_watched: bool = False
    command: tuple[str, ...] = ()
    policies: tuple[Policy, ...] = ()
    approval: str = ""
    withheld: tuple[str, ...] = ()
    branch: str = ""
    server: str = ""


def is_in_space(order: Order) -> bool:
    """Whether Terraform works on a copy: in a workspace other than `default` of a state that only we write."""
    return order.workspace not in {"", "default"}


def encode(order: Order) -> bytes:
    """Return the order as JSON."""
    return msgspec.json.encode(order)


def without_secrets(order: Order) -> Order:
    """Return the order as it may be kept on disk: values of `-var` and credentials of `-backend-config` are masked."""
    return msgspec.structs.replace(order, extra=tuple(_masked(order.extra))) if order.extra else order


def kept_flags(flags: tuple[str, ...]) -> tuple[str, ...]:
    """Return the flags that are whole: nothing is left of those whose values `without_secrets` masked."""
    kept: list[str] = []
    for word in flags:
        if not word.endswith(_MASKED):
            kept.append(word)
        elif not word.startswith("-"):
            kept.pop()  # the `-var` before it, which would take the next flag for its value
    return tuple(kept)


def withheld_variables(flags: tuple[str, ...], given: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the names of variables whose values `without_secrets` masked, but for those that other flags give."""
    here = {key for key, _ in _variables(given)}
    return tuple(dict.fromkeys(key for key, value in _variables(flags) if value == MASK and key not in here))


def _variables(flags: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for name, text in _assignments(flags):
        key, given, value = text.partition("=")
        if name == "var" and given:
            yield key.strip(), value


def _assignments(flags: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the name of each flag and what it is given, in one word or in two."""
    before = ""
    for word in flags:
        name, equals, value = word.lstrip("-").partition("=") if word.startswith("-") else (before, "", word)
        yield name, value
        before = name if word.startswith("-") and not equals else ""


def _masked(flags: tuple[str, ...]) -> Iterator[str]:
    for word, (name, value) in zip(flags, _assignments(flags), strict=True):
        key, given, text = value.partition("=")
        if given and (name == "var" or (name == "backend-config" and _is_credential(key.strip(), text))):
            yield f"{word[: len(word) - len(value)]}{key}={MASK}"
        else:
            yield word


def _is_credential(name: str, text: str) -> bool:
    from interlock.existing.vocabulary import is_credential  # few runs have such flags

    return is_credential(name, text)


def decode(text: bytes) -> Order:
    """Read an order that `encode` wrote.

    Raises:
        UsageError: The text is not an order of this version.
    """
    try:
        return decode_json(text, type=Order)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError("the run's order cannot be read", why=reason_of(error), fix="start a new run") from error
