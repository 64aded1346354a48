from collections.abc import Mapping

import pytest

from interlock.run.entries import AnyEntry
from interlock.run.progress import Progress
from interlock.terraform.events import (
    Action,
    AnyEvent,
    Apply,
    Diagnostic,
    PlannedChange,
    Refresh,
    Resource,
    Severity,
    Stage,
)
from interlock.testing.clock import FakeClock

ONE = Resource(address="a.one")


class Told(list[tuple[str, Mapping[str, object]]]):
    def tell(self, entry: AnyEntry) -> None:
        self.append((entry.KIND, entry.facts()))

    def take(self, progress: Progress, *events: AnyEvent) -> None:
        for event in events:
            progress.on_event(event)


def test_resources_are_counted_when_they_complete() -> None:
    told = Told()
    progress = Progress(told.tell, FakeClock(), total=2)
    for stage in (Stage.START, Stage.PROGRESS, Stage.COMPLETE):
        told.take(progress, Apply(stage=stage, resource=ONE, action=Action.CREATE, elapsed_s=1.0, id="x"))
    assert [(kind, facts["stage"], facts["done"], facts["total"]) for kind, facts in told] == [
        ("resource", "start", 0, 2),
        ("resource", "complete", 1, 2),
    ]
    assert told[-1][1]["id"] == "x"


def test_refreshes_are_told_twice_a_second_at_most() -> None:
    told, clock = Told(), FakeClock()
    progress = Progress(told.tell, clock)
    for _ in range(100):
        told.take(progress, Refresh(stage=Stage.COMPLETE, resource=ONE))
        clock.pass_time(0.01)
    assert [facts["count"] for _, facts in told] == [1, 51]


def test_a_long_diagnostic_is_cut() -> None:
    told = Told()
    told.take(Progress(told.tell, FakeClock()), Diagnostic(severity=Severity.ERROR, summary="s", detail="x" * 99_999))
    assert len(str(told[0][1]["detail"])) == 8_000


@pytest.mark.promise("P10")
def test_a_diagnostic_is_told_without_the_secrets_that_a_provider_quotes() -> None:
    told = Told()
    error = Diagnostic(severity=Severity.ERROR, summary="token: Xk29-fjw0!q", detail='body {"password":"Xk29-fjw0!q"}')
    told.take(Progress(told.tell, FakeClock()), error)
    assert told[0][1]["detail"] == 'body {"password":"(sensitive)"}'
    assert "Xk29" not in repr(told)


def test_the_plan_is_what_its_events_said() -> None:
    told = Told()
    progress = Progress(told.tell, FakeClock())
    told.take(progress, PlannedChange(resource=ONE, action=Action.DELETE))
    assert progress.facts.may_delete == {"a.one"}
    assert told == []
