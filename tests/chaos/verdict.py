"""Judges a chaos run by its histories: what the observer saw, what the store kept, what the work itself wrote down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime
from itertools import combinations, pairwise
from pathlib import Path

from tests.chaos.trouble import STATES, Attempt, Story, job_url

from interlock.coordinator import View
from interlock.home.embedded import open_home
from interlock.run.stage import EventFile
from interlock.run.summary import Summary
from interlock.settings.reading import load
from interlock.state import Version, refusing, verify_state
from interlock.terraform.events import Action, Apply, Stage
from interlock.terraform.interruption import Interruption, read_interruption

_STOPS = {130, 143}
_NOT_SAVED = 131
_OWN_FAILURE = 34
_KILLS = {"supervisor SIGKILL", "record SIGKILL"}
"""Of a supervisor: its front end saves what is left, and says that it was killed; or 131, when it has to go before."""


def judge(story: Story) -> list[str]:
    """Return every promise that was broken, in words; empty when all held."""
    runs = story.desk.runs()
    broken = [*story.failures]
    for state in STATES:
        of_state = [summary for summary in runs if summary.state == state]
        views = story.seen.get(state, [])
        broken += _one_holder(state, views)
        broken += _in_order(state, views)
        broken += _work_overlaps(state, story.log(state))
        broken += asyncio.run(_versions(story, state, of_state, views))
        broken += _comes_to_rest(story, state)
    broken += _exits(story, runs)
    for summary in runs:
        broken += _signals(story, summary)
    broken += asyncio.run(_completed_is_saved(story, runs))
    broken += asyncio.run(_acknowledged(story))
    broken += _nothing_left(story)
    broken += unchecked(story, runs)
    return broken


def unchecked(story: Story, runs: list[Summary]) -> Iterator[str]:
    """A law that had nothing to judge has not held: say so, or a run in which nothing happened would be a success."""
    seen = {
        "P1 and P2: the observer saw a state": sum(map(len, story.seen.values())),
        "P3: a killed writer's commit was acknowledged": sum(map(len, story.acknowledged.values())),
        "P3 and P9: a run stored a state": sum(summary.exit == 0 for summary in runs),
        "P8: a run ended": sum(summary.exit is not None for summary in runs),
    }
    for law, count in seen.items():
        if not count:
            yield f"nothing was checked of {law}: it never did; the machine is too busy, or the time too short"


# -- P1 ---------------------------------------------------------------------------------------------------------------


def _one_holder(state: str, views: list[View]) -> Iterator[str]:
    for view in views:
        if len(view.lock.holders) > 1:
            yield f"P1 {state}: {len(view.lock.holders)} holders in record version {view.version}"
    for before, after in pairwise(views):
        if after.lock.token < before.lock.token:
            yield f"P1 {state}: the token fell from {before.lock.token} to {after.lock.token}"


def _work_overlaps(state: str, log: Path) -> Iterator[str]:
    """Compare the work that was really done: what began and ended, in the words of the work itself."""
    begun: dict[str, float] = {}
    spans: list[tuple[float, float, str]] = []
    for line in log.read_text().splitlines() if log.exists() else []:
        word, round_, at = line.split()
        if word == "begin":
            begun[round_] = float(at)
        else:
            spans.append((begun.pop(round_), float(at), round_))
    spans += [(at, at, round_) for round_, at in begun.items()]  # stopped in the middle: at least its beginning
    for (_, ended, first), (begins, _, second) in pairwise(sorted(spans)):
        if begins < ended:
            yield f"P1 {state}: rounds {first} and {second} worked at the same time"


# -- P2 ---------------------------------------------------------------------------------------------------------------


def _in_order(state: str, views: list[View]) -> Iterator[str]:
    """Who was seen to wait in front of somebody must not have been granted after them."""
    tokens = {holder.ticket: holder.token for view in views for holder in view.lock.holders}
    pairs = {pair for view in views for pair in combinations([waiter.ticket for waiter in view.lock.waiters], 2)}
    for first, second in sorted(pairs):
        if first in tokens and second in tokens and tokens[first] > tokens[second]:
            yield f"P2 {state}: {second} was granted before {first}, who had come first"


# -- P3 and P4 --------------------------------------------------------------------------------------------------------


async def _versions(story: Story, state: str, runs: list[Summary], views: list[View]) -> list[str]:
    broken = []
    async with open_home(load(story.desk.folder, story.desk.environ)) as home:
        history = list(reversed(await home.archive.history(state)))
        for version in history:
            body = await home.archive.read_version(state, version)
            if refusing(verify_state(body)):
                broken.append(f"P6 {state}: version {version.number} is not whole")
    kept = {version.number: version.digest for version in history}
    heads = {(view.head.number, view.head.digest) for view in views if view.head is not None}
    broken += [
        f"P3 {state}: version {number} was seen and is lost" for number, digest in heads if kept.get(number) != digest
    ]
    broken += _chain(state, history)
    tokens = {summary.run: summary.token for summary in runs}
    broken += [
        f"P4 {state}: version {version.number} has token {version.token}, its run had {tokens.get(version.run)}"
        for version in history
        if tokens.get(version.run) != version.token
    ]
    wrote = {version.run for version in history}
    broken += [
        f"P8 {state}: run {s.run} succeeded and wrote nothing" for s in runs if s.exit == 0 and s.run not in wrote
    ]
    return broken


def _chain(state: str, history: list[Version]) -> Iterator[str]:
    if [version.number for version in history] != list(range(1, len(history) + 1)):
        yield f"P3 {state}: the history has gaps: {[version.number for version in history]}"
    for before, after in pairwise(history):
        if after.serial <= before.serial:
            yield f"P3 {state}: serial {after.serial} follows {before.serial}"
        if after.token < before.token:
            yield f"P4 {state}: token {after.token} wrote after token {before.token}"


async def _acknowledged(story: Story) -> list[str]:
    broken = []
    async with open_home(load(story.desk.folder, story.desk.environ)) as home:
        for state, digests in story.acknowledged.items():
            kept = {version.digest for version in await home.archive.history(state)}
            lost = [digest for digest in digests if digest not in kept]
            broken += [f"P3 {state}: {len(lost)} of {len(digests)} acknowledged versions are lost"] if lost else []
    return broken


# -- P8 ---------------------------------------------------------------------------------------------------------------


def _exits(story: Story, runs: list[Summary]) -> Iterator[str]:
    for summary in runs:
        attempt = _attempt_of(story, summary)
        troubles = _troubles(story, summary, attempt)
        allowed = _allowed(troubles)
        if summary.exit not in allowed:
            after = ", ".join(sorted(troubles)) or "nothing at all"
            yield f"P8 run {summary.run} ended with {summary.exit}, not with one of {sorted(allowed)}, after {after}"
        answer = attempt.started.answer if attempt is not None else None
        left = answer is not None and answer.code == _NOT_SAVED and bool(_KILLS & troubles)
        if answer is not None and answer.code >= 0 and answer.code != summary.exit and not left:
            yield f"P8 run {summary.run}: its front end said {answer.code}, the run says {summary.exit}"


def _attempt_of(story: Story, summary: Summary) -> Attempt | None:
    return next((one for one in story.attempts.values() if summary.job == job_url(one.round)), None)


def _troubles(story: Story, summary: Summary, attempt: Attempt | None) -> set[str]:
    of_front_end = story.troubles.get(str(attempt.started.process.pid), []) if attempt else []
    return {*of_front_end, *story.troubles.get(summary.run, [])}


def _allowed(troubles: set[str]) -> set[int]:
    """Return the exit statuses that tell the truth after these troubles; whoever was only stopped must succeed."""
    allowed = {0}
    if troubles & {"front end SIGKILL", "front end SIGTERM", "front end SIGINT", *_KILLS}:
        allowed |= _STOPS
    if troubles & {"tree SIGTERM", "burst SIGINT"}:
        allowed |= _STOPS
    if troubles & {"terraform SIGTERM", "tree SIGTERM"}:
        allowed |= {_NOT_SAVED, _OWN_FAILURE, *_STOPS}  # whether it may be 131 is judged by what Terraform said
    if "terraform SIGKILL" in troubles:
        allowed |= {_NOT_SAVED, _OWN_FAILURE}
    return allowed


# -- P9 ---------------------------------------------------------------------------------------------------------------


def _said(story: Story, summary: Summary) -> Interruption:
    output = story.desk.home / "runs" / summary.run / "apply.jsonl"
    return read_interruption(EventFile(output).new(at_end=True) if output.exists() else [])


def _signals(story: Story, summary: Summary) -> Iterator[str]:
    """Whoever cut Terraform off, it was not us; and a run that was cut off never says that all is saved."""
    said = _said(story, summary)
    if said.is_cut and summary.exit in {0, *_STOPS}:
        yield f"P8 run {summary.run} was cut off and ended with {summary.exit}"
    if not said.is_cut:
        return
    markers = sorted((story.desk.home / "runs" / summary.run).glob("asked-to-stop-*"))
    ours = [datetime.fromisoformat(json.loads(marker.read_bytes())["at"]) for marker in markers]
    theirs = story.signalled.get(summary.run, [])
    if len(ours) + len(theirs) < 2:  # its second signal cuts Terraform off
        yield f"P9 run {summary.run} was cut off after {len(ours)} signals of ours and {len(theirs)} of the chaos"
    if len(theirs) == 1 and any(at > theirs[0] for at in ours):
        yield f"P9 run {summary.run}: our signal was Terraform's second"


async def _completed_is_saved(story: Story, runs: list[Summary]) -> list[str]:
    """What Terraform called completed is in a version that its run stored, unless the run says that it is not."""
    broken = []
    async with open_home(load(story.desk.folder, story.desk.environ)) as home:
        for state in STATES:
            stored: dict[str, bytes] = {}
            for version in await home.archive.history(state):
                stored[version.run] = stored.get(version.run, b"") + await home.archive.read_version(state, version)
            for summary in runs:
                if summary.state == state and summary.exit in {0, *_STOPS}:
                    lost = [each for each in _made(story, summary) if each.encode() not in stored.get(summary.run, b"")]
                    broken += [f"P9 run {summary.run} completed {each}, which no version has" for each in lost]
    return broken


def _made(story: Story, summary: Summary) -> list[str]:
    output = story.desk.home / "runs" / summary.run / "apply.jsonl"
    events = EventFile(output).new(at_end=True) if output.exists() else []
    applied = [event for event in events if isinstance(event, Apply) and event.action is Action.CREATE]
    return [event.id for event in applied if event.stage is Stage.COMPLETE and event.id]


# -- the end ----------------------------------------------------------------------------------------------------------


def _comes_to_rest(story: Story, state: str) -> Iterator[str]:
    desk = story.desk
    flags = ("--", "-var=hold=0", "-var=round=99", f"-var=log={desk.folder / 'last.log'}")
    last = desk.run("apply", desk.folder / "work", "--state", state, "--auto-approve", *flags)
    if last.code != 0:
        yield f"{state}: a last apply exits {last.code}: {last.err}"
    planned = desk.run("plan", desk.folder / "work", "--state", state, "--detailed-exitcode", *flags)
    if planned.code != 0:
        yield f"{state}: a last plan exits {planned.code}: {planned.err}"
    lock = desk.lock(state)
    if lock.holders or lock.waiters:
        yield f"{state}: stranded: holders {lock.holders}, waiters {lock.waiters}"


def _nothing_left(story: Story) -> Iterator[str]:
    home = str(story.desk.home).encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if home in words:
                yield f"process {entry.name} is left: {words[:200]!r}"
    for left in story.desk.home.glob("trees/**/errored.tfstate"):
        yield f"an unsaved state is left in {left}"
