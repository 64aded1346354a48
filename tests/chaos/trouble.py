"""Makes trouble: pipelines that apply, an agent that kills, stops and signals their processes, an observer.

All random choices come from one seed. Processes are real, so a run with the same seed is alike, not identical.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random

from tests.desk import Desk, Started, is_interlock, tree

from interlock.clock import SystemClock
from interlock.coordinator import View
from interlock.errors import InterlockError
from interlock.home.embedded import open_home
from interlock.run.summary import find_summary, write_summary
from interlock.settings.reading import load

STATES = ("one", "two")
WORK = """
variable "hold" { type = number }
variable "round" { type = number }
variable "log" { type = string }

resource "terraform_data" "kept" {
  count = 3
  input = count.index
}

resource "terraform_data" "work" {
  triggers_replace = [var.round]
  depends_on       = [terraform_data.kept]
  provisioner "local-exec" {
    command     = "echo begin $R $(date +%s.%N) >> $LOG; sleep ${var.hold}; echo end $R $(date +%s.%N) >> $LOG"
    environment = { R = var.round, LOG = var.log }
  }
}

resource "terraform_data" "after" {
  input = terraform_data.work.id
}
"""
_CALM_S = (0.1, 0.7)  # between two troubles
_STOPPED_S = (0.2, 3.0)  # some are longer than a lease, none as long as a waiter's patience
_HOLD_S = (0.0, 0.8)
_COMMITS_S = (0.1, 1.5)  # from a writer's first commit until it is killed
_FIRST_COMMIT_S = 60.0  # for the start of a Python on a busy machine
_LOOK_S = 0.02
_END_S = 120.0  # for everything to come to rest when the trouble is over


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do."""

    seed: int
    seconds: float
    pipelines: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One `interlock apply` of a pipeline."""

    state: str
    round: int
    started: Started
    begun_s: float
    killed: bool = False


@dataclass(slots=True, kw_only=True)
class Story:
    """What happened.

    Attributes:
        desk: The home, and the logs of the work that was really done.
        attempts: By pid of the front end.
        troubles: By run id, or pid of a front end: what was done to its processes.
        seen: By state: what the observer saw of its record, in order.
        acknowledged: By state: digests that the store's writer had acknowledged before it was killed.
        signalled: By run id: when its Terraform was sent a signal that asks it to stop, by the chaos and nobody else.
        failures: What went wrong in the chaos itself.
    """

    desk: Desk
    plan: Plan
    attempts: dict[int, Attempt] = field(default_factory=dict)
    troubles: dict[str, list[str]] = field(default_factory=dict)
    seen: dict[str, list[View]] = field(default_factory=dict)
    acknowledged: dict[str, list[str]] = field(default_factory=dict)
    signalled: dict[str, list[datetime]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def log(self, state: str) -> Path:
        """Where the work on a state is written down by the work itself."""
        return self.desk.folder / f"{state}.log"

    def summary(self) -> str:
        """Return one paragraph for people."""
        exits = Counter(str(summary.exit) for summary in self.desk.runs())
        troubles = ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items()))
        return (
            f"{len(self.attempts)} applies, exits {dict(sorted(exits.items()))}; {troubles}; "
            f"{sum(map(len, self.acknowledged.values()))} commits acknowledged by killed writers"
        )


def make_trouble(folder: Path, plan: Plan) -> Story:
    """Run the pipelines under trouble until the time is over, then let everything come to rest."""
    desk = Desk(folder)
    desk.module("work", WORK)
    story = Story(desk=desk, plan=plan)
    over, rested = threading.Event(), threading.Event()
    threads = [
        threading.Thread(target=_pipeline, args=(story, Random(f"{plan.seed} pipeline {number}"), number, over))
        for number in range(plan.pipelines)
    ]
    threads += [threading.Thread(target=_writer, args=(story, Random(f"{plan.seed} writer"), over))]
    observer = threading.Thread(target=lambda: asyncio.run(_observe(story, rested)))
    for thread in (*threads, observer):
        thread.start()
    _trouble(story, Random(f"{plan.seed} trouble"), over)
    for thread in threads:
        thread.join(_END_S)
    _come_to_rest(story)
    rested.set()
    observer.join(_END_S)
    return story


def job_url(round_: int) -> str:
    """Return the CI job that one apply says to be part of: by it a run is told from others whatever happened to it."""
    return f"https://gitlab.example/team/contact-centre/-/jobs/{round_}"


# -- the pipelines ----------------------------------------------------------------------------------------------------


def _pipeline(story: Story, random: Random, number: int, over: threading.Event) -> None:
    round_ = 0
    while not over.is_set():
        round_ += 1
        state = random.choice(STATES)
        values = {"hold": random.uniform(*_HOLD_S), "round": number * 100_000 + round_, "log": story.log(state)}
        flags = [f"-var={name}={value}" for name, value in values.items()]
        words = ("apply", story.desk.folder / "work", "--state", state, "--auto-approve", "--first-apply", "--", *flags)
        protect = random.choice(["always", "never"])
        job = {"CI": "true", "CI_JOB_URL": job_url(number * 100_000 + round_), "INTERLOCK_PROTECT_TERRAFORM": protect}
        started = story.desk.start(*words, environ=job, afresh=True)
        story.attempts[started.process.pid] = Attempt(
            state=state, round=number * 100_000 + round_, started=started, begun_s=time.monotonic()
        )
        try:
            started.wait()
        except subprocess.TimeoutExpired:
            story.failures.append(f"the front end of {state} round {round_} did not end")
            return


def _writer(story: Story, random: Random, over: threading.Event) -> None:
    """Kill -9 a process again and again in the middle of its commits."""
    number = 0
    while not over.is_set():
        number += 1
        state = f"ledger/{number}"
        said = story.desk.folder / f"ledger-{number}.txt"
        words = [sys.executable, "-m", "tests.chaos.committer", str(story.desk.home / "interlock.db"), state, str(said)]
        process = subprocess.Popen(words, env={**os.environ}, stdin=subprocess.DEVNULL)
        _until_first_commit(process, said)
        over.wait(random.uniform(*_COMMITS_S))
        if process.poll() is not None:
            story.failures.append(f"the writer of {state} ended by itself with {process.returncode}")
        process.kill()
        process.wait()
        story.counts["writers killed"] += 1
        lines = said.read_text().splitlines() if said.exists() else []
        story.acknowledged[state] = [line for line in lines if len(line) == 64]


def _until_first_commit(process: subprocess.Popen[bytes], said: Path) -> None:
    """Wait for the first acknowledgement: on a busy machine a writer that is killed by the clock has written nothing.

    It is waited for also when the time is over, so that the last writer, which may be the only one, shows something.
    """
    until_s = time.monotonic() + _FIRST_COMMIT_S
    while time.monotonic() < until_s and process.poll() is None:
        if said.exists() and said.stat().st_size:
            return
        time.sleep(_LOOK_S)


# -- the trouble ------------------------------------------------------------------------------------------------------


def _trouble(story: Story, random: Random, over: threading.Event) -> None:
    until_s = time.monotonic() + story.plan.seconds
    while time.monotonic() < until_s:
        time.sleep(random.uniform(*_CALM_S))
        name, number = random.choice(_TROUBLES)
        victims = sorted(_victims(story, name))
        if victims:
            whose, pid = random.choice(victims)
            story.troubles.setdefault(whose, []).append(f"{name} {number.name}")
            _strike(story, Blow(name=name, whose=whose, pid=pid, number=number), random.uniform(*_STOPPED_S))
    over.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """One trouble: what is done to whose process."""

    name: str
    whose: str
    pid: int
    number: signal.Signals


_BURST = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TROUBLES = [
    ("front end", signal.SIGKILL),
    ("front end", signal.SIGINT),
    ("front end", signal.SIGTERM),
    ("front end", signal.SIGSTOP),
    ("supervisor", signal.SIGKILL),
    ("record", signal.SIGKILL),
    ("supervisor", signal.SIGSTOP),
    ("supervisor", signal.SIGSTOP),
    ("terraform", signal.SIGKILL),
    ("terraform", signal.SIGSTOP),
    ("terraform", signal.SIGTERM),
    ("tree", signal.SIGTERM),
    ("tree", signal.SIGTERM),
    ("burst", signal.SIGINT),
    ("burst", signal.SIGINT),
    ("nobody", signal.SIGCONT),
    ("nobody", signal.SIGCONT),
    ("nobody", signal.SIGCONT),
]


def _victims(story: Story, name: str) -> set[tuple[str, int]]:
    """Return living processes of a kind, each with the run, or the front end, that it belongs to."""
    if name == "front end":
        living = [attempt for attempt in story.attempts.copy().values() if attempt.started.process.poll() is None]
        return {(str(attempt.started.process.pid), attempt.started.process.pid) for attempt in living}
    role = {"tree": "supervisor", "burst": "supervisor", "record": "supervisor"}.get(name, name)
    going = [(summary.run, summary.processes.get(role)) for summary in story.desk.runs() if summary.exit is None]
    return {(run, process.pid) for run, process in going if process is not None and _is_ours(story, process.pid)}


def _is_ours(story: Story, pid: int) -> bool:
    """Say whether a pid is still a process of this chaos, so that nobody else's is ever signalled."""
    try:
        words = (Path("/proc") / str(pid) / "cmdline").read_bytes()
    except OSError:
        return False
    return is_interlock(pid) or str(story.desk.home).encode() in words


