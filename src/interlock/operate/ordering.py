"""From a command line to an order: everything that can be checked before anything starts."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from interlock.errors import UsageError, reason_of
from interlock.foreign_text import one_line
from interlock.operate.agreed_deletions import read_agreed
from interlock.settings.values import Settings, StateSettings, parse_duration
from interlock.site.in_sight import check_reads, find_encryption
from interlock.site.kinds import is_queue_near, space_behind_door
from interlock.site.ref import Own
from interlock.site.which import holds_configuration, ref_of_run
from interlock.trust.checkout import CI_MARKS, is_watched
from interlock.trust.ownership import make_folder

if TYPE_CHECKING:
    from interlock.policy.policy import Policy
    from interlock.run.binary import Binary
    from interlock.run.order import Look, Operation, Order
    from interlock.site.in_sight import Encryption
    from interlock.terraform.command import PlanMode

_BRANCH_CHARS = 200
_PATIENCE_S = 15.0  # a waiting supervisor speaks every few seconds, so a silent one is dead
_ONSITE = (30.0, 8.0, 60.0)  # lease, heartbeat and patience beside S3: some 8 writes a minute instead of 40


class Asked(Struct, frozen=True, kw_only=True):
    """One run as typed on the command line; see `interlock.cli.run`."""

    operation: Operation
    directory: Path
    extra: tuple[str, ...] = ()
    state: str | None = None
    wait: str | None = None
    no_wait: bool = False
    terraform: str | None = None
    json: bool = False
    brief: bool = False
    quiet: bool = False
    first_apply: bool = False
    auto_approve: bool = False
    plan_file: Path | None = None
    plan_digest: str | None = None
    allow_other_files: bool = False
    out: Path | None = None
    max_deletes: int | None = None
    allow_destroy: bool = False
    detailed_exitcode: bool = False
    no_gateway: bool = False
    deadline: str | None = None
    retries: int = 1
    drift_gate: bool = False
    gate: bool = False
    look: Look | None = None
    command: tuple[str, ...] = ()
    approval: str = ""
    withheld: tuple[str, ...] = ()


def make_order(
    asked: Asked,
    directory: Path,
    settings: Settings,
    environ: Mapping[str, str],
    *,
    run: str,
    say: Callable[[str], None],
) -> Order:
    """Check what can be checked before anything starts, and return the order.

    It opens no home: that is the supervisor's, and a front end that waited for a store would wait twice.

    Args:
        asked: What was typed.
        directory: Its root module; see `root_module`.
        settings: Those that hold there, with what was typed above them.
        environ: The environment of the run.
        run: The id that the run gets.
        say: Tells the person something before anything runs.

    Raises:
        UsageError: A flag or a setting is wrong, or the configuration uses a backend that is not supported.
    """
    from interlock.run.binary import check_program, find_binary

    if asked.extra:
        from interlock.terraform.command import divide_flags

        divide_flags(asked.extra)
    binary = find_binary(settings.terraform, environ)
    if word := check_program(
        binary, asked=settings.terraform, directory=directory, environ=environ, watched=is_watched(environ)
    ):
        say(word)
    check_reads(binary.name, directory)
    order = _order(asked, directory, settings, environ, binary, run)
    _make_home(settings.home)
    return order


def _check_out(out: Path | None) -> str | None:
    if out is None:
        return None
    where = out.absolute()
    if where.is_dir() or not where.parent.is_dir():
        why = "it is a folder" if where.is_dir() else f"there is no folder {where.parent}"
        raise UsageError(f"a plan cannot be kept in {out}", why=why, fix="name a file in a folder that exists")
    return str(where)


def _make_home(home: Path) -> None:
    try:
        make_folder(home)
        for folder in ("runs", "trees", "cache"):
            make_folder(home / folder)
    except OSError as error:
        raise UsageError(
            f"the folder {home} cannot be made",
            why=reason_of(error),
            fix="set INTERLOCK_HOME to a folder that can be written",
        ) from error


def root_module(directory: Path) -> Path:
    """Return the folder of a root module, absolute.

    Raises:
        UsageError: It is none.
    """
    where = directory.absolute()
    if not where.is_dir():
        raise UsageError(f"{directory} is not a folder", fix="name the folder of a root module")
    try:
        if holds_configuration(where):
            return where.resolve()
    except OSError as error:
        raise UsageError(f"{directory} cannot be read", why=reason_of(error), fix=f"ls -ld {directory}") from error
    raise UsageError(
        f"{directory} holds no Terraform configuration",
        why="there is no .tf file in it",
        fix="name the folder of a root module",
    )


def _order(
    asked: Asked, directory: Path, settings: Settings, environ: Mapping[str, str], binary: Binary, run: str
) -> Order:
    from interlock import host
    from interlock.run.binary import tool_of
    from interlock.run.order import Look, Operation, Order

    extra = (*_flags_of(environ), *flags_of_environment(environ, asked.operation), *asked.extra)
    ref = ref_of_run(directory, settings, environ, extra, tool=tool_of(binary.name), named=asked.state).for_runs()
    where = ref.where
    own = settings.states.get(ref.queue.partition("@")[0] if ref.is_own else settings.state_for(directory) or ref.queue)
    pace = _pace(settings, elsewhere=not is_queue_near(ref))
    space = where.workspace if isinstance(where, Own) else space_behind_door(ref)
    encryption = _encryption(binary.name, directory, environ, space=space)
    max_deletes = _max_deletes(asked, settings, own)
    return Order(
        run=run,
        operation=asked.operation,
        directory=str(directory),
        state=ref.queue,
        who=host.who(),
        home=str(settings.home),
        server=settings.server or "",
        terraform=binary.name,
        extra=extra,
        auto_approve=asked.auto_approve,
        wait_s=parse_duration(asked.wait) if asked.wait is not None else settings.wait_s,
        queue=not asked.no_wait,
        plan_file=_file(asked.plan_file),
        plan_digest=_digest(asked),
        allow_other_files=asked.allow_other_files,
        out=_check_out(asked.out),
        max_deletes=max_deletes,
        protected=own.protected if own else False,
        allow_destroy=asked.allow_destroy,
        agreed=read_agreed(settings.path)
        if (own and own.protected) or settings.policies or max_deletes is not None
        else (),
        policies=_policies_for(settings, ref.queue),
        approval=asked.approval,
        withheld=asked.withheld,
        branch=_branch(environ),
        gate=asked.gate,
        detailed_exitcode=asked.detailed_exitcode,
        lease_s=pace[0],
        heartbeat_s=pace[1],
        patience_s=pace[2],
        backend="" if isinstance(where, Own) else where.found.type,
        job=_job_url(environ),
        deadline_s=parse_duration(asked.deadline) if asked.deadline else None,
        retries=asked.retries,
        gateway=not asked.no_gateway,
        in_place=isinstance(where, Own) and where.in_place,
        protect=settings.protect_terraform,
        workspace=space,
        former=where.former if isinstance(where, Own) else (),
        named=asked.state is not None,
        module=_module(directory),
        encrypted=encryption.where if encryption is not None else "",
        encryption_asks=encryption is not None and encryption.asks,
        look=asked.look or Look(),
        command=asked.command,
        first_apply=asked.first_apply,
        in_ci=any(environ.get(mark) for mark in CI_MARKS),
        is_watched=is_watched(environ),
        drift_gate=(asked.operation is Operation.APPLY or asked.gate) and _gates_drift(asked, settings),
    )


def _gates_drift(asked: Asked, settings: Settings) -> bool:
    return asked.drift_gate or settings.sections.get("drift", {}).get("gate", False)


def _encryption(program: str, directory: Path, environ: Mapping[str, str], *, space: str) -> Encryption | None:
    """Return what encrypts the state, where anything does.

    Raises:
        UsageError: It is that of a workspace that a run keeps in a file.
    """
    found = find_encryption(program, directory, environ)
    if found is not None and space not in {"", "default"}:
        raise UsageError(
            f"the state of workspace {space} cannot be encrypted",
            why=f"{found.where}; a run in this workspace works with the local backend",
            fix="give it a root module of its own, or a backend with workspaces",
        )
    return found


def _policies_for(settings: Settings, state: str) -> tuple[Policy, ...]:
    if not settings.policies:
        return ()
    from interlock.policy.policy import join
    from interlock.policy.reading import read_policies

    return join(read_policies(settings.policies), state).each


def _max_deletes(asked: Asked, settings: Settings, own: StateSettings | None) -> int | None:
    """Return the limit on deletions: what was typed is above all others, the environment's above that of a file."""
    of_state = own.max_deletes if own else None
    if settings.origins.get("max_deletes") == "environment":
        limits = (asked.max_deletes, settings.max_deletes, of_state)
    else:
        limits = (asked.max_deletes, of_state, settings.max_deletes)
    return next((limit for limit in limits if limit is not None), None)


