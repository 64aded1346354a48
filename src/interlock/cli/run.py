"""`interlock plan | apply | destroy`: one supervised run."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from interlock.cli import completing
from interlock.errors import StateNotSaved, UsageError, command
from interlock.options import run_option

if TYPE_CHECKING:
    from interlock.cli.many import Choice, Conclusion
    from interlock.operate.ordering import Asked
    from interlock.run.spare import Spare
    from interlock.run.transcript import Entry

plan_app = typer.Typer()
apply_app = typer.Typer()
destroy_app = typer.Typer()

Directory = Annotated[
    Path, typer.Argument(help="The root module; several for several roots.", metavar="[DIR…]", show_default="here")
]
Extra = Annotated[list[str] | None, typer.Argument(help="Flags for Terraform, after --.", metavar="[-- FLAGS…]")]


def run_flag(name: str, *, short: str = "", **more: Any) -> Any:
    """Return an option of runs as Typer has it; see `interlock.options`."""
    option = run_option(name)
    return typer.Option(
        option.flag, *([short] if short else []), help=option.help, metavar=option.value or None, **more
    )


State = Annotated[str | None, run_flag("state", autocompletion=completing.states)]
Wait = Annotated[str | None, run_flag("wait")]
NoWait = Annotated[bool, run_flag("no-wait")]
Terraform = Annotated[str | None, run_flag("terraform")]
Json = Annotated[bool, run_flag("json")]
Brief = Annotated[bool, run_flag("brief")]
Quiet = Annotated[bool, run_flag("quiet", short="-q")]
AutoApprove = Annotated[bool, run_flag("auto-approve")]
MaxDeletes = Annotated[int | None, run_flag("max-deletes", min=0)]
AllowDestroy = Annotated[bool, run_flag("allow-destroy")]
FirstApply = Annotated[bool, run_flag("first-apply")]
DriftGate = Annotated[bool, run_flag("drift-gate")]
NoGateway = Annotated[bool, run_flag("no-gateway")]
Deadline = Annotated[str | None, run_flag("deadline")]
Retries = Annotated[int, run_flag("retries", min=0, max=10)]
All = Annotated[bool, run_flag("all")]
Changed = Annotated[str | None, run_flag("changed")]
Jobs = Annotated[int | None, run_flag("jobs", min=1, max=32)]


@plan_app.command()
def plan(
    ctx: typer.Context,
    directory: Directory = Path(),
    extra: Extra = None,
    *,
    everything: All = False,
    changed: Changed = None,
    jobs: Jobs = None,
    state: State = None,
    wait: Wait = None,
    no_wait: NoWait = False,
    terraform: Terraform = None,
    out: Annotated[Path | None, run_flag("out")] = None,
    detailed_exitcode: Annotated[bool, run_flag("detailed-exitcode")] = False,
    gate: Annotated[bool, run_flag("gate")] = False,
    no_gateway: NoGateway = False,
    brief: Brief = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Queue for the state, then plan under its lock."""
    from interlock.operate.ordering import Asked
    from interlock.run.order import Operation

    directory, flags = divide(directory, extra)
    folders, flags = divide_folders(directory, flags)
    _run(
        Asked(
            operation=Operation.PLAN,
            directory=folders[0],
            extra=flags,
            state=state,
            wait=wait,
            no_wait=no_wait,
            terraform=terraform,
            out=out,
            detailed_exitcode=detailed_exitcode,
            gate=gate,
            no_gateway=no_gateway,
            brief=brief,
            quiet=quiet,
            json=json,
        ),
        choice_of(folders, everything=everything, changed=changed, jobs=jobs),
        ctx.obj,
    )


