"""`interlock demo`: a simulated contact centre and four real Terraform runs that contend for one state, offline.

One of the four is killed with -9, supervisor and all, in the middle of its apply. The demo then proves what came out.
"""

from __future__ import annotations

import importlib.util
import json as json_format
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.amounts import amount
from interlock.cli import view
from interlock.errors import InterlockError, UsageError
from interlock.run.entries import (
    AnyEntry,
    DiagnosticEntry,
    EndEntry,
    GrantedEntry,
    PlanEntry,
    RecoveryEntry,
    ResourceEntry,
    StandingEntry,
    StateEntry,
    UnknownEntry,
)

if TYPE_CHECKING:
    from interlock.run.summary import Summary
    from interlock.run.transcript import Entry
    from interlock.simulator.asgi import Served

app = typer.Typer()

STATE = "demo/contact-center"
_PIPELINES = 4
_KILLED = 2
_APART_S = 0.5  # between two pipelines, so that their order of arrival is theirs and not the scheduler's
_LOOK_S = 0.05
_LIMIT_S = 180.0
_PROVIDER_SPEED = 5.0  # the provider's fixed waits, such as 10 s before queue members, are divided by this
_COLOURS = ("36", "35", "33", "32")


@app.command()
def demo(
    *,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="FOLDER", help="Work in this new folder and keep it.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show queueing, hand-over and recovery live, then prove the result."""
    with _stage(keep) as stage:
        show = _Narrator(quiet=json)
        show.title("A simulated Genesys Cloud organisation, and four pipelines that deploy to it at once")
        show.text(f"organisation on http://{stage.served.host}:{stage.served.port}, everything else in {stage.folder}")
        _contend(stage, show)
        checks = _prove(stage, show)
        show.ending(checks, kept=keep)
        if json:
            view.print_json({"checks": checks, "runs": _history(stage)})
        if not all(check.holds for check in checks):
            raise InterlockError("the demo did not come out as promised", fix="interlock demo --keep FOLDER, then look")


@dataclass(slots=True)
class Stage:
    """Where the demo plays."""

    folder: Path
    served: Served
    environ: Mapping[str, str]
    pipelines: list[Pipeline] = field(default_factory=list)

    @property
    def home(self) -> Path:
        """Interlock's home in the demo."""
        return self.folder / "home"


@dataclass(slots=True)
class Pipeline:
    """One of the contending pipelines."""

    number: int
    process: subprocess.Popen[bytes]
    run: str = ""
    killed: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the demo proves."""

    name: str
    holds: bool
    seen: str


def _check_parts(environ: Mapping[str, str]) -> None:
    """Say at once what the demo needs and an installation without its extra lacks.

    Raises:
        UsageError: Something is missing.
    """
    from interlock.run.binary import find_binary

    missing = [] if importlib.util.find_spec("tf") is not None else ["the package of its simulated provider, tf"]
    try:
        find_binary(None, environ)
    except UsageError:
        missing.append("a Terraform")
    if missing:
        raise UsageError(
            f"the demo needs {' and '.join(missing)}",
            why="they are not part of every installation; one extra has all of them",
            fix="pip install 'interlock[demo]'",
        )


@contextmanager
def _stage(keep: Path | None) -> Iterator[Stage]:
    _check_parts(os.environ)
    try:
        from interlock.simulator import DEFAULT_CLIENT, Simulation
        from interlock.simulator.asgi import serve_in_thread
        from interlock.simulator.provider.install import install
    except ImportError as error:
        raise UsageError(
            "the demo's packages are missing", why=str(error), fix="pip install 'interlock[demo]'"
        ) from error
    with tempfile.TemporaryDirectory(prefix="interlock-demo-") as temporary, serve_in_thread(Simulation()) as served:
        folder = _new_folder(keep) if keep else Path(temporary)
        shutil.copytree(example(), folder / "contact-center")
        configuration = install(folder / "plugin", speed=_PROVIDER_SPEED)
        yield Stage(folder=folder, served=served, environ=_environ(folder, served, configuration, DEFAULT_CLIENT))


def example() -> Path:
    """Return the folder of the example configuration, in an installation or in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "examples", package.parents[1] / "examples"):
        if (folder / "contact-center").is_dir():
            return folder / "contact-center"
    raise UsageError(
        "the example configuration is missing", why="the installation is incomplete", fix="reinstall interlock"
    )


