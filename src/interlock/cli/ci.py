"""`interlock ci`: write pipelines, check what their files cannot say, and the small steps that pipelines take."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import view
from interlock.errors import THIS_STATE, PolicyGate, UsageError, command, reason_of
from interlock.foreign_text import in_chat, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.ci.beside import Beside
    from interlock.ci.checks import Check
    from interlock.ci.comment import PlanReport
    from interlock.ci.pipeline import Pipeline
    from interlock.ci.platforms.opening import Platform
    from interlock.ci.workflow import Vendor
    from interlock.settings.values import Settings

app = typer.Typer(help="Generate and check CI workflows.", no_args_is_help=True)


class Platforms(StrEnum):
    """The CI systems for which pipelines are written."""

    GITHUB = "github"
    GITLAB = "gitlab"
    AZURE = "azure"
    JENKINS = "jenkins"


class JobRole(StrEnum):
    """What a job may be."""

    READER = "reader"
    PLANNER = "planner"
    RUNNER = "runner"


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
State = Annotated[str, typer.Option("--state", help="Name of the state.", metavar="NAME")]
Which = Annotated[Platforms | None, typer.Option("--platform", help="The CI system; by default the one we run in.")]
Tree = Annotated[
    str | None, typer.Option("--tree", help="Git tree of the plan; by default that of HEAD.", metavar="ID")
]


@app.command()
def generate(
    platform: Annotated[Platforms, typer.Argument(help="For which CI system.")],
    *,
    output: Annotated[Path | None, typer.Option("--output", help="The repository to write to.", metavar="DIR")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the files instead of writing them.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also replace files that Interlock did not write.")] = False,
    json: Json = False,
) -> None:
    """Write the pipeline that interlock.yaml describes."""
    from interlock.ci.rendering import render
    from interlock.ci.workflow import Vendor
    from interlock.operate.pipelines import absent, action_for, applied_beside, check_states

    settings = _settings()
    root = output or (settings.path.parent if settings.path else Path.cwd())
    pipeline = _pipeline(settings, with_order=True)
    check_states(settings, os.environ)
    for name, directory in absent(settings):
        view.note(f"state {name}: its directory {directory} is not here, so its jobs would find nothing to run")
    _check_lasting(pipeline, Vendor(platform.value))
    files = render(Vendor(platform.value), pipeline)
    plan = {path: action_for(root / path, text) for path, text in files.items()}
    foreign = [path for path, action in plan.items() if action == "foreign"]
    if foreign and not force and not dry_run and Vendor(platform.value) is not Vendor.GITLAB:
        raise _not_ours(foreign)
    if not dry_run:
        _write(root, files, plan, force=force)
    for beside in applied_beside(pipeline, root):
        view.note(f"{beside.path}:{beside.span.line}: {_twice(beside)}; take it out when these files have taken over")
    told = [{"path": path, "action": action, "text": files[path]} for path, action in plan.items()]
    view.emit({"files": told, "written": not dry_run}, json=json, human=lambda: _show_files(told, dry_run=dry_run))


def _check_lasting(pipeline: Pipeline, vendor: Vendor) -> None:
    from interlock.ci.rendering import check_machines

    check_machines(vendor, pipeline)
    if pipeline.home:
        view.note(f"{pipeline.home} must be one lasting folder of one machine, for all jobs of these states.")


def _not_ours(paths: list[str]) -> UsageError:
    return UsageError(
        f"{', '.join(paths)} was not written by Interlock",
        why="it would be lost",
        fix="move it away, or repeat with --force, or look at the result with --dry-run",
    )


def _write(root: Path, files: Mapping[str, str], plan: Mapping[str, str], *, force: bool) -> None:
    from interlock.source.disk import SHARED, write_file

    for path, text in files.items():
        if plan[path] == "foreign" and not force:
            # GitLab has one root file, which is the project's own; ours only needs to be included from it.
            view.note(f"{path} is yours and was left alone; include the generated file from it:")
            view.notes(text)
            continue
        target = root / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_file(target, text.encode(), SHARED)
        except OSError as error:
            raise UsageError(f"{path} cannot be written", why=reason_of(error), fix=f"ls -ld {root}") from error


def _show_files(told: list[dict[str, str]], *, dry_run: bool) -> None:
    for file in told:
        if dry_run:
            view.say(f"# --- {file['path']} ({file['action']})")
            view.document(f"{file['text']}\n")
        else:
            view.say(f"{file['action']:<8}{file['path']}")


@app.command()
def check(
    *,
    platform: Which = None,
    repair: Annotated[bool, typer.Option("--repair", help="Set GitLab's process mode where it is wrong.")] = False,
    json: Json = False,
) -> None:
    """Ask the CI system whether what its files cannot say is set: queues, locks, approvals."""
    from interlock.ci.checks import Answer, accept
    from interlock.ci.platforms.gitlab import GitLab

    settings = _settings()
    otherwise = "interlock ci check --platform github    or gitlab, azure, jenkins"
    pipeline, target = _pipeline(settings), _platform(platform, fix=otherwise)
    looked = target.checks(pipeline, repair=repair) if isinstance(target, GitLab) else target.checks(pipeline)
    found = tuple(accept((*looked, *_beside_checks(pipeline, settings)), pipeline.accept))
    view.emit({"checks": found}, json=json, human=lambda: _show_checks(found))
    if any(one.answer not in {Answer.GOOD, Answer.ACCEPTED} for one in found):
        raise typer.Exit(1)


def _beside_checks(pipeline: Pipeline, settings: Settings) -> list[Check]:
    """Return a wrong setting for each workflow that applies what the generated files apply."""
    from interlock.ci.checks import wrong
    from interlock.operate.pipelines import applied_beside

    root = settings.path.parent if settings.path else Path.cwd()
    fix = "take the job out, or the state out of interlock.yaml"
    return [wrong(f"workflow {one.path}", _twice(one), fix) for one in applied_beside(pipeline, root)]


def _twice(beside: Beside) -> str:
    return f"job {beside.job} runs {beside.command} in {beside.directory}, which the generated pipeline applies too"


def _show_checks(found: tuple[Check, ...]) -> None:
    for one in found:
        view.say(f"{one.answer.value:<9}{one.subject}: {one.message}")
        if one.fix:
            view.say(f"         next  {one.fix}")


_MAX_SERIAL = 2**64 - 1  # Terraform's own


@app.command(name="allow-deletions")
def allow_deletions(
    objects: Annotated[list[str], typer.Argument(help="Addresses that may be deleted.", metavar="ADDRESS…")],
    *,
    state: State,
    lineage: Annotated[str, typer.Option("--lineage", help="The state's lineage.", metavar="ID")],
    serial: Annotated[int, typer.Option("--serial", help="The state's serial.", metavar="N", min=0, max=_MAX_SERIAL)],
    json: Json = False,
) -> None:
    """Agree to deletions from a protected state, in a file that is reviewed with the change.

    The consent is for one version of the state: whatever is applied first uses it up, and the next plan needs its own.
    A refused plan prints the whole command.
    """
    from interlock.operate.agreed_deletions import agree
    from interlock.run.order import Agreed

    settings = _settings()
    if settings.path is None:
        raise UsageError("there is no interlock.yaml here", fix="interlock init")
    if state not in settings.states:
        known = ", ".join([*settings.states][:5]) or "none"
        words = f"interlock.yaml has no state {one_line(state)}, only {known}"
        view.note(f"{words}: nothing but a run of a state with that name uses this consent")
    consent = Agreed(state=state, lineage=lineage, serial=serial, objects=tuple(dict.fromkeys(objects)))
    path = agree(settings.path, consent)
    told = {"path": path, "state": state, "serial": serial, "objects": consent.objects}
    view.emit(told, json=json, human=lambda: view.say(f"wrote {path}; commit it with the change"))


@app.command()
def keys(*, json: Json = False) -> None:
    """Make the keys with which plans are wrapped, sealed and opened; each belongs in one place alone."""
    import secrets

    from interlock.ci.seal import KEY_BYTES, make_keys

    made = make_keys(secrets.token_bytes(2 * KEY_BYTES))
    told = {"INTERLOCK_SEAL_KEY": made.seal, "INTERLOCK_PLAN_KEY": made.plan, "pipeline.plan_key": made.wrap}
    view.tell_of_open_file()
    view.emit(told, json=json, human=lambda: _show_keys(told))


_KEY_PLACES = {
    "INTERLOCK_SEAL_KEY": "a secret of the seal jobs alone (environment NAME-seal)",
    "INTERLOCK_PLAN_KEY": "a secret of the apply jobs alone (environment NAME)",
    "pipeline.plan_key": "public, in interlock.yaml",
}


def _show_keys(told: Mapping[str, str]) -> None:
    for name, key in told.items():
        view.document(f"# {_KEY_PLACES[name]}\n{name}: {key}\n")


@app.command()
def wrap(
    plan: Annotated[Path, typer.Argument(help="The plan file.")],
    *,
    json: Json = False,
) -> None:
    """Wrap a plan with the public key in INTERLOCK_WRAP_KEY, so that only the apply job can read it."""
    import secrets

    from interlock.ci import seal as sealing

    content = _read(plan, sealing.MAX_PLAN_BYTES, command("plan", "--out", plan))
    ephemeral, nonce = secrets.token_bytes(sealing.KEY_BYTES), secrets.token_bytes(sealing.NONCE_BYTES)
    key = os.environ.get("INTERLOCK_WRAP_KEY", "")
    wrapped = sealing.wrap(content, key, ephemeral=ephemeral, nonce=nonce)
    target = plan.with_name(plan.name + ".wrapped")
    _replace(target, wrapped)
    digest = sealing.wrapped_digest(wrapped)
    view.emit({"path": target, "digest": digest}, json=json, human=lambda: view.say(f"wrapped  {target}  {digest}"))


Out = Annotated[Path, typer.Option("--out", help="The file to write.", metavar="FILE")]


@app.command()
def seal(
    *,
    state: State,
    out: Out,
    branch: Annotated[str, typer.Option("--branch", metavar="BRANCH", help="The branch that is deployed.")] = "main",
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="The state as part of job names, if not as `ci generate` writes it."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Find the plan that was reviewed, and seal it with INTERLOCK_SEAL_KEY for this pipeline; exit 41 without one.

    Run it in a job of its own, which runs no code of the change and alone has the key.
    """
    from interlock.ci import seal as sealing
    from interlock.ci.pipeline import slug_of

    source = _platform().source(name or slug_of(state), state=state, branch=branch)
    binding = sealing.bind(
        source.wrapped,
        state=state,
        workspace=_workspace(),
        run=source.run,
        attempt=source.attempt,
        commit=source.commit,
        tree=source.tree,
        pipeline=_pipeline_run(),
    )
    _replace(out, sealing.seal(source.wrapped, binding, os.environ.get("INTERLOCK_SEAL_KEY", "")))
    _hand_out({"digest": binding.digest, "run": binding.run})
    facts = {
        "path": out,
        "digest": binding.digest,
        "run": binding.run,
        "attempt": binding.attempt,
        "source": source.words,
    }
    lines = (
        f"plan `{binding.digest[:_SHORT]}` of state `{state}`",
        f"made by run {binding.run}, attempt {binding.attempt}, of commit {binding.commit[:12]}: {source.words}",
    )
    if os.environ.get("GITHUB_STEP_SUMMARY"):
        _to_summary("\n\n".join(lines) + "\n")
    view.emit(facts, json=json, human=lambda: view.say("sealed  " + "; ".join(lines).replace("`", "")))


