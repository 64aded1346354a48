from __future__ import annotations

import pytest

from interlock.clock import SystemClock
from interlock.gateway.identity import client_ledger_key, find_known, keep_known, ledger_key, read_id
from interlock.store.memory import MemoryRecords

API = "https://api.example"


def records() -> MemoryRecords:
    return MemoryRecords(clock=SystemClock())


async def test_what_the_api_said_of_a_client_is_kept_for_that_client_and_region_alone() -> None:
    store = records()
    await keep_known(store, API, "a", "organisation")
    await keep_known(store, API, "a", "another")
    assert await find_known(store, API, "a") == "organisation"
    assert await find_known(store, API, "b") == ""
    assert await find_known(store, "https://api.elsewhere", "a") == ""


async def test_a_record_that_cannot_be_read_is_asked_for_again() -> None:
    store = records()
    await keep_known(store, API, "a", "organisation")
    key = next(iter(store._sums))
    store._sums[key] = b"damaged"
    assert await find_known(store, API, "a") == ""


@pytest.mark.promise("P7")
def test_clients_of_one_organisation_have_one_ledger_and_those_of_which_nothing_is_known_one_each() -> None:
    assert ledger_key("organisation") == ledger_key("organisation") != ledger_key("another")
    assert client_ledger_key(API, "a") != client_ledger_key(API, "b")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"id": 1}', b"\xff"])
def test_an_answer_without_an_id_names_nobody(body: bytes) -> None:
    assert read_id(body) == ""
    assert read_id(b'{"id": "x"}') == "x"