def _new_folder(folder: Path) -> Path:
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", fix="name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def _environ(folder: Path, served: Served, configuration: Path, client: Any) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "INTERLOCK_TERRAFORM") if name in os.environ}
    return {
        **kept,
        "HOME": str(folder),
        "INTERLOCK_HOME": str(folder / "home"),
        "INTERLOCK_LEASE": "4s",
        "INTERLOCK_HEARTBEAT": "1s",
        "TF_CLI_CONFIG_FILE": str(configuration),
        "GENESYSCLOUD_OAUTHCLIENT_ID": client.id,
        "GENESYSCLOUD_OAUTHCLIENT_SECRET": client.secret,
        "GENESYSCLOUD_GATEWAY_PROTOCOL": "http",
        "GENESYSCLOUD_GATEWAY_HOST": served.host,
        "GENESYSCLOUD_GATEWAY_PORT": str(served.port),
    }


# -- the contest ------------------------------------------------------------------------------------------------------


def _contend(stage: Stage, show: _Narrator) -> None:
    from interlock.run.summary import find_summary

    show.title(f"Four pipelines start {_APART_S}s apart; pipeline {_KILLED} will be killed with -9 in mid-apply")
    until = _seconds() + _LIMIT_S
    known: set[str] = set()
    readers: dict[int, Any] = {}
    while _seconds() < until:
        _start_next(stage)
        _recognise(stage, known, readers)
        for pipeline in stage.pipelines:
            if pipeline.number in readers:
                for entry in readers[pipeline.number].new():
                    show.entry(pipeline.number, entry)
                    _maybe_kill(stage, pipeline, entry, show)
        ended = [p for p in stage.pipelines if p.run and (s := find_summary(_folder(stage, p))) and s.exit is not None]
        if len(ended) == _PIPELINES:
            return
        time.sleep(_LOOK_S)  # noqa: TID251 - a display's own pause decides nothing
    raise InterlockError(f"the pipelines did not finish in {_LIMIT_S:.0f}s", fix="interlock demo --keep FOLDER")


def _start_next(stage: Stage) -> None:
    """Start the next pipeline when the one before has joined the queue."""
    count = len(stage.pipelines)
    if count == _PIPELINES or (count and not stage.pipelines[-1].run):
        return
    if count:
        time.sleep(_APART_S)  # noqa: TID251 - the pipelines' arrivals are staged
    stage.pipelines.append(Pipeline(number=count + 1, process=_pipeline(stage, count + 1)))


