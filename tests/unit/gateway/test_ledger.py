from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from interlock.gateway.budget import RESET_MAX_S
from interlock.gateway.ledger import (
    ACCOUNTS_MAX,
    ANSWER_MAX_S,
    Account,
    Ledger,
    Slice,
    Turn,
    block,
    close,
    draw,
    enough_free_s,
    from_bytes,
    lost_until_s,
    most_at_once,
    next_free_s,
    occupied,
    piece_of,
    satisfied,
    settle_account,
    to_bytes,
    usable_s,
)


def ledger(allowed: int = 100, window_s: float = 60.0, now_s: float = 1000.0) -> Ledger:
    return settle_account(Ledger(), "org", allowed=allowed, window_s=window_s, now_s=now_s)


def test_two_processes_together_draw_no_more_than_the_allowance() -> None:
    book, first = draw(ledger(), "org", owner="a/1", want=70, now_s=1000.0)
    book, second = draw(book, "org", owner="b/1", want=70, now_s=1000.0)
    assert first is not None
    assert second is not None
    assert (first.amount, second.amount) == (70, 30)
    assert draw(book, "org", owner="a/2", want=1, now_s=1000.0)[1] is None


def test_what_was_not_used_is_given_back_and_the_rest_counts_a_window_after_its_last_answer() -> None:
    book, _ = draw(ledger(), "org", owner="a/1", want=70, now_s=1000.0)
    book = close(book, "org", owner="a/1", used=10, answered_s=1000.5)
    assert occupied(book.accounts["org"], 1001.0) == 10
    assert next_free_s(book.accounts["org"], 1001.0) == pytest.approx(1060.5, abs=0.01)
    assert occupied(book.accounts["org"], 1060.51) == 0


def test_the_slice_of_a_dead_process_frees_itself() -> None:
    book, _ = draw(ledger(), "org", owner="dead/1", want=100, now_s=1000.0)
    end_s = 1000.0 + usable_s(60.0) + ANSWER_MAX_S + 60.0
    assert occupied(book.accounts["org"], end_s - 0.1) == 100
    assert occupied(book.accounts["org"], end_s) == 0


def test_a_refusal_closes_the_account_for_everybody_and_a_shorter_one_does_not_reopen_it() -> None:
    book = block(ledger(), "org", until_s=1030.0)
    book = block(book, "org", until_s=1010.0)
    assert draw(book, "org", owner="a/1", want=1, now_s=1029.0)[1] is None
    assert draw(book, "org", owner="a/1", want=1, now_s=1030.0)[1] is not None


def test_a_clock_that_was_set_back_costs_one_longest_time_at_most() -> None:
    book, _ = draw(ledger(now_s=9_000_000.0), "org", owner="a/1", want=100, now_s=9_000_000.0)
    book = settle_account(book, "org", allowed=100, window_s=60.0, now_s=1000.0)
    assert occupied(book.accounts["org"], 1000.0 + 122.0) == 0


def test_a_changed_limit_is_taken_over() -> None:
    book = settle_account(ledger(100), "org", allowed=50, window_s=60.0, now_s=1000.0)
    _, piece = draw(book, "org", owner="a/1", want=70, now_s=1000.0)
    assert piece is not None
    assert piece.amount == 50


def test_a_ledger_survives_being_stored() -> None:
    book, _ = draw(ledger(), "org", owner="a/1", want=7, now_s=1000.0)
    assert from_bytes(to_bytes(book), now_s=0.0) == book


@pytest.mark.promise("P7")
@pytest.mark.parametrize(
    "raw", [b"\x00garbage", b'{"schema": 99, "accounts": {}}', b'{"schema": 1, "accounts": "\xff"}']
)
def test_a_ledger_that_cannot_be_read_is_begun_anew_as_if_everything_had_just_been_drawn(raw: bytes) -> None:
    book = from_bytes(raw, now_s=1000.0)
    book = settle_account(book, "org", allowed=100, window_s=60.0, now_s=1000.0)
    end_s = 1000.0 + usable_s(60.0) + ANSWER_MAX_S + 60.0
    assert draw(book, "org", owner="a/1", want=1, now_s=end_s - 0.1)[1] is None
    assert lost_until_s(book, end_s - 0.1) == end_s
    book = settle_account(from_bytes(to_bytes(book), now_s=end_s), "org", allowed=100, window_s=60.0, now_s=end_s)
    assert draw(book, "org", owner="a/1", want=1, now_s=end_s)[1] is not None
    assert lost_until_s(book, end_s) == 0.0


