from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.ci.seal import Binding, bind, check_binding, is_wrap_key, make_keys, seal, unseal, wrap, wrapped_digest
from interlock.errors import PolicyGate, UsageError

pytestmark = pytest.mark.promise("P11")
KEYS = make_keys(b"s" * 32 + b"p" * 32)
OTHERS = make_keys(b"t" * 32 + b"q" * 32)
WHAT = {"state": "prod/routing", "run": "7", "attempt": "1", "commit": "c" * 40, "tree": "a" * 40, "pipeline": "9"}


def wrapped(plan: bytes = b"a secret plan", key: str = KEYS.wrap) -> bytes:
    return wrap(plan, key, ephemeral=b"e" * 32, nonce=b"n" * 12)


def sealed(plan: bytes = b"a secret plan", *, key: str = KEYS.seal, **what: str) -> bytes:
    inner = wrapped(plan)
    return seal(inner, bind(inner, **(WHAT | what)), key)


def test_what_was_wrapped_and_sealed_opens_again_and_says_what_it_is_for() -> None:
    plan, binding = unseal(sealed(b"\0\xffplan"), KEYS.plan)
    assert plan == b"\0\xffplan"
    assert binding.digest == sha256(plan).hexdigest() == wrapped_digest(wrapped(plan))
    check_binding(binding, digest=binding.digest[:16], **WHAT)


def test_whoever_reads_the_artifact_reads_no_plan() -> None:
    assert b"secret" not in wrapped()
    assert b"secret" not in sealed()


@given(st.integers(min_value=0), st.integers(1, 255))
def test_a_plan_that_was_changed_anywhere_does_not_open(at: int, by: int) -> None:
    broken = bytearray(sealed())
    broken[at % len(broken)] ^= by
    with pytest.raises(PolicyGate, match="not the plan that was reviewed"):
        unseal(bytes(broken), KEYS.plan)


def test_a_plan_that_another_key_sealed_does_not_open() -> None:
    with pytest.raises(PolicyGate, match="not the plan that was reviewed"):
        unseal(sealed(key=OTHERS.seal), KEYS.plan)


def test_another_plan_under_a_good_seal_does_not_open() -> None:
    good, other = sealed(), wrapped(b"another plan")
    with pytest.raises(PolicyGate, match="not the plan"):
        unseal(good[: -len(wrapped())] + other, KEYS.plan)


def test_a_plan_that_is_not_the_one_whose_digest_was_shown_does_not_open() -> None:
    """Code of the change wraps: it may claim the digest of a harmless plan for a harmful one."""
    lying = wrapped(b"harmful plan!")
    claimed = lying.replace(sha256(b"harmful plan!").digest(), sha256(b"harmless plan").digest(), 1)
    with pytest.raises(PolicyGate):
        unseal(seal(claimed, bind(claimed, **WHAT), KEYS.seal), KEYS.plan)


def test_the_job_that_runs_the_changes_code_and_the_seal_job_can_neither_read_nor_forge() -> None:
    for key in (KEYS.wrap, KEYS.seal):
        with pytest.raises(UsageError, match="INTERLOCK_PLAN_KEY"):
            unseal(sealed(), key)
    for key in (KEYS.wrap, KEYS.plan, "", "ilseal_"):
        with pytest.raises(UsageError, match="INTERLOCK_SEAL_KEY"):
            sealed(key=key)
    assert is_wrap_key(KEYS.wrap)
    assert not is_wrap_key(KEYS.seal)
    assert not is_wrap_key(KEYS.plan)
    assert KEYS.seal not in repr(KEYS)


@pytest.mark.parametrize("name", sorted({*WHAT, "workspace", "digest"}))
def test_a_plan_of_another_run_commit_tree_state_or_pipeline_is_refused(name: str) -> None:
    _, binding = unseal(sealed(), KEYS.plan)
    wanted: dict[str, Any] = {**WHAT, "digest": binding.digest, "workspace": "default"}
    check_binding(binding, **wanted)
    for other in ("other", ""):
        with pytest.raises(PolicyGate, match=name):
            check_binding(binding, **wanted | {name: other})


@pytest.mark.parametrize("text", [b"", b"PK\x03\x04", b"interlock-sealed-plan 1\nshort", b"interlock-sealed-plan 2\n"])
def test_something_else_is_no_sealed_plan(text: bytes) -> None:
    with pytest.raises(PolicyGate, match="not the plan"):
        unseal(text, KEYS.plan)
    with pytest.raises(PolicyGate, match="not a wrapped plan"):
        bind(text, **WHAT)


def test_a_binding_with_more_than_is_checked_is_refused() -> None:
    """A later version may bind to more; an older one must not overlook it."""
    text = msgspec.json.encode({**msgspec.to_builtins(bind(wrapped(), **WHAT)), "later": "x"})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Binding)


def test_a_wrong_wrap_key_is_named() -> None:
    with pytest.raises(UsageError, match="INTERLOCK_WRAP_KEY"):
        wrapped(key=KEYS.seal)


def test_a_digest_is_compared_with_as_many_digits_as_people_compare() -> None:
    _, binding = unseal(sealed(), KEYS.plan)
    for told in (binding.digest[:16], binding.digest.upper(), f"sha256:{binding.digest}", f" {binding.digest}\n"):
        check_binding(binding, digest=told)
    for told in (binding.digest[:1], binding.digest[:15], f"sha256:{binding.digest[:15]}", f"{binding.digest}0"):
        with pytest.raises(PolicyGate, match="digest"):
            check_binding(binding, digest=told)


def test_a_public_key_with_which_anybody_could_read_the_plan_wraps_none() -> None:
    with pytest.raises(UsageError, match="not a public key"):
        wrapped(key="ilwrap_" + "A" * 43)