def _strike(story: Story, blow: Blow, stopped_s: float) -> None:
    story.counts[f"{blow.name} {blow.number.name}"] += 1
    if blow.name == "burst":
        for number in _BURST:
            _send(blow.pid, number)
        return
    if blow.name == "record":
        _strike_record(story, blow)
        return
    if blow.name == "tree":
        _strike_tree(story, blow)
        return
    if blow.name == "terraform" and blow.number is signal.SIGTERM:
        story.signalled.setdefault(blow.whose, []).append(SystemClock().now())
    _send(blow.pid, blow.number)
    if blow.number is signal.SIGSTOP:
        threading.Timer(stopped_s, _send, (blow.pid, signal.SIGCONT)).start()


def _strike_record(story: Story, blow: Blow) -> None:
    """Kill a supervisor between starting Terraform and writing its pid down: its record is left without that."""
    folder = story.desk.home / "runs" / blow.whose
    _send(blow.pid, signal.SIGSTOP)  # so that it writes nothing after us
    summary = find_summary(folder)
    if summary is not None and summary.processes.pop("terraform", None) is not None:
        summary.starting = "apply"
        write_summary(folder, summary)
    _send(blow.pid, blow.number)


def _strike_tree(story: Story, blow: Blow) -> None:
    """Signal a run's supervisor, its Terraform and all that came from it, highest first, as a runner's helper does."""
    terraform = story.desk.summary(blow.whose).processes.get("terraform")
    victims = {blow.pid}
    if terraform is not None and _is_ours(story, terraform.pid):
        victims |= set(tree(terraform.pid))
        story.signalled.setdefault(blow.whose, []).append(SystemClock().now())
    for pid in sorted(victims, reverse=True):
        _send(pid, blow.number)


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _come_to_rest(story: Story) -> None:
    """Wait until every run has ended; `interlock wait` ends those whose supervisor was killed with their front end."""
    time.sleep(_STOPPED_S[1])  # until whoever is stopped was continued
    for summary in story.desk.runs():
        if summary.exit is None:
            waited = story.desk.run("wait", summary.run, "--timeout", f"{_END_S:.0f}s")
            if waited.code == 10:
                story.failures.append(f"run {summary.run} does not end: {waited.err}")


# -- the observer -----------------------------------------------------------------------------------------------------


async def _observe(story: Story, rested: threading.Event) -> None:
    settings = load(story.desk.folder, story.desk.environ)
    async with open_home(settings) as home:

        async def watch(state: str) -> None:
            views = story.seen.setdefault(state, [])
            while not rested.is_set():
                try:
                    seen = views[-1].version if views else None
                    view = await home.coordinator.watch(state, seen=seen, timeout_s=0.5)
                except InterlockError as error:
                    story.failures.append(f"the observer: {error}")
                    await SystemClock().sleep(0.5)
                    continue
                if not views or views[-1].version != view.version:
                    views.append(view)

        await asyncio.gather(*(watch(state) for state in STATES))