def test_an_unknown_account_gives_nothing_and_breaks_nothing() -> None:
    assert draw(Ledger(), "org", owner="a", want=1, now_s=0.0) == (Ledger(), None)
    assert close(Ledger(), "org", owner="a", used=1, answered_s=0.0) == Ledger()
    assert block(Ledger(), "org", until_s=1.0) == Ledger()


def test_closing_an_unknown_slice_changes_nothing() -> None:
    book, _ = draw(ledger(), "org", owner="a/1", want=7, now_s=1000.0)
    assert close(book, "org", owner="b/1", used=5, answered_s=1000.0) == book


@pytest.mark.promise("P7")
def test_a_block_by_a_clock_that_was_a_day_ahead_closes_nothing_for_a_day() -> None:
    book = block(ledger(), "org", until_s=1000.0 + 86_400)
    book = settle_account(book, "org", allowed=100, window_s=60.0, now_s=1000.0)
    assert draw(book, "org", owner="a/1", want=1, now_s=1000.0 + RESET_MAX_S - 1)[1] is None
    assert draw(book, "org", owner="a/1", want=1, now_s=1000.0 + RESET_MAX_S)[1] is not None


APPLY, DRIFT = Turn(name="APPLY", weight=8.0), Turn(name="DRIFT", weight=1.0)


def shared(turns: tuple[Turn, ...], seconds: float, *, allowed: int = 600) -> dict[str, list[float]]:
    """Let a process of each class draw as often as it can; return when each got what."""
    book = settle_account(Ledger(), "org", allowed=allowed, window_s=60.0, now_s=1000.0)
    got: dict[str, list[float]] = {each.name: [] for each in turns}
    for step in range(int(seconds * 20)):
        now_s = 1000.0 + step / 20
        for turn in turns[:: 1 if step % 2 else -1]:
            owner = f"{turn.name}/{step}"
            book, piece = draw(book, "org", owner=owner, want=30, now_s=now_s, turn=turn)
            if piece is not None:
                got[turn.name] += [now_s] * piece.amount
                book = close(book, "org", owner=owner, used=piece.amount, answered_s=now_s)
        book = settle_account(book, "org", allowed=allowed, window_s=60.0, now_s=now_s)
    return got


@pytest.mark.promise("P7")
def test_an_apply_and_a_drift_scan_in_two_processes_share_eight_to_one() -> None:
    got = shared((APPLY, DRIFT), 30.0)
    later = {name: sum(1 for at_s in times if at_s >= 1010.0) for name, times in got.items()}
    assert 6.0 <= later["APPLY"] / later["DRIFT"] <= 10.0


@pytest.mark.promise("P7")
def test_the_shared_window_has_no_silence_and_is_never_overdrawn() -> None:
    got = sorted(at_s for times in shared((APPLY, DRIFT), 130.0).values() for at_s in times)
    assert max(later - earlier for earlier, later in pairwise(got)) <= 4.0
    assert all(got[number + 600] - got[number] >= 60.0 for number in range(len(got) - 600))
    assert len(got) >= 1200


def test_a_class_that_is_alone_gets_everything() -> None:
    assert len(shared((DRIFT,), 30.0)["DRIFT"]) >= 300


def test_a_class_that_asked_and_went_away_holds_nobody_up() -> None:
    book = settle_account(Ledger(), "org", allowed=600, window_s=60.0, now_s=1000.0)
    book, _ = draw(book, "org", owner="first", want=40, now_s=1000.0, turn=DRIFT)
    book, _ = draw(book, "org", owner="a", want=1, now_s=1000.0, turn=APPLY)
    book, held = draw(book, "org", owner="b", want=1, now_s=1000.2, turn=DRIFT)
    book, piece = draw(book, "org", owner="c", want=1, now_s=1001.0, turn=DRIFT)
    assert held is None
    assert piece is not None


@pytest.mark.promise("P7")
def test_nobody_waits_for_a_class_that_got_all_it_wanted() -> None:
    book = ledger(allowed=600)
    book, _ = draw(book, "org", owner="first", want=5, now_s=1000.0, turn=DRIFT)
    book, got = draw(book, "org", owner="a", want=1, now_s=1000.1, turn=APPLY)
    assert got is not None
    book = satisfied(book, "org", APPLY, now_s=1000.1)
    book, piece = draw(book, "org", owner="b", want=1, now_s=1000.2, turn=DRIFT)
    assert piece is not None
    wanting = replace(book.accounts["org"], level=0.0, level_at_s=1000.2)
    book, none = draw(Ledger(accounts={"org": wanting}), "org", owner="c", want=1, now_s=1000.2, turn=APPLY)
    assert none is None
    _, waits = draw(book, "org", owner="d", want=1, now_s=1000.4, turn=DRIFT)
    assert waits is None  # now the apply wants what it did not get


