"""`interlock recover`: after a failed pipeline, step by step: lock, state, errored.tfstate, digest, plan."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import view
from interlock.cli.force_unlock import break_examined, make_override
from interlock.cli.lock import Ephemeral, Job, State, show_explained
from interlock.cli.program import program_in
from interlock.cli.state import difference, repair_in, restore_in, show_difference
from interlock.errors import InterlockError, StateInvalid, StateNotSaved, TerraformFailed, UsageError, command
from interlock.foreign_text import shell_word

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.home.interface import Home
    from interlock.operate.orphans import Orphans
    from interlock.operate.unlock import Asked
    from interlock.operate.unsaved_state import Leftover
    from interlock.recovery.terraform_lock import Override
    from interlock.site.interface import Site
    from interlock.site.ref import StateRef
    from interlock.state import Finding

app = typer.Typer()

_CHANGES = 2  # of plan -detailed-exitcode


@dataclass(slots=True)
class _Walk:
    """One walk through the procedure.

    Attributes:
        state: What the person named.
        asked: What is said about the lock's holder.
        override: Who takes responsibility, if anybody.
        yes: Answer every prompt with yes.
        dry_run: Only show.
        quiet: Print no results, only notes: JSON follows.
        accept_deletions: What is gone from the state was meant to go, whoever destroyed it.
        steps: What was found and done.
    """

    state: str
    asked: Asked
    override: Override | None
    yes: bool
    dry_run: bool
    quiet: bool
    accept_deletions: bool = False
    steps: list[dict[str, Any]] = field(default_factory=list)

    def record(self, step: str, result: str, text: str) -> None:
        """Write a step down and tell it."""
        self.steps.append({"step": step, "result": result, "text": text})
        view.note(f"{step}: {text}")

    def agrees(self, question: str) -> bool:
        """Ask, unless nothing may be changed."""
        return not self.dry_run and view.confirm(question, yes=self.yes)


Window = Annotated[str, typer.Option("--window", metavar="TIME", help="How long to watch a lock without heartbeat.")]
Verified = Annotated[
    str | None,
    typer.Option(
        "--i-have-verified",
        metavar="TEXT",
        help="What you verified of the holder, when it cannot be proven from here.",
    ),
]
Operator = Annotated[
    str | None,
    typer.Option("--operator", metavar="NAME", envvar="INTERLOCK_OPERATOR", help="Your name for the audit log."),
]
AcceptDeletions = Annotated[
    bool, typer.Option("--accept-deletions", help="All or most resources are gone from the state: that was meant.")
]
OnlyOrphans = Annotated[
    bool, typer.Option("--orphans", help="Only print `import` blocks for what runs made and no state holds.")
]
Forget = Annotated[
    list[str] | None,
    typer.Option(
        "--forget", help="With --orphans: this id is not an orphan, for instance since you deleted it.", metavar="ID"
    ),
]
LookThere = Annotated[
    bool, typer.Option("--look/--no-look", help="With --orphans: ask the organisation whether they are there.")
]
EndWithPlan = Annotated[bool, typer.Option("--plan/--no-plan", help="End with a plan.")]
Yes = Annotated[bool, typer.Option("--yes", help="Answer every prompt with yes.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def recover(
    state: State,
    *,
    job: Job = None,
    window: Window = "30s",
    ephemeral_runners: Ephemeral = False,
    verified: Verified = None,
    operator: Operator = None,
    accept_deletions: AcceptDeletions = False,
    orphans: OnlyOrphans = False,
    forget: Forget = None,
    look: LookThere = True,
    plan: EndWithPlan = True,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Walk through the recovery of a failed pipeline; each step is shown first and done only when you agree.

    Exits 13 when the lock's holder is not provably gone, 20 when the state is damaged still, 34 when the plan fails.
    """
    from interlock.operate.unlock import Asked
    from interlock.settings.values import parse_duration

    if orphans:
        asyncio.run(_orphans(state, forget or [], look=look, json=json))
        return
    if forget:
        raise UsageError("--forget names an orphan", fix=command("recover", state, "--orphans", "--forget", forget[0]))
    asked = Asked(job=job, window_s=parse_duration(window), ephemeral_runners=ephemeral_runners)
    override = None if verified is None else make_override(verified, operator)
    walk = _Walk(state=state, asked=asked, override=override, yes=yes, dry_run=dry_run, quiet=json)
    walk.accept_deletions = accept_deletions
    if status := _concluded(walk, plan=plan):
        raise typer.Exit(status)


