"""An encrypted plan says beside its text what it is for, and that counts only when somebody answers for it."""

from __future__ import annotations

import json

import pytest
from tests.opentofu_documents import FIRST, PLAN

from interlock.errors import PlanStale, UsageError
from interlock.run.encrypted_plan import (
    BoundLabel,
    bind,
    check_bound,
    check_vouched,
    digest_of_files,
    is_encrypted_plan,
    read_bound_label,
    with_bound_label,
)
from interlock.run.planned_files import HeldFiles, HeldModule
from interlock.run.planned_for import Label
from interlock.run.surroundings import Current
from interlock.testing.run import plan_file

LOCK = b'provider "registry.opentofu.org/a/b" {\n  version = "1.0.0"\n  hashes = ["h1:x"]\n}\n'
FILES = HeldModule(files={"main.tf": b"# one"})
HELD = HeldFiles(modules={"": FILES}, lock=LOCK)
CURRENT = Current(lineage="l", serial=3)
PLACE = {"bucket": "b", "key": "k", "profile": None}


def bound() -> BoundLabel:
    label = Label(state="prod", module="infra")
    return bind(label, HELD, CURRENT, backend="s3", place=PLACE, workspace="default")


def test_encrypted_plans_are_told_from_plans_and_from_other_json() -> None:
    assert is_encrypted_plan(PLAN)
    assert is_encrypted_plan(with_bound_label(PLAN, bound()))
    for other in (plan_file(), b"", b"{", b"[]", b'{"meta": {}}', json.dumps({"encrypted_data": 1}).encode()):
        assert not is_encrypted_plan(other)
    assert is_encrypted_plan(FIRST), "a state is one too as far as can be seen: its digest is what counts"


@pytest.mark.promise("P11")
def test_what_opentofu_wrote_stays_as_it_was_beside_the_label() -> None:
    kept = with_bound_label(PLAN, bound())
    fields = json.loads(kept)
    assert {name: value for name, value in fields.items() if name != "interlock"} == json.loads(PLAN)
    assert read_bound_label(kept) == bound()


@pytest.mark.promise("P11")
def test_a_label_counts_only_where_somebody_answers_for_the_file() -> None:
    kept = with_bound_label(PLAN, bound())
    assert check_vouched(kept, vouched=True) == bound()
    with pytest.raises(UsageError, match="nobody answers for it") as refused:
        check_vouched(kept, vouched=False)
    assert refused.value.exit_status == 3
    with pytest.raises(UsageError, match="does not say what it was made for"):
        check_vouched(PLAN, vouched=True)
    broken = json.dumps({**json.loads(PLAN), "interlock": {"version": 1}}).encode()
    with pytest.raises(UsageError, match="not a saved plan"):
        check_vouched(broken, vouched=True)


@pytest.mark.promise("P3", "P11")
@pytest.mark.parametrize(
    "other",
    [
        {"state": "test"},
        {"module": "elsewhere"},
        {"current": Current(lineage="l", serial=4)},
        {"current": Current(lineage="other", serial=3)},
        {"current": Current()},
        {"backend": "http"},
        {"place": {**PLACE, "key": "other"}},
        {"workspace": "blue"},
    ],
)
def test_a_plan_of_another_state_place_or_version_is_refused(other: dict[str, object]) -> None:
    here: dict[str, object] = {
        "state": "prod",
        "module": "infra",
        "current": CURRENT,
        "backend": "s3",
        "place": PLACE,
        "workspace": "default",
    }
    check_bound(bound(), **here)  # type: ignore[arg-type]
    with pytest.raises(PlanStale):
        check_bound(bound(), **{**here, **other})  # type: ignore[arg-type]


@pytest.mark.promise("P11")
def test_every_file_module_and_provider_counts_and_where_they_lie_does_not() -> None:
    digest = digest_of_files(HELD)
    moved = HeldModule(files=FILES.files, folder="../elsewhere")
    assert digest_of_files(HeldFiles(modules={"": moved}, lock=b"# comment\n" + LOCK)) == digest
    for other in (
        HeldFiles(modules={"": HeldModule(files={"main.tf": b"# two"})}, lock=LOCK),
        HeldFiles(modules={"": HeldModule(files={"other.tf": b"# one"})}, lock=LOCK),
        HeldFiles(modules={"": FILES, "m": FILES}, lock=LOCK),
        HeldFiles(modules={"": FILES}, lock=LOCK.replace(b"1.0.0", b"1.0.1")),
        HeldFiles(modules={"": FILES}, lock=LOCK.replace(b"h1:x", b"h1:y")),
    ):
        assert digest_of_files(other) != digest