@app.command()
def reviewed(
    sealed: Annotated[Path | None, typer.Argument(help="The sealed plan; or name an artifact.")] = None,
    *,
    state: State,
    out: Out,
    artifact: Annotated[
        str | None, typer.Option("--artifact", metavar="NAME", help="The artifact of this run that holds it.")
    ] = None,
    run: Annotated[str, typer.Option("--run", help="The run that was reviewed.", metavar="ID")],
    plan_digest: Annotated[str, typer.Option("--plan-digest", help="The digest that was reviewed.", metavar="DIGEST")],
    tree: Tree = None,
    json: Json = False,
) -> None:
    """Open the plan that was sealed in this pipeline for exactly these files and this state, or exit with 41."""
    from interlock.ci import seal as sealing

    most = sealing.MAX_PLAN_BYTES + 65536
    content = _artifact(artifact) if artifact is not None else _read(_named(sealed, "sealed plan"), most, _FETCHED)
    plan, binding = sealing.unseal(content, os.environ.get("INTERLOCK_PLAN_KEY", ""))
    sealing.check_binding(
        binding,
        state=state,
        workspace=_workspace(),
        tree=_tree(tree),
        run=run,
        pipeline=_pipeline_run(),
        digest=plan_digest,
    )
    _replace(out, plan)
    facts = {"path": out, "digest": binding.digest, "run": binding.run}
    view.emit(facts, json=json, human=lambda: view.say(f"reviewed plan  {out}  {binding.digest[:_SHORT]}"))


