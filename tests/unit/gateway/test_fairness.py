from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from interlock.gateway.fairness import Entry, Turns
from interlock.lock import Priority


def entry(flow: str, priority: Priority = Priority.APPLY, group: str = "g", order: float = 0.0) -> Entry[str]:
    return Entry(item=flow, flow=flow, priority=priority, group=group, order=order)


def serve(turns: Turns[str], count: int) -> list[str]:
    served = [turns.next(lambda _: True) for _ in range(count)]
    return [each.item for each in served if each is not None]


def test_flows_of_a_class_take_turns_however_many_requests_each_has() -> None:
    turns: Turns[str] = Turns()
    for _ in range(100):
        turns.add(entry("a"))
    for _ in range(3):
        turns.add(entry("b"))
    assert serve(turns, 6) == ["a", "b", "a", "b", "a", "b"]


def test_inside_a_flow_the_first_come_is_the_first_served() -> None:
    turns: Turns[str] = Turns()
    late, early = entry("a", order=2.0), entry("a", order=1.0, group="h")
    turns.add(late)
    turns.add(early)
    assert turns.next(lambda _: True) is early
    assert turns.next(lambda _: True) is late
    assert turns.next(lambda _: True) is None


def test_classes_share_by_weight_when_all_want_more_than_there_is() -> None:
    turns: Turns[str] = Turns()
    for _ in range(200):
        for priority in Priority:
            turns.add(entry(priority.name, priority))
    shares = Counter(serve(turns, 120))
    assert shares == {"APPLY": 80, "PLAN": 30, "DRIFT": 10}


def test_a_class_alone_gets_everything() -> None:
    turns: Turns[str] = Turns()
    for _ in range(5):
        turns.add(entry("d", Priority.DRIFT))
    assert len(serve(turns, 10)) == 5


def test_idling_earns_no_credit() -> None:
    turns: Turns[str] = Turns()
    for _ in range(50):
        turns.add(entry("drift", Priority.DRIFT))
    serve(turns, 40)
    for _ in range(12):
        turns.add(entry("apply", Priority.APPLY))
    assert Counter(serve(turns, 9)) == {"apply": 8, "drift": 1}


def test_what_cannot_go_does_not_hold_up_the_rest_of_its_flow() -> None:
    turns: Turns[str] = Turns()
    blocked, free = entry("a", group="full", order=0.0), entry("a", group="open", order=1.0)
    turns.add(blocked)
    turns.add(free)

    def only_open(group: Hashable) -> bool:
        return group == "open"

    assert turns.next(only_open) is free
    assert turns.next(only_open) is None
    assert len(turns) == 1


def test_a_blocked_class_is_owed_only_a_little() -> None:
    turns: Turns[str] = Turns()
    for _ in range(1000):
        turns.add(entry("apply", Priority.APPLY, group="full"))
        turns.add(entry("drift", Priority.DRIFT, group="open"))
    for _ in range(500):
        turns.next(lambda group: group == "open")
    run = serve(turns, 130)
    assert run[:64] == ["apply"] * 64
    assert "drift" in run[64:80]


def test_a_removed_entry_is_never_served_and_may_be_removed_twice() -> None:
    turns: Turns[str] = Turns()
    first, second = entry("a"), entry("a")
    turns.add(first)
    turns.add(second)
    turns.remove(first)
    turns.remove(first)
    assert turns.next(lambda _: True) is second
    assert len(turns) == 0
    assert turns.flows(Priority.APPLY) == 0


def test_a_costly_request_waits_until_its_flow_has_saved_up_for_it() -> None:
    turns: Turns[str] = Turns()
    turns.add(Entry(item="big", flow="big", priority=Priority.APPLY, group="g", order=0.0, cost=3.0))
    for _ in range(5):
        turns.add(entry("small"))
    assert serve(turns, 4) == ["small", "small", "big", "small"]


def test_who_waits_can_be_counted() -> None:
    turns: Turns[str] = Turns()
    turns.add(entry("a"))
    turns.add(entry("a", Priority.DRIFT))
    assert (turns.waiting_of("a"), turns.waiting(Priority.DRIFT), len(list(turns.entries()))) == (2, 1, 2)
    assert turns.waiting_of("nobody") == 0