def _concluded(walk: _Walk, *, plan: bool) -> int:
    """Go through all steps and tell what came of them; return the exit status."""
    broken, (ref, hint) = asyncio.run(_walk(walk))
    clean = None if broken or not plan else _plan(walk, ref, hint)
    values = {"state": ref.queue, "steps": walk.steps, "damaged": broken, "clean": clean}
    view.emit(values, json=walk.quiet, human=lambda: view.note("recovered" if clean else "see the steps above"))
    if broken:
        return StateInvalid.exit_status
    return TerraformFailed.exit_status if walk.steps[-1]["result"] == "failed" else 0


async def _orphans(state: str, forgotten: list[str], *, look: bool, json: bool) -> None:
    """Print the orphans of a state as `import` blocks, or as JSON."""
    from interlock.compose.homes import at_home
    from interlock.creations import spell
    from interlock.operate import orphans as operate
    from interlock.site.opening import open_meant, plan_hint
    from interlock.site.which import check_heard_of, resolve

    async with at_home(os.environ) as home:
        await check_heard_of(await resolve(state, home, os.environ), home)
        async with open_meant(state, home, os.environ) as site:
            for each in await operate.forget(site, forgotten):
                view.note(f"forgotten: {spell(each)}")
            found = await _looked_for(site, look=look)
            hint, named = await plan_hint(site.ref, home), site.ref.queue
    view.emit({"state": named, **operate.as_values(found)}, json=json, human=lambda: _show_orphans(found, state, hint))


async def _looked_for(site: Site, *, look: bool) -> Orphans:
    from interlock.compose.asking import open_ways
    from interlock.operate.orphans import find_orphans
    from interlock.site.opening import last_folder

    if not look:
        return await find_orphans(site, None, not_looked="--no-look was given")
    if not await site.home.creations.all():
        return await find_orphans(site, None)
    directory = site.ref.directory or await last_folder(site.ref, site.home)
    async with open_ways(directory, site.home, os.environ) as ways:
        return await find_orphans(site, ways.ask_of, not_looked=ways.why_not)


def _show_orphans(found: Orphans, state: str, hint: str) -> None:
    from interlock.operate.orphans import as_text

    for gone in found.gone:
        view.note(f"gone, and struck out: {gone.type} {gone.name} {gone.id}")
    if not found.found:
        view.note("everything that runs made is in a state")
        return
    if found.not_looked:
        view.note(f"the organisation was not asked whether they are still there: {found.not_looked}")
    view.document(as_text(found, state))
    view.note(f"put the blocks into a file of the configuration, then: {hint}")


async def _walk(walk: _Walk) -> tuple[bool, tuple[StateRef, str]]:
    """Go through all steps but the plan, which asks a question: only the main thread may be interrupted at one.

    Returns:
        Whether the state is damaged still; the state and the command that plans it.
    """
    from interlock.compose.burying import send_ends_of
    from interlock.compose.homes import at_home
    from interlock.site.opening import open_meant, plan_hint
    from interlock.site.which import check_heard_of, resolve

    home_at = at_home(os.environ, make=not walk.dry_run, told=view.audited, say=view.note)
    async with home_at as home:
        await check_heard_of(await resolve(walk.state, home, os.environ), home)
        await _lock(walk, home)
        async with open_meant(walk.state, home, os.environ) as site:
            await _leftovers(walk, site)
            broken = await _state(walk, site)
            await _name_tainted(walk, site)
            await _name_orphans(walk, site)
            hint = await plan_hint(site.ref, site.home)
        if not walk.dry_run:
            await send_ends_of(home)
    return broken, (site.ref, hint)


async def _lock(walk: _Walk, home: Home) -> None:
    """Judge the lock and break it on proof.

    Raises:
        LockHeld: It may not be broken; nothing else may be touched then.
    """
    from interlock.operate.unlock import judged_of, open_case
    from interlock.recovery.terraform_lock import check_may_break

    async with open_case(walk.state, walk.asked, home, os.environ) as case:
        found = await case.examine()
        if found.lock is None:
            walk.record("lock", "ok", "it is not locked")
            return
        if not walk.quiet:
            show_explained(found)
        if found.orphaned:
            await _take_over(walk, home, found.orphaned)
            return
        if walk.dry_run:
            check_may_break(judged_of(found), walk.override)
            walk.record("lock", "offered", f"would be broken: {found.lock['id']}")
            return
        freed = await break_examined(case, found, walk.override, yes=walk.yes)
        if freed is None:
            raise InterlockError(
                "stopped: the lock is still there", why="you said no", fix=command("recover", walk.state)
            )
        kept = f"; the state as it was: {freed.snapshot}" if freed.snapshot else ""
        walk.record("lock", "done", f"{freed.text}{kept}")