_SHORT = 16  # digits of a digest that people compare; see `interlock.run.planned_files`


def _workspace() -> str:
    return os.environ.get("TF_WORKSPACE") or "default"


def _pipeline_run() -> str:
    """Return the id of this run of the CI system, as sealing and opening jobs of one pipeline share it."""
    names = ("GITHUB_RUN_ID", "CI_PIPELINE_ID", "BUILD_BUILDID", "BUILD_TAG")
    found = next((os.environ[name] for name in names if os.environ.get(name)), "")
    if not found:
        raise UsageError("this is not a job of a pipeline", why="a plan is sealed for one", fix="run it in a CI job")
    return found


_FETCHED = "let the job fetch what the one before it kept, or name its artifact: --artifact NAME"


def _named(path: Path | None, what: str) -> Path:
    if path is None:
        raise UsageError(f"no {what} is named", fix="name its file, or its artifact with --artifact NAME")
    return path


def _kept_here(name: str) -> bytes | None:
    from interlock.ci.platforms.github import GitHub

    platform = _platform()
    return platform.own(name) if isinstance(platform, GitHub) else None


def _artifact(name: str) -> bytes:
    found = _kept_here(name)
    if found is None:
        raise PolicyGate(f"this run has kept no {name}", why="the job before did not make it", fix="run the jobs again")
    return found


