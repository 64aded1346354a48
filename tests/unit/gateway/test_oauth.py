from __future__ import annotations

import json

import pytest

from interlock.gateway.oauth import (
    PLACEHOLDER_LIFE_S,
    Credentials,
    Minted,
    MintFailure,
    NotMinted,
    Placeholders,
    Pool,
    Secret,
    are_same,
    basic_header,
    due,
    failed,
    minted,
    new_pool,
    next_due_s,
    read_basic,
    read_bearer,
    read_login_answer,
    rejected,
    start,
    usable,
    usable_slots,
    want,
)
from interlock.genesys import login_limit

KEY = b"k" * 32


def filled(pool: Pool, now_s: float, life_s: float = 3600.0, chance: float = 0.0) -> Pool:
    slot = due(pool, now_s)
    assert slot is not None
    return minted(start(pool, slot, now_s), Secret(f"t{pool.minted}"), life_s=life_s, now_s=now_s, chance=chance)


def test_a_new_pool_wants_one_token_at_once() -> None:
    assert due(new_pool(login_limit(), 10), 0.0) == 0


def test_tokens_are_minted_one_at_a_time_and_at_a_pace() -> None:
    pool = start(new_pool(login_limit(), 10), 0, 0.0)
    assert due(pool, 10.0) is None
    pool = want(minted(pool, Secret("a"), life_s=3600, now_s=0.0, chance=0.0), 0.1)
    assert due(pool, 0.1) is None
    assert next_due_s(pool, 0.1) == pytest.approx(login_limit().mint_every_s)
    assert due(pool, login_limit().mint_every_s) == 1


def test_the_pool_grows_on_demand_up_to_its_size() -> None:
    pool, now_s = new_pool(login_limit(), 3), 0.0
    for _ in range(10):
        if due(pool, now_s) is not None:
            pool = filled(pool, now_s)
        pool = want(pool, now_s)
        now_s += 1.0
    assert usable_slots(pool, now_s) == {0, 1, 2}
    assert want(pool, now_s) is pool


def test_one_wish_at_a_time_is_enough() -> None:
    pool = new_pool(login_limit(), 3)
    assert want(pool, 0.0) is pool


def test_a_token_is_refreshed_well_before_it_expires_and_goes_on_serving_meanwhile() -> None:
    pool = filled(new_pool(login_limit(), 1), 0.0, life_s=90.0)
    assert due(pool, 62.0) is None
    assert due(pool, 63.0) == 0
    assert usable(pool, 0, 85.0) is not None
    assert usable(pool, 0, 88.5) is None


def test_jitter_spreads_refreshes() -> None:
    early = filled(new_pool(login_limit(), 1), 0.0, life_s=1000.0, chance=0.0).tokens[0]
    late = filled(new_pool(login_limit(), 1), 0.0, life_s=1000.0, chance=1.0).tokens[0]
    assert early is not None
    assert late is not None
    assert (early.refresh_s, late.refresh_s) == (700.0, 850.0)


def test_the_login_rate_limit_is_backed_off_and_forgotten_after_a_success() -> None:
    pool = start(new_pool(login_limit(), 1), 0, 0.0)
    waits = []
    now_s = 0.0
    for _ in range(8):
        pool = failed(pool, MintFailure.RATE_LIMITED, "", now_s=now_s, chance=0.5)
        waits.append(pool.next_mint_s - now_s)
        now_s = pool.next_mint_s
        assert due(pool, now_s) == 0
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    pool = filled(pool, now_s)
    assert (pool.backoff_s, pool.fault) == (0.0, "")


def test_a_refused_client_is_said_so_and_tried_rarely() -> None:
    pool = failed(
        start(new_pool(login_limit(), 1), 0, 0.0), MintFailure.REFUSED, "401 invalid_client", now_s=0.0, chance=0.5
    )
    assert pool.refused
    assert "invalid_client" in pool.fault
    assert due(pool, 29.0) is None


def test_a_401_takes_only_the_token_that_was_refused() -> None:
    pool = filled(new_pool(login_limit(), 1), 0.0)
    assert rejected(pool, 0, generation=7) is pool
    gone = rejected(pool, 0, generation=1)
    assert usable(gone, 0, 0.1) is None
    assert due(gone, 5.0) == 0


def test_the_empty_slot_goes_before_the_refresh() -> None:
    pool = want(filled(new_pool(login_limit(), 2), 0.0, life_s=10.0), 0.0)
    assert due(pool, 8.0) == 1


def test_login_answers_are_read() -> None:
    good = read_login_answer(200, json.dumps({"access_token": "abc", "expires_in": 90}).encode())
    assert isinstance(good, Minted)
    assert good.life_s == 90.0


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (400, {"error": "invalid_request", "error_description": "rate limit exceeded; slow"}, MintFailure.RATE_LIMITED),
        (429, {}, MintFailure.RATE_LIMITED),
        (400, {"error": "invalid_client"}, MintFailure.REFUSED),
        (401, {"error": "invalid_client"}, MintFailure.REFUSED),
        (503, {}, MintFailure.UNAVAILABLE),
        (200, {"token": "no"}, MintFailure.UNAVAILABLE),
        (200, {"access_token": 5}, MintFailure.UNAVAILABLE),
    ],
)
def test_other_login_answers_say_why(status: int, body: dict[str, str], why: MintFailure) -> None:
    answer = read_login_answer(status, json.dumps(body).encode())
    assert isinstance(answer, NotMinted)
    assert answer.why is why


def test_a_login_answer_that_is_no_json_is_unavailable_and_without_control_characters() -> None:
    assert isinstance(read_login_answer(200, b"<html>"), NotMinted)
    odd = read_login_answer(400, json.dumps({"error": "x\r\ny"}).encode())
    assert isinstance(odd, NotMinted)
    assert "\n" not in odd.detail


def test_a_placeholder_tells_its_client_and_nobody_elses() -> None:
    ours = Placeholders(KEY)
    token = ours.issue("c/archy", now_unix_s=1000)
    assert ours.read(token, now_unix_s=1001) == "c/archy"
    assert Placeholders(b"x" * 32).read(token, now_unix_s=1001) is None


def test_a_placeholder_ends_and_cannot_be_changed() -> None:
    ours = Placeholders(KEY)
    token = ours.issue("c/archy", now_unix_s=0)
    assert ours.read(token, now_unix_s=PLACEHOLDER_LIFE_S) is None
    prefix, payload, mac = token.split(".")
    for bad in (f"{prefix}.{payload}x.{mac}", f"{prefix}.{payload}.{mac}x", "ilk..", "", "é", "a" * 9999, payload):
        assert ours.read(bad, now_unix_s=1) is None


def test_a_placeholders_life_fits_a_javascript_timer() -> None:
    assert PLACEHOLDER_LIFE_S * 1000 < 2**31


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        Placeholders(b"short")


def test_basic_and_bearer_headers_are_read() -> None:
    credentials = Credentials(client_id="id", secret=Secret("se:cret"))
    back = read_basic(basic_header(credentials))
    assert back is not None
    assert are_same(back, credentials)
    assert not are_same(back, Credentials(client_id="id", secret=Secret("other")))
    assert read_basic("Basic ???") is None
    assert read_basic("Basic aWQ=") is None
    assert read_basic(None) is None
    assert read_bearer("bearer abc") == "abc"
    assert read_bearer("Basic abc") is None


def test_a_secret_is_never_shown() -> None:
    credentials = Credentials(client_id="id", secret=Secret("hush"))
    assert "hush" not in f"{credentials!r} {credentials.secret} {credentials.secret!r}"