def _pipeline(stage: Stage, number: int) -> subprocess.Popen[bytes]:
    seasonal = json_format.dumps([f"Campaign {count}" for count in range(2, number + 1)])
    options = ["--state", STATE, "--auto-approve", "--first-apply"]
    values = ["-var", f"greeting_round={number}", "-var", f"seasonal_skills={seasonal}"]
    return subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "interlock",
            "apply",
            str(stage.folder / "contact-center"),
            *options,
            "--",
            *values,
        ],
        env=dict(stage.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _recognise(stage: Stage, known: set[str], readers: dict[int, Any]) -> None:
    """Find the run folder of the pipeline that was started last."""
    from interlock.run.transcript import Reader

    runs = stage.home / "runs"
    for name in sorted(entry.name for entry in runs.iterdir()) if runs.is_dir() else []:
        if name not in known and (runs / name / "summary.json").exists():
            known.add(name)
            pipeline = next(pipeline for pipeline in stage.pipelines if not pipeline.run)
            pipeline.run = name
            readers[pipeline.number] = Reader(runs / name)


def _maybe_kill(stage: Stage, pipeline: Pipeline, entry: Entry, show: _Narrator) -> None:
    """Kill the chosen pipeline and its supervisor in the middle of its apply: its new skill is made, queues are not.

    Not while a creation is under way: an object whose creation was answered to a process that is dead by then is in the
    organisation and in no state, whoever drives Terraform; the next run's plan and `interlock drift` find it.
    """
    from interlock.run.summary import find_summary

    told = entry.told
    begun = isinstance(told, ResourceEntry) and told.stage == "complete" and ".seasonal[" in told.address
    if pipeline.number != _KILLED or pipeline.killed or not begun:
        return
    pipeline.killed = True
    summary = find_summary(_folder(stage, pipeline))
    assert summary is not None
    pipeline.process.send_signal(signal.SIGKILL)
    os.kill(summary.processes["supervisor"].pid, signal.SIGKILL)
    show.line(pipeline.number, "KILLED with -9: command line and supervisor, in the middle of its apply", "1;31")


def _folder(stage: Stage, pipeline: Pipeline) -> Path:
    return stage.home / "runs" / pipeline.run


# -- the proof --------------------------------------------------------------------------------------------------------


def _prove(stage: Stage, show: _Narrator) -> list[Check]:
    show.title("What came out")
    checks = [_check_order(stage), _check_outcomes(stage), _check_versions(stage), *_check_organisation(stage)]
    checks.append(_check_plan(stage))
    for check in checks:
        show.check(check)
    return checks


def _summaries(stage: Stage) -> list[Summary]:
    from interlock.run.summary import find_summary

    found = [find_summary(_folder(stage, pipeline)) for pipeline in stage.pipelines]
    return [summary for summary in found if summary is not None]


def _check_order(stage: Stage) -> Check:
    held = sorted((s for s in _summaries(stage) if s.held_at), key=lambda summary: summary.held_at)  # type: ignore[arg-type,return-value]  # filtered
    served = [next(p.number for p in stage.pipelines if p.run == summary.run) for summary in held]
    overlap = any(a.released_at and b.held_at and a.released_at > b.held_at for a, b in pairwise(held))
    return Check(
        "served in the order of arrival, one at a time",
        served == sorted(served) and len(served) == _PIPELINES and not overlap,
        f"arrival {sorted(served)}, service {served}",
    )


def _check_outcomes(stage: Stage) -> Check:
    exits = [summary.exit for summary in _summaries(stage)]
    expected = [143 if number == _KILLED else 0 for number in range(1, _PIPELINES + 1)]
    return Check("every run ended with the code that tells the truth", exits == expected, f"exit statuses {exits}")


def _check_versions(stage: Stage) -> Check:
    versions = _history(stage)
    serials = [version["serial"] for version in versions]
    runs = {version["run"] for version in versions}
    every = all(pipeline.run in runs for pipeline in stage.pipelines)
    seen = (
        f"{amount(len(versions), 'version')}, serials {serials[0]} to {serials[-1]}, by {amount(len(runs), 'run')}"
        if versions
        else "none"
    )
    rising = serials == sorted(set(serials))
    return Check("every run's work is in the state's history, also the killed one's", every and rising, seen)


def _check_organisation(stage: Stage) -> list[Check]:
    from interlock.simulator.compare import differences

    pulled = _interlock(stage, "state", "pull", STATE)
    if pulled.returncode != 0:
        return [Check("the organisation is what the state says", False, pulled.stderr.strip())]
    document = json_format.loads(pulled.stdout)
    found = differences(stage.served.simulation.snapshot(), document)
    count = sum(len(resource["instances"]) for resource in document["resources"] if resource["mode"] == "managed")
    seen = f"{amount(count, 'object')} compared" if not found else "; ".join(found[:5])
    findings = _interlock(stage, "state", "verify", STATE)
    whole = findings.returncode == 0
    return [
        Check("the organisation is what the state says", not found, seen),
        Check("the state is whole", whole, "verified" if whole else findings.stderr.strip()),
    ]


def _check_plan(stage: Stage) -> Check:
    seasonal = json_format.dumps([f"Campaign {count}" for count in range(2, _PIPELINES + 1)])
    values = ["-var", f"greeting_round={_PIPELINES}", "-var", f"seasonal_skills={seasonal}"]
    folder = str(stage.folder / "contact-center")
    planned = _interlock(stage, "plan", folder, "--state", STATE, "--detailed-exitcode", "--", *values)
    return Check("a new plan finds nothing to do", planned.returncode == 0, f"plan exited {planned.returncode}")


def _history(stage: Stage) -> list[dict[str, Any]]:
    text = _interlock(stage, "state", "history", STATE, "--json").stdout
    versions: list[dict[str, Any]] = json_format.loads(text).get("versions", [])
    return sorted(versions, key=lambda version: version["number"])


def _interlock(stage: Stage, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "interlock", *arguments],
        env=dict(stage.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_LIMIT_S,
    )


# -- the story --------------------------------------------------------------------------------------------------------


class _Narrator:
    """Tells the demo on stderr, one line a happening."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._colour = view.colour_allowed(sys.stderr)
        self._began_s = _seconds()

    def title(self, text: str) -> None:
        self._write("\n" + self._paint(text, "1"))

    def text(self, text: str) -> None:
        self._write("  " + text)

    def line(self, number: int, text: str, code: str = "") -> None:
        name = self._paint(f"pipeline {number}", _COLOURS[number - 1])
        self._write(f"{_seconds() - self._began_s:6.1f}s  {name}  {self._paint(text, code)}")

    def entry(self, number: int, entry: Entry) -> None:
        told = entry.told
        if text := _text(told):
            self.line(number, text, "1;33" if isinstance(told, RecoveryEntry) else "")

    def check(self, check: Check) -> None:
        mark = self._paint("✓", "32") if check.holds else self._paint("✗", "1;31")
        self._write(f"  {mark} {check.name}  {self._paint(check.seen, '2')}")

    def ending(self, checks: Sequence[Check], *, kept: Path | None) -> None:
        if all(check.holds for check in checks):
            self.title("Try it on your own configuration")
            self.text("interlock plan DIR            a plan, queued and under the lock")
            self.text("interlock apply DIR           plan, show, ask, apply exactly that plan")
            self.text("interlock queue ls            who holds, who waits, who is next")
            self.text("interlock state history NAME    every version, who wrote it, and how to go back")
            self.text("interlock doctor DIR          what stands in the way of a safe run")
        if kept is not None:
            self.text(f"kept: INTERLOCK_HOME={kept.resolve()}/home interlock runs ls")

    def _write(self, text: str) -> None:
        if not self._quiet:
            view.notes(text, colours=True)

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if code and self._colour else text


def _text(told: AnyEntry | UnknownEntry) -> str:
    """Spell an entry for the story; empty for one that has no part in it."""
    text = ""
    match told:
        case StandingEntry():
            text = f"queued, position {told.position}"
        case GrantedEntry():
            text = f"holds the state now, fencing token {told.token}"
        case PlanEntry(counts=counts):
            text = f"plans: {counts.add} to add, {counts.change} to change, {counts.remove} to destroy"
        case ResourceEntry(stage="complete") if not told.done % 10 or told.done == told.total:
            text = f"applied {told.done} of {told.total}"
        case RecoveryEntry():
            text = told.text
        case StateEntry():
            text = f"its state is stored, serial {told.serial}"
        case DiagnosticEntry(severity="error"):
            text = f"error: {told.summary}"
        case EndEntry(exit=0):
            text = "done, the lock passes to the next"
        case EndEntry():
            text = f"ended with {told.exit}: {told.what or ''}"
        case _:
            pass
    return text


def _seconds() -> float:
    return time.monotonic()  # noqa: TID251 - a display's own stopwatch decides nothing