def test_a_ledger_of_an_older_version_is_read() -> None:
    old = b'{"schema":1,"accounts":{"org":{"allowed":9,"window_s":60.0,"blocked_until_s":0.0,"slices":[]}}}'
    book, piece = draw(from_bytes(old, now_s=5.0), "org", owner="a", want=1, now_s=5.0, turn=APPLY)
    assert piece is not None
    assert book.accounts["org"].served == {"APPLY": 0.125}


def far(**asked: float) -> Account:
    return Account(allowed=310, window_s=60.0, is_far=True, asked=dict(asked))


FAR_APPLY, FAR_DRIFT = (
    Turn(name=name, weight=weight, process="m") for name, weight in (("APPLY", 8.0), ("DRIFT", 1.0))
)


def test_a_far_slice_is_as_large_as_its_users_part_and_one_who_is_alone_leaves_room_for_who_comes() -> None:
    alone = far(**{"DRIFT": 100.0, "DRIFT/m": 100.0})
    assert piece_of(alone, FAR_DRIFT, 50, 100.0) == 5, "half of what goes in two seconds"
    assert most_at_once(alone, FAR_DRIFT, 100.0) == alone.allowed
    both = replace(far(APPLY=100.0, DRIFT=100.0), weights={"APPLY": 8.0, "DRIFT": 1.0})
    assert (piece_of(both, FAR_APPLY, 50, 100.0), piece_of(both, FAR_DRIFT, 50, 100.0)) == (5, 1)
    assert (most_at_once(both, FAR_APPLY, 100.0), most_at_once(both, FAR_DRIFT, 100.0)) == (23, 3)
    assert most_at_once(both, FAR_DRIFT, 200.0) == both.allowed, "the apply has gone"
    assert most_at_once(replace(both, is_far=False), FAR_DRIFT, 100.0) == both.allowed


def test_a_draw_of_a_light_class_beside_a_heavy_one_is_no_more_than_its_part() -> None:
    ledger = Ledger(accounts={"org": replace(far(APPLY=100.0, DRIFT=90.0), weights={"APPLY": 8.0}, level=40.0)})
    _, piece = draw(ledger, "org", owner="d", want=50, now_s=104.0, turn=FAR_DRIFT)
    assert piece is not None
    assert piece.amount == 3


def test_when_enough_is_free_is_told_from_what_is_drawn() -> None:
    slices = tuple(Slice(owner=str(at), amount=100, free_at_s=float(at)) for at in (130, 110, 120))
    account = replace(far(), slices=slices)
    assert enough_free_s(account, 100.0, 10) == 0.0
    assert enough_free_s(account, 100.0, 11) == 10.0
    assert enough_free_s(account, 100.0, 111) == 20.0
    assert enough_free_s(account, 125.0, 210) == 0.0


def test_a_ledger_of_an_earlier_release_knows_no_weights_and_is_read() -> None:
    old = b'{"schema":1,"accounts":{"o":{"allowed":5,"window_s":6.0,"asked":{"DRIFT":1.0},"is_far":true}}}'
    assert from_bytes(old, now_s=0.0).accounts["o"].weights == {}


@pytest.mark.promise("P7")
@pytest.mark.parametrize("window_s", [1.0, 6.0, 12.0, 60.0, 3600.0])
@pytest.mark.parametrize("allowed", [1, 10, 120, 3000])
def test_the_smallest_slice_is_never_larger_than_the_largest_whoever_shares(window_s: float, allowed: int) -> None:
    """Two machines of one class got nothing at all when it was."""
    for rivals in (0, 1, 4):
        asked = {"APPLY": 100.0, **{f"APPLY/{number}": 100.0 for number in range(rivals)}, "APPLY/m": 100.0}
        account = Account(allowed=allowed, window_s=window_s, is_far=True, asked=asked)
        assert piece_of(account, FAR_APPLY, 50, 100.0) <= most_at_once(account, FAR_APPLY, 100.0)


def test_an_account_that_nobody_uses_makes_room_and_one_that_counts_or_is_closed_stays() -> None:
    book = block(ledger(), "org", until_s=1170.0)
    for number in range(ACCOUNTS_MAX - 1):
        book = settle_account(book, f"share:s{number}:org", allowed=30, window_s=60.0, now_s=1000.0)
        turn = Turn(name="APPLY", weight=8.0)
        book, piece = draw(book, f"share:s{number}:org", owner=f"a/{number}", want=1, now_s=1000.0, turn=turn)
        assert piece is not None
    assert "new" not in settle_account(book, "new", allowed=1, window_s=60.0, now_s=1001.0).accounts  # all count
    later = settle_account(book, "new", allowed=1, window_s=60.0, now_s=1150.0)
    assert set(later.accounts) == {"org", "new"}