@app.command()
def comment(
    summary: Annotated[
        Path | None, typer.Argument(help="What `interlock plan --json` printed, or with --kept what --keep wrote.")
    ] = None,
    *,
    state: Annotated[str | None, typer.Option("--state", help="Name of the state.", metavar="NAME")] = None,
    states: Annotated[
        str | None,
        typer.Option("--states", metavar="JSON", help="What `ci roots` hands on as matrix: one comment for all."),
    ] = None,
    reports: Annotated[
        Path | None,
        typer.Option("--reports", metavar="DIR", help="One comment from every report-*.json of this folder."),
    ] = None,
    to_summary: Annotated[bool, typer.Option("--to-summary", help="Write to the job's page, not a comment.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the comment.")] = False,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="FILE", help="Write the facts to a file, for a job that may comment."),
    ] = None,
    kept: Annotated[bool, typer.Option("--kept", help="The file is what --keep wrote.")] = False,
    artifact: Annotated[
        str | None,
        typer.Option("--artifact", metavar="NAME", help="The artifact of this run with what --keep wrote (GitHub)."),
    ] = None,
) -> None:
    """Put a plan into its pull request as one comment that is replaced from run to run.

    The job that plans runs the change's code and should have no right to comment: it keeps the facts, and another job
    writes the comment from them. Outside a pull or merge request the report goes to the job's page.
    """
    import msgspec

    from interlock.ci.comment import SUMMARY_MARK, mark, markdown

    if states is not None or reports is not None:
        _to_change(_joint(states, reports), SUMMARY_MARK)
        return
    if state is None:
        raise UsageError("no state is named", why="a report is of one state", fix="add --state NAME")
    report = _report(summary, artifact, state, kept=kept)
    if keep is not None:
        _replace(keep, msgspec.json.encode(report))
        return
    body = markdown(report)
    if dry_run:
        view.document(f"{body}\n")
    elif to_summary:
        _to_summary(body)
    else:
        _to_change(body, mark(state))