def _module(directory: Path) -> str:
    """Return a root module's path in its repository, which is the same in every checkout; empty outside one."""
    top = next((folder for folder in (directory, *directory.parents) if (folder / ".git").exists()), None)
    return "" if top is None else directory.relative_to(top).as_posix()


def _flags_of(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the `-backend-config` flags of the environment, whose variables are withheld from a run's Terraform."""
    if not any("backend-config" in environ.get(name, "") for name in ("TF_CLI_ARGS", "TF_CLI_ARGS_init")):
        return ()
    from interlock.existing.discovery import environment_configs

    return tuple(f"-backend-config={value}" for value in environment_configs(environ))


def flags_of_environment(environ: Mapping[str, str], operation: Operation) -> tuple[str, ...]:
    """Return the flags by which the environment says what is planned, as plain Terraform takes them for this command.

    Of these variables a run's Terraform gets `TF_CLI_ARGS_plan` alone, since the others hold flags for what a run does
    by itself. Without the values and objects that they name, another plan would be made, and applied.

    Raises:
        UsageError: One asks for a plan of another kind, or cannot be read.
    """
    verb = _VERBS.get(operation.value)
    if verb is None or not any(name.startswith(_ARGUMENTS) for name in environ):
        return ()
    _planned_by(environ, f"{_ARGUMENTS}_plan", operation)
    names = [name for name in (f"{_ARGUMENTS}_{verb}", _ARGUMENTS) if name != f"{_ARGUMENTS}_plan"]
    return tuple(flag for name in names for flag in _planned_by(environ, name, operation))


_ARGUMENTS = "TF_CLI_ARGS"
_VERBS = {"plan": "plan", "drift": "plan", "apply": "apply", "destroy": "destroy", "refresh": "refresh"}
_KINDS: Mapping[str, PlanMode] = {"destroy": "destroy", "drift": "refresh-only", "refresh": "refresh-only"}


def _planned_by(environ: Mapping[str, str], name: str, operation: Operation) -> tuple[str, ...]:
    from interlock.terraform.command import flags_for_plan

    try:
        words = shlex.split(environ.get(name, ""))
        return flags_for_plan(words, mode=_KINDS.get(operation.value, "normal"))
    except ValueError:
        raise UsageError(f"{name} cannot be read", why="a quote has no other half", fix=f"unset {name}") from None
    except UsageError as error:
        why = f"{error.what}: {error.why}" if error.why else error.what
        raise UsageError(f"{name} does not fit interlock {operation.value}", why=why, fix=f"unset {name}") from None


def _pace(settings: Settings, *, elsewhere: bool) -> tuple[float, float, float]:
    """Return lease, heartbeat and patience in seconds: rarer where each sign of life is a request that is paid for."""
    chosen = {settings.origins.get("lease_s"), settings.origins.get("heartbeat_s")} != {None}
    if not elsewhere:
        return settings.lease_s, settings.heartbeat_s, _PATIENCE_S
    return (settings.lease_s, settings.heartbeat_s, _ONSITE[2]) if chosen else _ONSITE


_BRANCHES = (
    ("GITHUB_ACTIONS", ("GITHUB_REF",)),  # refs/pull/12/merge for a change
    ("GITLAB_CI", ("CI_MERGE_REQUEST_IID", "CI_COMMIT_REF_NAME")),
    ("TF_BUILD", ("SYSTEM_PULLREQUEST_PULLREQUESTID", "BUILD_SOURCEBRANCH")),
    ("JENKINS_URL", ("CHANGE_ID", "BRANCH_NAME")),
)


def _branch(environ: Mapping[str, str]) -> str:
    """Return the branch or change of a CI job, with the variable that says so: a change 12 is not a branch 12."""
    for mark, names in _BRANCHES:
        if environ.get(mark):
            found = next((f"{name}={environ[name]}" for name in names if environ.get(name)), "")
            return one_line(found, limit=_BRANCH_CHARS)
    return ""


def _job_url(environ: Mapping[str, str]) -> str | None:
    if not any(environ.get(mark) for mark in CI_MARKS):
        return None  # outside CI the room of CI files need not be imported
    from interlock.ci.job import find_job

    job = find_job(environ)
    return one_line(job.url) if job and job.url else None


def _file(path: Path | None) -> str | None:
    if path is None:
        return None
    if not path.is_file():
        raise UsageError(f"there is no plan file {path}", fix="interlock plan --out FILE")
    from interlock.run.plan_size import check_plan_file

    check_plan_file(path)
    return str(path.absolute())


def _digest(asked: Asked) -> str | None:
    if asked.plan_digest is None:
        return None
    from interlock.run.planned_files import SHORT_DIGEST, is_digest

    if asked.plan_file is None:
        raise UsageError("--plan-digest says which saved plan to apply, and there is none", fix="add --plan FILE")
    if not is_digest(asked.plan_digest):
        why = f"it has at least {SHORT_DIGEST} hexadecimal digits"
        raise UsageError(f"{asked.plan_digest!r} is not a digest of a plan", why=why, fix="sha256sum FILE")
    return asked.plan_digest
