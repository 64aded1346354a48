"""What a run needs of others: the shipped fakes keep to it, so a test among fakes says something of a real run."""

import inspect
from typing import Protocol

import pytest

from interlock.run.surroundings import Gateway, Rescuer, Review, StateAccess
from interlock.run.terraform_commands import Commands, TerraformCommands
from interlock.site.existing_access import ExistingAccess
from interlock.site.own_access import OwnAccess
from interlock.testing.run import FakeCommands, FakeDoor, FakeGateway, FakeRescuer, FakeReview

PAIRS = [
    (StateAccess, FakeDoor),
    (StateAccess, OwnAccess),
    (StateAccess, ExistingAccess),
    (Rescuer, FakeRescuer),
    (Gateway, FakeGateway),
    (Review, FakeReview),
    (Commands, FakeCommands),
    (Commands, TerraformCommands),
]


def owed(protocol: type) -> dict[str, object]:
    return {name: member for name, member in vars(protocol).items() if not name.startswith("_")}


def parameters(member: object) -> list[tuple[str, object]]:
    assert callable(member)
    return [(each.name, each.kind) for each in inspect.signature(member).parameters.values()]


@pytest.mark.parametrize(("protocol", "kind"), PAIRS, ids=lambda each: each.__name__)
def test_it_does_what_the_protocol_says_with_the_same_arguments(protocol: type, kind: type) -> None:
    assert issubclass(protocol, Protocol)
    for name, member in owed(protocol).items():
        own = inspect.getattr_static(kind, name, None)
        if isinstance(member, property):
            fields = getattr(kind, "__dataclass_fields__", {})
            assert isinstance(own, property) or name in fields, name
        else:
            assert own is not None, name
            assert parameters(own) == parameters(member), name
            assert inspect.iscoroutinefunction(own) == inspect.iscoroutinefunction(member), name


@pytest.mark.parametrize("protocol", [StateAccess, Rescuer, Gateway, Review, Commands], ids=lambda each: each.__name__)
def test_every_promise_is_said_in_prose(protocol: type) -> None:
    assert [name for name, member in owed(protocol).items() if not getattr(member, "__doc__", None)] == []
