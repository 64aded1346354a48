import io
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import PlanStale, UsageError
from interlock.run.saved_plan import (
    PlannedFrom,
    Refresh,
    check_current,
    is_asking_early,
    read_planned_from,
    read_refresh,
    with_refresh,
)
from interlock.terraform.plan import PlanFacts


def plan_bytes(state: bytes = b'{"version":4,"lineage":"l-1","serial":7}', name: str = "tfstate") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, state)
    return buffer.getvalue()


def test_a_plan_says_which_state_it_was_made_from() -> None:
    assert read_planned_from(plan_bytes()) == PlannedFrom(lineage="l-1", serial=7)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_plan_are_refused_with_an_error_not_a_crash(junk: bytes) -> None:
    with pytest.raises(UsageError, match="not a saved plan"):
        read_planned_from(junk)


@pytest.mark.parametrize(
    ("written", "is_early"),
    [
        ('variable "a" {\n  const = true\n}', True),
        ('module "m" {\n  source = "./${var.a}"\n}', True),
        ('module "m" {\n  source = var.a\n}', True),
        ('{"module": {"m": {"source": "./${var.a}"}}}', True),
        ('terraform {\n  backend "s3" {\n    bucket = var.bucket\n  }\n}', True),
        ('provider "x" {\n  alias = "each"\n  for_each = var.regions\n}', True),
        ('module "m" {\n  source = "./a"\n  version = "1.0"\n}\nprovider "x" {\n  token = var.token\n}', False),
        ('resource "x" "y" {\n  for_each = var.many\n}\nterraform {\n  backend "s3" {}\n}', False),
    ],
)
def test_a_plan_tells_whether_its_configuration_is_loaded_with_values(
    tmp_path: Path, written: str, is_early: bool
) -> None:
    file = tmp_path / "plan"
    file.write_bytes(plan_bytes(written.encode(), name="tfconfig/m-/main.tf"))
    assert is_asking_early(file) is is_early


@pytest.mark.parametrize("content", [None, b"{}", b"no zip"])
def test_a_plan_that_cannot_be_looked_into_does_not_ask_early(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "plan"
    if content is not None:
        file.write_bytes(content)
    assert not is_asking_early(file)


def test_a_zip_without_a_state_is_no_plan() -> None:
    with pytest.raises(UsageError):
        read_planned_from(plan_bytes(name="other"))
    with pytest.raises(UsageError):
        read_planned_from(plan_bytes(b"[1"))


def test_a_plan_of_the_current_state_is_current() -> None:
    check_current(PlannedFrom(lineage="l", serial=3), lineage="l", serial=3)
    check_current(PlannedFrom(lineage="", serial=0), lineage="", serial=0)


@pytest.mark.parametrize("serial", [2, 4])
def test_a_plan_of_another_serial_is_stale_in_both_directions(serial: int) -> None:
    with pytest.raises(PlanStale, match="stale"):
        check_current(PlannedFrom(lineage="l", serial=3), lineage="l", serial=serial)


def test_a_plan_of_another_lineage_belongs_to_another_state() -> None:
    with pytest.raises(PlanStale, match="another state"):
        check_current(PlannedFrom(lineage="l", serial=3), lineage="m", serial=3)


def test_a_plan_made_from_nothing_is_stale_once_there_is_a_state() -> None:
    with pytest.raises(PlanStale):
        check_current(PlannedFrom(lineage="", serial=0), lineage="l", serial=1)


def state(*instances: tuple[str, str, str], serial: int = 7) -> bytes:
    """Spell a state of (name, deposed key, content) of managed objects."""
    rows = [
        {
            "mode": "managed",
            "type": "t",
            "name": name,
            "provider": "provider.p",
            "instances": [
                {"attributes": {"x": content}, **({"deposed": deposed} if deposed else {})}
                for other, deposed, content in instances
                if other == name
            ],
        }
        for name in sorted({name for name, _, _ in instances})
    ]
    head = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": "l-1", "outputs": {}}
    return json.dumps({**head, "resources": rows, "check_results": None}).encode()


STORED = state(("a", "", "1"), ("a", "0000000a", "0"), ("b", "", "1"))


@pytest.mark.promise("P6")
def test_what_is_stored_and_not_in_the_plans_state_is_what_refresh_and_moves_took_out() -> None:
    found = read_refresh(plan_bytes(state(("a", "", "1"), ("z", "", "1"))), STORED)
    assert found == Refresh(gone=frozenset({"t.a (deposed 0000000a)", "t.b"}), differs=True)


def test_a_refresh_that_found_everything_as_it_was_takes_nothing_out() -> None:
    assert read_refresh(plan_bytes(json.dumps(json.loads(STORED), indent=2).encode()), STORED) == Refresh()
    changed = state(("a", "", "2"), ("a", "0000000a", "0"), ("b", "", "1"))
    assert read_refresh(plan_bytes(changed), STORED) == Refresh(differs=True)
    assert read_refresh(plan_bytes(state()), None) == Refresh()


@pytest.mark.promise("P6")
@pytest.mark.parametrize("plan", [b"no zip", plan_bytes(b"{"), plan_bytes(state(serial=6)), plan_bytes(name="other")])
def test_a_plan_that_cannot_be_compared_with_the_stored_state_allows_nothing_more(plan: bytes, tmp_path: Path) -> None:
    assert read_refresh(plan, STORED) is None
    (tmp_path / "plan").write_bytes(plan)
    facts = PlanFacts(may_delete=frozenset({"t.q"}))
    assert with_refresh(facts, tmp_path / "plan", STORED) == facts


def test_what_refresh_took_out_may_be_missing_from_what_the_apply_writes(tmp_path: Path) -> None:
    (tmp_path / "plan").write_bytes(plan_bytes(state(("a", "", "1"), ("a", "0000000a", "0"))))
    facts = with_refresh(PlanFacts(may_delete=frozenset({"t.q"})), tmp_path / "plan", STORED)
    assert facts.may_delete == {"t.q", "t.b"}
    assert facts.refreshed_out == {"t.b"}
    assert facts.is_empty