async def _take_over(walk: _Walk, home: Home, run: str) -> None:
    """End a run whose supervisor was killed while its Terraform works on, as the next run in line would.

    Raises:
        InterlockError: The person said no.
    """
    from interlock.compose.burying import take_over

    if walk.dry_run:
        walk.record("lock", "offered", f"the Terraform of run {run} would be stopped, and what it made saved")
        return
    if not walk.agrees(f"The supervisor of run {run} was killed. Stop its Terraform safely and save what it made?"):
        raise InterlockError("stopped: the lock is still there", why="you said no", fix=command("wait", run))
    end = await take_over(home.runs / run, lambda text: view.note(f"recovery: {text}"))
    walk.record("lock", "done", f"run {run} has ended, and its lock was given back: {command('runs', 'show', run)}")
    if end.facts.get("exit") == StateNotSaved.exit_status:
        what, why, next_ = (end.facts.get(name) for name in ("what", "why", "next"))
        walk.record("run", "undecided", f"{what}: {why}; next: {next_}")


async def _leftovers(walk: _Walk, site: Site) -> None:
    from interlock.operate.unsaved_state import find_files, judge_file

    files = find_files(site.ref, site.home.runs)
    if not files:
        walk.record("errored.tfstate", "ok", "no run left an unsaved state")
    for path in files:
        leftover = await judge_file(path, site)
        await _leftover(walk, site, leftover)


async def _leftover(walk: _Walk, site: Site, leftover: Leftover) -> None:
    from interlock.operate.unsaved_state import Fit, put_away

    match leftover.fit:
        case Fit.REFUSED:
            text = f"{leftover.path} may not become the state ({leftover.why}); it is left where it is"
            walk.record("errored.tfstate", "refused", text)
        case Fit.STORED:
            text = f"{leftover.path} is stored already"
            if walk.agrees(f"Put {leftover.path}, whose content is stored already, away?"):
                text = f"{text}; moved to {await put_away(leftover, site.ref, site.home)}"
            walk.record("errored.tfstate", "ok", text)
        case Fit.FOLLOWS:
            await _push(walk, site, leftover)


async def _push(walk: _Walk, site: Site, leftover: Leftover) -> None:
    from interlock.operate.unsaved_state import put_away
    from interlock.state import EncryptedDocument

    assert leftover.document is not None
    try:
        current = await site.versions.document(None)
    except InterlockError:
        view.note("  the current state cannot be read, so there is nothing to compare with")
    else:
        if isinstance(leftover.document, EncryptedDocument):
            view.note("  it is encrypted, so what it would change cannot be shown")
        elif not walk.quiet:
            show_difference(difference(current, leftover.document))
    serial = leftover.document.serial
    if not walk.agrees(f"Push {leftover.path} as serial {serial}?"):
        walk.record("errored.tfstate", "offered", f"{leftover.path} (serial {serial}) follows the state; not pushed")
        return
    await site.versions.push(leftover.body, force=False)
    kept = await put_away(leftover, site.ref, site.home)
    walk.record("errored.tfstate", "done", f"{leftover.path} was stored as serial {serial} and moved to {kept}")


async def _state(walk: _Walk, site: Site) -> bool:
    """Verify, and offer what puts it right; say whether it is damaged still."""
    from interlock.recovery.damage import UNDECIDED

    findings = await _findings(site)
    faults = [finding for finding in findings if finding.refuses]
    if not faults:
        return await _undecided(walk, site, [finding for finding in findings if finding.code in UNDECIDED])
    for fault in faults:
        walk.record("state", "damaged", f"{fault.code}: {fault.message}")
    if any(fault.code in {"state-lost", "state-gone"} for fault in faults):
        walk.record("restore", "refused", "no step can be chosen for you: an older state would hide that one was lost")
        return True
    if {fault.code for fault in faults} == {"digest-mismatch"}:
        done = await repair_in(site, yes=walk.yes, dry_run=walk.dry_run)
        word = "repaired" if done["done"] else "not repaired"
        walk.record("digest", "done" if done["done"] else "offered", word)
    else:
        done = await restore_in(site, walk.state, None, yes=walk.yes, dry_run=walk.dry_run)
        word = f"restored as serial {done['serial']}" if done["done"] else "not restored"
        walk.record("restore", "done" if done["done"] else "offered", word)
    return bool(not done["done"] or any(finding.refuses for finding in await _findings(site)))