@apply_app.command()
def apply(
    ctx: typer.Context,
    directory: Directory = Path(),
    extra: Extra = None,
    *,
    everything: All = False,
    changed: Changed = None,
    jobs: Jobs = None,
    state: State = None,
    auto_approve: AutoApprove = False,
    run: Annotated[str | None, run_flag("run")] = None,
    plan_file: Annotated[Path | None, run_flag("plan")] = None,
    plan_digest: Annotated[str | None, run_flag("plan-digest")] = None,
    allow_other_files: Annotated[bool, run_flag("allow-other-files")] = False,
    max_deletes: MaxDeletes = None,
    allow_destroy: AllowDestroy = False,
    wait: Wait = None,
    no_wait: NoWait = False,
    deadline: Deadline = None,
    retries: Retries = 1,
    terraform: Terraform = None,
    no_gateway: NoGateway = False,
    drift_gate: DriftGate = False,
    first_apply: FirstApply = False,
    brief: Brief = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Plan, show, ask, and apply exactly that plan."""
    from interlock.operate.ordering import Asked
    from interlock.run.order import Operation

    directory, flags = divide(directory, extra)
    folders, flags = divide_folders(directory, flags)
    if run is not None:
        _check_alone(run, plan_file=plan_file, several=everything or changed is not None or len(folders) > 1)
    _run(
        Asked(
            operation=Operation.APPLY,
            directory=folders[0],
            approval=run or "",
            extra=flags,
            state=state,
            auto_approve=auto_approve or run is not None,
            plan_file=plan_file,
            plan_digest=plan_digest,
            allow_other_files=allow_other_files,
            max_deletes=max_deletes,
            allow_destroy=allow_destroy,
            wait=wait,
            no_wait=no_wait,
            deadline=deadline,
            retries=retries,
            terraform=terraform,
            no_gateway=no_gateway,
            drift_gate=drift_gate,
            first_apply=first_apply,
            brief=brief,
            quiet=quiet,
            json=json,
        ),
        choice_of(folders, everything=everything, changed=changed, jobs=jobs),
        ctx.obj,
    )


@destroy_app.command()
def destroy(
    ctx: typer.Context,
    directory: Directory = Path(),
    extra: Extra = None,
    *,
    everything: All = False,
    changed: Changed = None,
    jobs: Jobs = None,
    state: State = None,
    auto_approve: AutoApprove = False,
    allow_destroy: AllowDestroy = False,
    wait: Wait = None,
    no_wait: NoWait = False,
    terraform: Terraform = None,
    no_gateway: NoGateway = False,
    brief: Brief = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Destroy everything the state holds: plan, show, ask, apply exactly that plan."""
    from interlock.operate.ordering import Asked
    from interlock.run.order import Operation

    directory, flags = divide(directory, extra)
    folders, flags = divide_folders(directory, flags)
    _run(
        Asked(
            operation=Operation.DESTROY,
            directory=folders[0],
            extra=flags,
            state=state,
            auto_approve=auto_approve,
            allow_destroy=allow_destroy,
            wait=wait,
            no_wait=no_wait,
            terraform=terraform,
            no_gateway=no_gateway,
            brief=brief,
            quiet=quiet,
            json=json,
        ),
        choice_of(folders, everything=everything, changed=changed, jobs=jobs),
        ctx.obj,
    )


def _check_alone(run: str, *, plan_file: Path | None, several: bool) -> None:
    if plan_file is not None or several:
        raise UsageError(
            "--run applies the one plan that was approved",
            why="it names root, state and plan itself",
            fix=command("apply", "--run", run),
        )


def divide(directory: Path, extra: list[str] | None) -> tuple[Path, tuple[str, ...]]:
    """Return the root module and Terraform's flags, also for `interlock plan -- -var x=1`, where no folder is named.

    The parser cannot tell the two apart there and takes the first flag for the folder. A folder whose name begins with
    a dash is named as `./-name`.
    """
    if str(directory).startswith("-"):
        return Path(), (str(directory), *(extra or ()))
    return directory, tuple(extra or ())


def divide_folders(directory: Path, words: tuple[str, ...]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Return the folders and Terraform's flags: words before the first flag are further root modules."""
    count = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    return (directory, *map(Path, words[:count])), words[count:]


def choice_of(folders: tuple[Path, ...], *, everything: bool, changed: str | None, jobs: int | None) -> Choice | None:
    """Return which roots a command is for; None for an ordinary one, of one root.

    Raises:
        UsageError: The flags contradict each other.
    """
    named = folders != (Path(),)
    if everything and named:
        raise UsageError(
            "--all means every root of interlock.yaml, and folders are named too",
            why="one of the two decides",
            fix="leave out --all, or the folders",
        )
    if not everything and changed is None and len(folders) == 1:
        if jobs is not None:
            raise UsageError("--jobs is for several roots", why="there is one", fix="add --all, or more folders")
        return None
    from interlock.cli.many import Choice
    from interlock.operate.many import DEFAULT_JOBS
    from interlock.operate.ordering import root_module

    where = tuple(dict.fromkeys(root_module(folder) for folder in folders)) if named else ()
    return Choice(folders=where, changed=changed, jobs=jobs or DEFAULT_JOBS)


def answers_for(asked: Asked) -> TextIO | None:
    """Return where a person's answers come from; None when nobody is asked.

    An apply that was approved beforehand may have a question all the same: whether everything is to be created.
    """
    from interlock.trust.checkout import is_watched

    return None if asked.auto_approve and not is_watched(os.environ) else sys.stdin


def _run(asked: Asked, choice: Choice | None, spare: Spare | None) -> None:
    from interlock.cli import view
    from interlock.cli.follow import Follower
    from interlock.compose.ordering import order_run

    if asked.operation.value in {"apply", "destroy"} and not asked.auto_approve and not sys.stdin.isatty():
        raise UsageError(
            "nobody can approve the plan: stdin is not a terminal",
            why="an apply is asked for, or approved beforehand",
            fix="repeat with --auto-approve, or run it at a terminal",
        )
    if choice is not None:
        from interlock.cli.many import run_many

        raise typer.Exit(run_many(asked, choice, concluded, spare))
    if asked.approval:
        from interlock.compose.approving import as_approved

        asked = as_approved(asked, os.environ)
    front = order_run(with_missing_values(asked), os.environ, spare, say=view.note)
    answers = answers_for(asked)
    follower = Follower(front.folder, quiet=asked.json, brief=asked.brief, silent=asked.quiet)
    end = front.follow(follower.show, answers=answers, tick=follower.tick) or after_a_kill(front.folder)
    raise typer.Exit(conclude(end, folder=front.folder, json=asked.json))


def with_missing_values(asked: Asked, label: str = "") -> Asked:
    """Ask a person for the variables that nobody gave, as Terraform does: a supervised one has nobody to ask.

    Args:
        asked: What was typed.
        label: Goes before each question: the root, where there are several.
    """
    from dataclasses import replace

    from interlock.operate.ordering import root_module
    from interlock.trust.checkout import is_watched

    if asked.plan_file is not None or asked.approval or asked.json or not is_watched(os.environ):
        return asked
    from interlock.cli import view
    from interlock.operate.missing_values import find_missing

    given = []
    for wanted in find_missing(root_module(asked.directory), asked.extra, os.environ):
        put = partial(_put_question, f"{label}var.{wanted.name}", wanted.description)
        given.append(f"-var={wanted.name}={view.answered(f'var.{wanted.name}', put, hidden=wanted.is_secret)}")
    return replace(asked, extra=(*asked.extra, *given)) if given else asked


def _put_question(name: str, description: str) -> None:
    from interlock.cli import view

    view.note(f"{name}  {description}".rstrip())
    view.prompt("  Enter a value:")


def results_of(folder: Path) -> dict[str, object]:
    """Return the plan and the outputs of a run for programs, each where the run has it."""
    from interlock.bounded import read_json
    from interlock.run.shown import OUTPUTS_JSON, PLAN_JSON

    found: dict[str, object] = {}
    for name, file in (("plan", PLAN_JSON), ("outputs", OUTPUTS_JSON)):
        with suppress(OSError, ValueError):  # it came not so far, or the disk was full
            found[name] = read_json((folder / file).read_bytes())
    return found


def after_a_kill(folder: Path) -> Entry:
    """The supervisor was killed. Its Terraform has been asked to stop; save what it leaves and release the lock.

    Raises:
        StateNotSaved: A signal ended the waiting, so nobody knows yet whether the state is saved.
    """
    from interlock.cli import view
    from interlock.compose.burying import bury
    from interlock.run.front_end import leaving_at_a_signal

    try:
        with leaving_at_a_signal() as is_leaving:
            view.note("the run's supervisor was killed; waiting for its Terraform to stop, to save its state")
            return bury(folder, lambda text: view.note(f"recovery: {text}"), is_leaving=is_leaving)
    except KeyboardInterrupt:
        raise StateNotSaved(
            "this command was ended before it was known whether the run's state is saved",
            why="its supervisor was killed; Terraform may still be stopping; the next run of the state saves the rest",
            fix=command("wait", folder.name),
        ) from None


def conclude(end: Entry, *, folder: Path, json: bool, more: Mapping[str, object] = MappingProxyType({})) -> int:
    """Print how a run ended and return its exit status.

    Args:
        end: Its last entry.
        folder: Its folder.
        json: Print one JSON document.
        more: What belongs into that beside.
    """
    from interlock.cli import view

    failed = end.facts["exit"] not in {0, 2}
    if json:
        view.print_json({**document_of(end, folder), **more})
    if failed:
        say_end(end)
    return int(end.facts["exit"])


def document_of(end: Entry, folder: Path) -> dict[str, object]:
    """Return what `--json` says of a run that has ended."""
    from interlock.run.summary import as_plain, find_summary

    summary = find_summary(folder)
    document = {**(as_plain(summary) if summary is not None else {}), **results_of(folder)}
    if end.facts["exit"] not in {0, 2}:
        document["error"] = {key: end.facts.get(key) for key in ("code", "exit", "what", "why", "next")}
    return document


def say_end(end: Entry) -> None:
    """Say why a run failed."""
    from interlock.cli import view
    from interlock.run.entries import EndEntry

    told = end.told
    assert isinstance(told, EndEntry), "the last entry of a run is its end"
    view.say_failure(told.code, told.what or "", told.why or "", told.next or "")


def concluded(end: Entry, folder: Path, _asked: Asked, name: str) -> Conclusion:
    """Say how the run of one root among several ended; see `interlock.cli.many`."""
    from interlock.cli import view
    from interlock.cli.many import Conclusion

    if end.facts["exit"] not in {0, 2}:
        view.note(f"{name}:")
        say_end(end)
    return Conclusion(int(end.facts["exit"]), document_of(end, folder))