def _to_change(body: str, mark: str) -> None:
    """Comment on the change; outside one, such as in a pipeline that was started by hand, write to the job's page."""
    from interlock.ci.platforms.api import NoChange

    try:
        view.note(f"commented  {_platform().comment(body, mark)}")
    except NoChange as error:
        view.note(f"{error.what}: the report is on the job's page")
        _to_summary(body)


def _joint(states: str | None, folder: Path | None) -> str:
    """Return one comment for several roots, from what the jobs of this pipeline have kept."""
    from interlock.ci.comment import joint_markdown
    from interlock.ci.matrix import read_needs
    from interlock.ci.pipeline import slug_of

    behind = read_needs(states) if states is not None else _planned_here()
    kept = {name: _kept_in(folder, slug_of(name)) for name in behind}
    reports = {name: _ours(found, name) for name, found in kept.items() if found is not None}
    return joint_markdown(list(behind), reports, behind)


def _kept_in(folder: Path | None, slug: str) -> bytes | None:
    """Return the report of a root's newest attempt: from a folder, or on GitHub from this run's artifacts."""
    if folder is None:
        return _kept_here(f"interlock-report-{slug}")
    found = sorted(folder.glob(f"**/report-{slug}.json"), key=lambda path: (len(str(path)), str(path)))
    return _read(found[-1], _MAX_REPORT_BYTES, _FETCHED) if found else None


def _planned_here() -> dict[str, tuple[str, ...]]:
    """Return the roots that this pipeline of GitLab has plan jobs for, each with those that it needs."""
    from interlock.ci.platforms.gitlab import GitLab

    platform = _platform()
    planned = set(platform.planned()) if isinstance(platform, GitLab) else set()
    targets = _pipeline(_settings(), with_order=True).targets
    return {target.name: target.needs for target in targets if target.slug in planned}


_MAX_REPORT_BYTES = 32 << 20  # six times the text of a rendered plan that is read


def _report(summary: Path | None, artifact: str | None, state: str, *, kept: bool) -> PlanReport:
    """Return the facts of a plan: from this machine's run, or from what another job kept."""
    from interlock.cli.plan_report import read_report
    from interlock.compose.homes import check_home_is_ours

    if artifact is None and not kept:
        settings = _settings()
        check_home_is_ours(settings, os.environ)
        if summary is None:
            fix = command("ci", "comment", "plan.json", "--state", state)
            raise UsageError("no report is named", why="`interlock plan --json > plan.json` makes it", fix=fix)
        return read_report(summary, state, settings.runs, os.environ)
    kept_file = None if artifact is not None else _named(summary, "report")
    content = _artifact(artifact or "") if kept_file is None else _read(kept_file, _MAX_REPORT_BYTES, _FETCHED)
    return _ours(content, state)


def _ours(content: bytes, state: str) -> PlanReport:
    """Return a report that another job has kept, with what only we may say."""
    from dataclasses import replace

    import msgspec

    from interlock.bounded import decode_json
    from interlock.ci.comment import PlanReport
    from interlock.cli.plan_report import project_address

    try:
        found = decode_json(content[:_MAX_REPORT_BYTES], type=PlanReport)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        fix = command("ci", "comment", "plan.json", "--state", state, "--keep", "report.json")
        raise UsageError("this is not what --keep wrote", why=reason_of(error), fix=fix) from error
    # The job that made it ran code of the change: it chooses neither whose comment is replaced, nor where a link leads.
    ours = project_address(os.environ)
    return replace(found, state=state, job=found.job if ours and found.job.startswith(ours) else "")