async def _undecided(walk: _Walk, site: Site, doubts: list[Finding]) -> bool:
    """Ask whether what is gone was meant to go. `--yes` does not answer that; say whether it stays open."""
    if not doubts:
        walk.record("state", "ok", "whole, and follows from the one before")
        return False
    for doubt in doubts:
        walk.record("state", "undecided", f"{doubt.code}: {doubt.message}")
    asked = not (walk.accept_deletions or walk.yes or walk.dry_run)
    if walk.accept_deletions or (asked and view.confirm("Was that meant, so that the state is right?", yes=False)):
        await site.versions.accept_deletions()
        walk.record("state", "ok", "what is gone was meant to go, as you say; written to the audit log")
        return False
    choose = command("state", "history", walk.state), command("recover", walk.state, "--accept-deletions")
    walk.record("restore", "offered", f"if it was a loss: {choose[0]}, then restore one; if it was meant: {choose[1]}")
    return True


async def _name_tainted(walk: _Walk, site: Site) -> None:
    """Name what the next apply replaces only because a run was stopped or failed, and offer to keep it."""
    from interlock.compose.asking import open_ways
    from interlock.run.tainted import find_tainted, look_at_all, tainted_text
    from interlock.site.opening import last_folder

    try:
        tainted = find_tainted(await site.versions.body(None))
    except InterlockError:
        return  # there is no state, or what is wrong with it was said
    if not tainted:
        return
    directory = site.ref.directory or await last_folder(site.ref, site.home)
    async with open_ways(directory, site.home, os.environ) as ways:
        seen = await look_at_all(tainted, ways.ask_for)
    asked = site.home.settings.terraform
    program = shell_word(asked) if asked else program_in(Path())
    walk.record("tainted", "offered", tainted_text(tainted, seen, state=site.ref.queue, program=program))


async def _name_orphans(walk: _Walk, site: Site) -> None:
    """Name what runs made and no state holds: an apply would make it again."""
    from interlock.operate.orphans import find_orphans

    try:
        found = (await find_orphans(site, None)).found
    except InterlockError as error:
        walk.record("orphans", "undecided", f"{error.what}: {error.why}")
        return
    if not found:
        walk.record("orphans", "ok", "everything that runs made is in a state")
    for each in found:
        walk.record("orphans", "offered", f"{each.text}; next: {command('recover', walk.state, '--orphans')}")


async def _findings(site: Site) -> list[Finding]:
    from interlock.errors import UsageError

    try:
        return list(await site.versions.findings(None))
    except UsageError:
        return []  # there is no state: nothing was ever saved, so nothing is damaged


def _plan(walk: _Walk, ref: StateRef, hint: str) -> bool | None:
    """Make a plan; say whether it is clean; None when it was not made."""
    directory = ref.directory
    if directory is None:
        walk.record("plan", "skipped", f"no root module is known; next: {hint}")
        return None
    if not walk.agrees(f"Plan {directory}?"):
        walk.record("plan", "offered", f"next: {hint}")
        return None
    words, environ = _plan_command(directory, ref)
    status = _run_shown(words, directory, environ)
    if status in (0, _CHANGES):
        text = "no changes" if status == 0 else "there are changes; read them before you apply"
        walk.record("plan", "clean" if status == 0 else "changes", text)
        return status == 0
    walk.record("plan", "failed", f"exit status {status}: {' '.join(words[-4:])}")
    return False


def _run_shown(words: list[str], directory: Path, environ: Mapping[str, str]) -> int:
    """Run a command, show what it says, made fit to be shown, and return its exit status."""
    with subprocess.Popen(
        words,
        cwd=directory,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            view.note(line.decode(errors="replace").rstrip("\r\n"))
    return process.returncode


def _plan_command(directory: Path, ref: StateRef) -> tuple[list[str], Mapping[str, str]]:
    """Return our own plan where it works, which queues; plain Terraform's elsewhere, which gets no secret of ours."""
    from interlock.compose.homes import settings_here
    from interlock.run.binary import check_program, find_binary
    from interlock.site.kinds import has_queue
    from interlock.trust.checkout import is_watched
    from interlock.trust.own_secrets import without_own_secrets

    if has_queue(ref):
        named = ["--state", ref.queue] if ref.is_own else []
        # -P: it runs in the folder of a checkout, whose own modules would come before ours.
        words = [sys.executable, "-P", "-m", "interlock", "plan", str(directory), "--detailed-exitcode", *named]
        return words, os.environ

    asked = settings_here(os.environ).terraform
    binary = find_binary(asked, os.environ)
    watched = is_watched(os.environ)
    if word := check_program(binary, asked=asked, directory=directory, environ=os.environ, watched=watched):
        view.note(word)
    return [*binary.argv, "plan", "-input=false", "-detailed-exitcode", "-no-color"], without_own_secrets(os.environ)
