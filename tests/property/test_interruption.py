"""P8 and P9 over any output and any wishes: what was cut off is never told as saved, and nobody is killed unwarned."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.run.cut_off import find_cut
from interlock.run.interrupts import STANDS_S, Action, Cause, Wishes, respond
from interlock.run.phases import STEPS, Phase
from interlock.run.process import Ended
from interlock.run.stage import Outcome
from interlock.terraform import events
from interlock.terraform.events import AnyEvent, Apply, Diagnostic, Log, Resource, Severity, Stage, Unparsed
from interlock.terraform.interruption import read_interruption

CUTS: list[AnyEvent] = [
    Log(message="\nTwo interrupts received. Exiting immediately.\n"),
    Diagnostic(severity=Severity.ERROR, summary="operation canceled"),
]
HARMLESS: list[AnyEvent] = [
    Log(message="Stopping operation..."),
    Log(message="local-exec: Two interrupts received."),
    Unparsed(message="hello"),
    Diagnostic(severity=Severity.ERROR, summary="execution halted"),
    Diagnostic(severity=Severity.WARNING, summary="operation canceled"),
]
OPERATIONS = st.builds(
    Apply,
    stage=st.sampled_from(Stage),
    resource=st.builds(Resource, address=st.sampled_from(["t.a", "t.b", "module.m.t.c[0]"])),
    action=st.sampled_from([events.Action.CREATE, events.Action.UPDATE, events.Action.DELETE]),
    id=st.sampled_from(["", "i7"]),
)
OUTPUT = st.lists(st.one_of(OPERATIONS, st.sampled_from(HARMLESS)), max_size=20)


def found(output: list[AnyEvent], code: int) -> object:
    outcome = Outcome(ended=Ended(code=code), events=output, interruption=read_interruption(output))
    return find_cut(outcome, state="s", directory="/d", run_folder=Path("/runs/r"))


@pytest.mark.promise("P8")
@given(OUTPUT, OPERATIONS, st.sampled_from(CUTS), st.integers(0, 20), st.sampled_from([0, 1, -9, -15]))
def test_whatever_else_was_said_an_apply_that_was_cut_off_is_told_as_not_saved(
    output: list[AnyEvent], operation: Apply, cut: AnyEvent, at: int, code: int
) -> None:
    told = found([operation, *output[:at], cut, *output[at:]], code)
    assert getattr(told, "exit_status", None) == 131


@pytest.mark.promise("P8")
@given(OUTPUT, st.sampled_from([0, 1]))
def test_an_apply_that_nobody_cut_off_is_never_told_as_not_saved(output: list[AnyEvent], code: int) -> None:
    assert found(output, code) is None


@pytest.mark.promise("P8")
@given(OUTPUT)
def test_every_operation_without_an_end_is_named(output: list[AnyEvent]) -> None:
    open_ones: dict[tuple[str, str], None] = {}
    for event in output:
        if isinstance(event, Apply):
            key = (event.resource.address, event.action.value)
            if event.stage is Stage.START:
                open_ones[key] = None
            elif event.stage in {Stage.COMPLETE, Stage.ERRORED}:
                open_ones.pop(key, None)
    named = read_interruption(output).in_flight
    assert sorted(named) == sorted(f"{address} ({action})" for address, action in open_ones)


@st.composite
def _lives(draw: st.DrawFn) -> list[tuple[Phase, Cause, float]]:
    """Draw wishes in the phases that one run may pass, at instants that only rise."""
    phase, at_s, wishes = draw(st.sampled_from([Phase.PREPARING, Phase.PLANNING, Phase.APPLYING])), 0.0, []
    for _ in range(draw(st.integers(0, 25))):
        if draw(st.integers(0, 11)) == 0:  # most wishes come while Terraform works
            phase = draw(st.sampled_from(sorted(STEPS[phase] or {phase}, key=lambda each: each.value)))
        at_s += draw(st.sampled_from([0.0, 0.1, 1.9, 2.0, 4.9, 5.0, 9.0]))
        wishes.append((phase, draw(st.sampled_from(Cause)), at_s))
    return wishes


@pytest.mark.promise("P9")
@given(_lives())
def test_terraform_is_asked_once_and_killed_only_for_a_person_who_could_read_the_warning(
    life: list[tuple[Phase, Cause, float]],
) -> None:
    wishes, done = Wishes(), []
    for phase, cause, at_s in life:
        action, wishes = respond(phase, cause, wishes, at_s)
        done.append((phase, cause, at_s, action))
    running = [each for each in done if each[0] in {Phase.PLANNING, Phase.APPLYING}]
    assert {action for phase, _, _, action in done if phase is Phase.SETTLING} <= {Action.IGNORE}
    assert [action for *_, action in running].count(Action.STOP) == bool(running)
    warned = [at_s for *_, at_s, action in running if action is Action.WARN]
    assert len(warned) <= 1
    for _, cause, at_s, action in running:
        if action is Action.KILL:
            assert cause in {Cause.SIGINT, Cause.CANCELLED}
            assert warned
            assert at_s - warned[0] >= STANDS_S


@pytest.mark.promise("P9")
@given(st.sampled_from([Phase.PLANNING, Phase.APPLYING]), st.lists(st.sampled_from(Cause), min_size=1, max_size=12))
def test_a_burst_of_any_signals_is_one_wish(phase: Phase, causes: list[Cause]) -> None:
    wishes, actions = Wishes(), []
    for number, cause in enumerate(causes):
        action, wishes = respond(phase, cause, wishes, number * 0.1)
        actions.append(action)
    assert actions == [Action.STOP, *[Action.IGNORE] * (len(causes) - 1)]