def _to_summary(body: str) -> None:
    """Append to the job's page on GitHub, attach to it on Azure, print elsewhere."""
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    folder = os.environ.get("AGENT_TEMPDIRECTORY")
    if page:
        with Path(page).open("a", encoding="utf-8") as file:
            file.write(body)
    elif folder:
        target = Path(folder) / "interlock-plan.md"
        _replace(target, body.encode())
        view.tell_azure("task.uploadsummary", {}, str(target))
    else:
        view.document(f"{body}\n")


@app.command()
def login(
    *,
    state: State,
    role: Annotated[
        JobRole | None, typer.Option("--role", help="What the job will do; by default what the server's rules give.")
    ] = None,
    run: Annotated[str, typer.Option("--run", metavar="RUN", help="The one run that it is for; any by default.")] = "",
    show: Annotated[
        bool, typer.Option("--print", help="Print the token instead of handing it to later steps.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the token to a file that only we can read.")
    ] = None,
) -> None:
    """Exchange this job's identity for a token of the Interlock server; later steps find it in INTERLOCK_TOKEN."""
    from interlock.compose.job_login import log_in

    server = _settings().server
    if not server:
        raise UsageError(
            "no server to log in to",
            why="the job's identity goes there, so only an operator may name it, and not the repository's file",
            fix="export INTERLOCK_SERVER=https://HOST",
        )
    given = log_in(server, os.environ, state=state, role=None if role is None else role.value, run=run)
    view.note(f"{given.scope} of {given.state} for {given.expires_in // 60} min")
    if show:
        view.tell_of_open_file("; or let --out FILE write it")
        view.say(given.access_token)
    elif out is not None:
        _replace(out, f"{given.access_token}\n".encode())
    else:
        _hand_on("INTERLOCK_TOKEN", given.access_token)


@app.command()
def notify(*, state: State, json: Json = False) -> None:
    """Tell the webhook in INTERLOCK_NOTIFY_URL that a run of this state failed (Slack and Teams read its `text`)."""
    from urllib.parse import urlsplit

    from interlock.ci.platforms.api import Api

    url = os.environ.get("INTERLOCK_NOTIFY_URL", "")
    parts = urlsplit(url)
    if not url:
        raise UsageError("INTERLOCK_NOTIFY_URL is not set", fix="keep the webhook's address as a secret of that name")
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
        raise UsageError("INTERLOCK_NOTIFY_URL is not an https address", fix="keep the webhook's address as a secret")
    base = f"{parts.scheme}://{parts.netloc}"
    api = Api(base=base, headers={}, title="the webhook", token_names="its address")  # noqa: S106
    text = _failure_text(state)
    api.tell(url[len(api.base) :], {"text": text})
    view.emit({"state": state, "text": text}, json=json, human=lambda: None)


def _failure_text(state: str) -> str:
    from interlock.cli.plan_report import job_url

    where = job_url(os.environ)
    return in_chat(f"Interlock: a run of {state} failed" + (f" ({where})" if where else ""))


def _settings() -> Settings:
    from interlock.settings.reading import load

    return load(Path.cwd(), os.environ)


def _pipeline(settings: Settings, *, with_order: bool = False) -> Pipeline:
    from interlock.operate.pipelines import described_pipeline

    return described_pipeline(settings, os.environ, with_order=with_order)


