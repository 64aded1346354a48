from __future__ import annotations

import pytest

from interlock.ci.seal import Label, seal, unseal
from interlock.errors import UsageError

KEY = "k" * 44
LABEL = Label(state="prod/routing", tree="a" * 40)


def sealed(plan: bytes = b"plan") -> bytes:
    return seal(plan, LABEL, KEY, salt=b"s" * 16, nonce=b"n" * 12)


def test_what_was_sealed_opens_again() -> None:
    assert unseal(sealed(b"\0\xffplan"), LABEL, KEY) == b"\0\xffplan"
    assert b"plan" not in sealed(b"a secret plan").removeprefix(b"interlock-sealed-plan")


@pytest.mark.parametrize("at", [30, 45, -1])
def test_a_changed_plan_does_not_open(at: int) -> None:
    broken = bytearray(sealed())
    broken[at] ^= 1
    with pytest.raises(UsageError, match="cannot be opened"):
        unseal(bytes(broken), LABEL, KEY)


@pytest.mark.parametrize(
    "label", [Label(state="prod/users", tree="a" * 40), Label(state="prod/routing", tree="b" * 40)]
)
def test_a_plan_of_another_state_or_tree_does_not_open(label: Label) -> None:
    with pytest.raises(UsageError, match="cannot be opened"):
        unseal(sealed(), label, KEY)


def test_another_key_does_not_open() -> None:
    with pytest.raises(UsageError, match="cannot be opened"):
        unseal(sealed(), LABEL, "j" * 44)


@pytest.mark.parametrize("key", ["", "short"])
def test_a_short_key_is_refused(key: str) -> None:
    with pytest.raises(UsageError, match="INTERLOCK_PLAN_KEY"):
        seal(b"x", LABEL, key, salt=b"s" * 16, nonce=b"n" * 12)


@pytest.mark.parametrize("text", [b"", b"PK\x03\x04", b"interlock-sealed-plan 1\nshort"])
def test_something_else_is_no_sealed_plan(text: bytes) -> None:
    with pytest.raises(UsageError, match="not a sealed plan"):
        unseal(text, LABEL, KEY)


def test_the_name_is_one_word_for_one_state_and_tree() -> None:
    assert LABEL.name == f"interlock-plan-prod-routing-{'a' * 40}"
