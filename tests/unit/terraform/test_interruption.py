import pytest

from interlock.terraform.events import Action, AnyEvent, Apply, Diagnostic, Log, Resource, Severity, Stage
from interlock.terraform.interruption import MAX_NAMED, read_interruption


def op(stage: Stage, name: str, action: Action = Action.CREATE, ident: str = "") -> Apply:
    return Apply(stage=stage, resource=Resource(address=f"t.{name}"), action=action, id=ident)


def error(summary: str, address: str = "", detail: str = "") -> Diagnostic:
    return Diagnostic(severity=Severity.ERROR, summary=summary, address=address, detail=detail)


STOPPING: list[AnyEvent] = [
    Log(message="\nInterrupt received.\nPlease wait for Terraform to exit or data loss may occur.\n"),
    Log(message="Stopping operation..."),
]
CUT = Log(message="\nTwo interrupts received. Exiting immediately. Note that data loss may have occurred.\n")
HALTED = error("execution halted")
PROVIDER_GONE = [
    error(
        "Plugin did not respond", detail="failed to respond to the plugin6.(*GRPCProvider).ApplyResourceChange call."
    ),
    error("Request cancelled", detail="The plugin6.(*GRPCProvider).ApplyResourceChange request was cancelled."),
]


@pytest.mark.parametrize("line", [*STOPPING, Log(message="\nInterrupt received.\nPlease wait for OpenTofu to exit")])
def test_each_of_its_sentences_says_that_it_is_stopping(line: AnyEvent) -> None:
    assert read_interruption([line]).is_stopping


def test_text_of_others_does_not() -> None:
    said = read_interruption([Log(message="local-exec: Interrupt received."), error("Interrupt received.")])
    assert not said.is_stopping


@pytest.mark.promise("P8")
def test_a_stop_that_saved_everything_is_not_cut_although_it_ends_with_execution_halted() -> None:
    said = read_interruption([op(Stage.START, "a"), *STOPPING, op(Stage.COMPLETE, "a", ident="i"), HALTED, HALTED])
    assert (said.is_stopping, said.is_cut, said.in_flight, said.sentence()) == (True, False, [], "")


@pytest.mark.promise("P8")
@pytest.mark.parametrize("word", [CUT, error("operation canceled")])
def test_a_second_signal_leaves_everything_in_flight_also_what_is_called_failed_afterwards(word: AnyEvent) -> None:
    begun: list[AnyEvent] = [op(Stage.START, name) for name in "abcd"]
    before: list[AnyEvent] = [op(Stage.ERRORED, "d"), *STOPPING, op(Stage.COMPLETE, "c", ident="i3")]
    said = read_interruption([*begun, *before, word, op(Stage.ERRORED, "a")])
    assert said.is_cut
    assert said.in_flight == ["t.a (create)", "t.b (create)"]
    assert "t.c (id i3)" in said.sentence()


def test_what_a_data_source_does_is_never_in_flight() -> None:
    assert read_interruption([op(Stage.START, "a", Action.READ), CUT]).in_flight == []


def test_a_replacement_is_two_operations() -> None:
    events = [op(Stage.START, "a", Action.DELETE), op(Stage.COMPLETE, "a", Action.DELETE), op(Stage.START, "a")]
    assert read_interruption([*events, CUT]).in_flight == ["t.a (create)"]


@pytest.mark.promise("P8")
@pytest.mark.parametrize("gone", PROVIDER_GONE)
def test_a_provider_that_is_gone_leaves_those_in_doubt_whose_failure_it_did_not_explain(gone: AnyEvent) -> None:
    events = [op(Stage.START, "a"), op(Stage.START, "b"), op(Stage.ERRORED, "a"), op(Stage.ERRORED, "b")]
    said = read_interruption([*events, error("409 exists", address="t.b"), gone])
    assert said.in_flight == ["t.a (create)"]


def test_a_provider_that_is_gone_while_it_only_read_leaves_nothing_in_doubt() -> None:
    reading = error("Plugin did not respond", detail="failed to respond to the ReadResource call.")
    said = read_interruption([op(Stage.START, "a"), op(Stage.ERRORED, "a"), reading])
    assert said.in_flight == []


def test_a_sentence_names_a_bounded_number() -> None:
    many = [op(Stage.START, str(number)) for number in range(MAX_NAMED + 5)]
    assert read_interruption([*many, CUT]).sentence().endswith("and 5 more")