@app.command()
def roots(
    *,
    changed: Annotated[
        str | None, typer.Option("--changed", metavar="BASE", help="Only roots that differ from this commit.")
    ] = None,
    named: Annotated[
        str | None, typer.Option("--named", metavar="STATES", help="Only these, with spaces between.")
    ] = None,
    pushed: Annotated[
        bool, typer.Option("--pushed", help="Only roots that differ from the build before this one (Azure).")
    ] = False,
    json: Json = False,
) -> None:
    """Tell later jobs of this pipeline which roots to work on, and why these.

    On GitHub they find a matrix in the output `matrix` and the names in `states`.
    """
    from interlock.ci.matrix import named_roots, row_of
    from interlock.cli.many import Choice, choose, notes_of

    settings = _settings()
    targets = {target.name: target for target in _pipeline(settings, with_order=True).targets}
    names = tuple(targets)
    changed = _commit_before() if pushed else changed
    if named is not None:
        names = named_roots(named.split(), names)
    elif changed is not None:
        chosen = choose(Choice(folders=(), changed=changed, jobs=1), settings, os.environ)
        for text in notes_of(chosen):
            view.note(text)
        names = tuple(name for name in names if name in chosen.roots.names)
    rows = [row_of(targets[name]) for name in names]
    _hand_out({"matrix": view.as_json_line(rows), "states": view.as_json_line(names)})
    view.emit({"roots": rows}, json=json, human=lambda: view.say(", ".join(names) or "no root"))


def _commit_before() -> str:
    from interlock.ci.platforms.azure import Azure

    platform = _platform()
    if not isinstance(platform, Azure):
        raise UsageError("--pushed asks Azure Pipelines", why="other CI systems say it", fix="use --changed BASE")
    return platform.commit_before()


def _platform(which: Platforms | None = None, **more: str) -> Platform:
    from functools import partial

    from interlock.ci.platforms.opening import open_platform
    from interlock.ci.workflow import Vendor
    from interlock.trust.checkout import ask_git

    return open_platform(
        os.environ, Vendor(which.value) if which else None, ask_git=partial(ask_git, Path.cwd()), **more
    )


def _tree(tree: str | None) -> str:
    """Return the git tree of the commit that is checked out, unless one is given."""
    from interlock.trust.checkout import ask_git

    if tree is None:
        tree = ask_git(Path.cwd(), "rev-parse", "HEAD^{tree}")
    if not re.fullmatch(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", tree):
        raise UsageError(
            "this is not a git checkout", why="a plan is good for the files that it was made from", fix="pass --tree"
        )
    return tree


def _read(path: Path, most: int, fix: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read", why=reason_of(error), fix=fix) from error
    return content


def _replace(path: Path, content: bytes) -> None:
    """Write a file that only we can read: a plan holds secrets."""
    from interlock.source.disk import write_file

    try:
        write_file(path, content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written", why=reason_of(error), fix="name another file") from error


def _hand_out(values: Mapping[str, str]) -> None:
    """Hand values to later jobs: step outputs on GitHub and Azure, a file on GitLab (a dotenv report) and Jenkins.

    GitLab gives each line of that report to the jobs after this one as a variable, so a file of this name that is in
    the checkout already would set what it likes there: it is replaced, not added to.
    """
    from interlock.ci.platforms.jenkins import is_jenkins

    path = os.environ.get("GITHUB_OUTPUT")
    lines = {name: one_line(value, limit=len(value)) for name, value in values.items()}
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.writelines(f"{name}={value}\n" for name, value in lines.items())
    elif os.environ.get("TF_BUILD"):
        for name, value in lines.items():
            view.tell_azure("task.setvariable", {"variable": name, "isOutput": "true"}, value)
    elif os.environ.get("GITLAB_CI") or is_jenkins(os.environ):
        report = "".join(f"PLAN_{name.upper()}={value}\n" for name, value in lines.items())
        _replace(Path("interlock.env"), report.encode())


def _hand_on(name: str, secret: str) -> None:
    """Hand a secret to later steps, masked in the log.

    Raises:
        UsageError: This CI system has no way to do that.
    """
    path = os.environ.get("GITHUB_ENV")
    if "\n" in secret or "\r" in secret:
        raise UsageError("the server's token is malformed")
    if path:
        view.tell_github("add-mask", secret)
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{name}={secret}\n")
    elif os.environ.get("TF_BUILD"):
        view.tell_azure("task.setvariable", {"variable": name, "issecret": "true"}, secret)
    else:
        raise UsageError(
            "there is no later step to hand the token to",
            fix=f'export {name}="$({command("ci", "login", "--state", THIS_STATE, "--print")})"',
        )
