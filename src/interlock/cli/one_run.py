"""One run as a person orders it and follows it, from what was typed to its exit status.

Knows no parser: `run.py` reads a command line with Typer, `quick_run.py` reads a plain one, and both end here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TextIO

from interlock.errors import StateNotSaved, UsageError, command

if TYPE_CHECKING:
    from interlock.cli.many import Choice, Conclusion
    from interlock.operate.ordering import Asked
    from interlock.run.spare import Spare
    from interlock.run.transcript import Entry

_FIELDS = {"plan": "plan_file", "run": "approval"}
"""Options that have another name in `Asked`, since theirs says too little there."""


def perform(
    operation: str,
    directory: Path,
    extra: Sequence[str] | None,
    *,
    everything: bool = False,
    changed: str | None = None,
    jobs: int | None = None,
    spare: Spare | None = None,
    **options: Any,
) -> int:
    """Do a whole run, or those of several roots; return the exit status.

    Args:
        operation: `plan`, `apply` or `destroy`.
        directory: The first folder.
        extra: Further folders, and Terraform's flags.
        everything: Every root of interlock.yaml.
        changed: Only roots that differ from this base.
        jobs: Most roots at once.
        spare: The supervisor that was started already.
        options: The others, by their names in `interlock.options` with underscores; those that were not given may be
            left out.
    """
    from interlock.operate.ordering import Asked
    from interlock.run.order import Operation

    directory, flags = divide(directory, list(extra or ()))
    folders, flags = divide_folders(directory, flags)
    fields = {_FIELDS.get(name, name): value for name, value in options.items()}
    if (approval := fields.pop("approval", None)) is not None:
        several = everything or changed is not None or len(folders) > 1
        _check_alone(approval, plan_file=fields.get("plan_file"), several=several)
        fields.update(approval=approval, auto_approve=True)
    asked = Asked(operation=Operation(operation), directory=folders[0], extra=flags, **fields)
    return carry_out(asked, choice_of(folders, everything=everything, changed=changed, jobs=jobs), spare)


def _check_alone(run: str, *, plan_file: Path | None, several: bool) -> None:
    if not run:  # else it would be an ordinary apply, approved by nobody
        raise UsageError(
            "--run names no run", why="it is empty, as a variable that is not set", fix="interlock approvals"
        )
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


def carry_out(asked: Asked, choice: Choice | None, spare: Spare | None) -> int:
    """Order a run, or those of several roots, follow it, and return the exit status."""
    from interlock.cli import view
    from interlock.compose.ordering import order_run

    if asked.operation.value in {"apply", "destroy"} and not asked.auto_approve and not sys.stdin.isatty():
        raise UsageError(
            "nobody can approve the plan: stdin is not a terminal",
            why="an apply is asked for, or approved beforehand",
            fix="repeat with --auto-approve, or run it at a terminal",
        )
    if choice is not None:
        from interlock.cli.many import run_many

        return run_many(asked, choice, concluded, spare)
    if asked.approval:
        from interlock.compose.approving import as_approved

        asked = as_approved(asked, os.environ)
    front = order_run(with_missing_values(asked), os.environ, spare, say=view.note)
    from interlock.cli.follow import Follower  # the run goes on while it loads

    answers = answers_for(asked)
    follower = Follower(front.folder, quiet=asked.json, brief=asked.brief, silent=asked.quiet)
    end = front.follow(follower.show, answers=answers, tick=follower.tick) or after_a_kill(front.folder)
    return conclude(end, folder=front.folder, json=asked.json)


def with_missing_values(asked: Asked, label: str = "") -> Asked:
    """Ask a person for the variables that nobody gave, as Terraform does: a supervised one has nobody to ask.

    Args:
        asked: What was typed.
        label: Goes before each question: the root, where there are several.
    """
    from msgspec.structs import replace

    from interlock.operate.ordering import flags_of_environment, root_module
    from interlock.trust.checkout import is_watched

    if asked.plan_file is not None or asked.approval or asked.json or not is_watched(os.environ):
        return asked
    from interlock.cli import view
    from interlock.operate.missing_values import find_missing

    given = []
    extra = (*flags_of_environment(os.environ, asked.operation), *asked.extra)
    for wanted in find_missing(root_module(asked.directory), extra, os.environ):
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
