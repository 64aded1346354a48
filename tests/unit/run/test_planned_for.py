"""What a saved plan was made for: it is applied to that, or not at all."""

from __future__ import annotations

import contextlib
import io
import zipfile

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import PlanStale, UsageError
from interlock.run.planned_for import (
    UNREADABLE,
    Label,
    Target,
    check_label,
    check_place,
    check_targets,
    read_planned_configuration,
    read_planned_for,
    with_label,
    with_override,
)


def field(number: int, content: bytes) -> bytes:
    """Spell a field of a protocol buffers message."""
    assert len(content) < 1 << 14
    length = bytes([len(content) & 0x7F | 0x80, len(content) >> 7])
    return bytes([number << 3 | 2]) + length + content


def dynamic(value: object) -> bytes:
    return field(1, msgspec.msgpack.encode(value))


def plan_bytes(
    state: bytes = b'{"version":4,"lineage":"l-1","serial":7}',
    name: str = "tfstate",
    *,
    config: dict[str, object] | None = None,
    workspace: str = "default",
    files: dict[str, str] | None = None,
) -> bytes:
    backend = field(1, b"http") + field(2, dynamic(config or {"address": None})) + field(3, workspace.encode())
    region = field(1, b"region") + field(2, dynamic([b'"string"', "eu-west-2"]))
    null = field(1, b"null") + field(2, dynamic(None))
    odd = field(1, b"odd") + field(2, dynamic([b'"string"', msgspec.msgpack.Ext(0, b"")]))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("tfplan", b"\x08\x03" + field(2, region) + field(2, odd) + field(2, null) + field(13, backend))
        archive.writestr(name, state)
        archive.writestr("tfconfig/modules.json", '[{"Key": "", "Dir": "."}, {"Key": "m", "Dir": "../m"}]')
        for path, text in (files or {}).items():
            archive.writestr(path, text)
    return buffer.getvalue()


@pytest.mark.promise("P11")
def test_a_kept_plan_is_good_for_its_own_state_and_root_module_alone() -> None:
    label = Label(state="staging/app", module="envs/staging")
    planned = read_planned_for(with_label(plan_bytes(), label))
    assert planned.label == label
    check_label(planned, state="staging/app", module="envs/staging", is_new=True)
    check_label(planned, state="staging/app", module="", is_new=True)  # outside a repository nobody knows
    with pytest.raises(PlanStale, match="another state"):
        check_label(planned, state="prod/app", module="envs/staging", is_new=True)
    with pytest.raises(PlanStale, match="another root module"):
        check_label(planned, state="staging/app", module="envs/prod", is_new=True)


@pytest.mark.promise("P11")
def test_a_plan_of_a_new_state_that_does_not_say_which_is_refused_and_one_with_a_lineage_is_not() -> None:
    with pytest.raises(PlanStale, match="does not say"):
        check_label(read_planned_for(plan_bytes()), state="s", module="", is_new=True)
    check_label(read_planned_for(plan_bytes()), state="s", module="", is_new=False)


@pytest.mark.promise("P11")
def test_a_plan_that_would_write_to_another_backend_or_workspace_is_refused() -> None:
    ours: dict[str, str | None] = {"address": None}
    check_place(read_planned_for(plan_bytes()), backend="http", place=ours, workspace="default")
    for other in (
        plan_bytes(config={"address": "https://u:hush@gitlab.example/state"}),
        plan_bytes(workspace="green"),
    ):
        with pytest.raises(PlanStale, match="another state") as refused:
            check_place(read_planned_for(other), backend="http", place=ours, workspace="default")
        assert "hush" not in str(refused.value)
    with pytest.raises(PlanStale):
        check_place(read_planned_for(plan_bytes()), backend="s3", place={"bucket": "b"}, workspace="default")


@pytest.mark.promise("P11")
@pytest.mark.parametrize("again", [field(13, field(1, b"local")), field(13, b"")])
def test_a_plan_that_names_a_second_backend_for_another_reader_is_refused(again: bytes) -> None:
    """Terraform merges the two: the last one counts."""
    buffer = io.BytesIO(plan_bytes())
    with zipfile.ZipFile(buffer) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content + again if name == "tfplan" else content)
    with pytest.raises(UsageError) as refused:
        read_planned_for(buffer.getvalue())
    assert "backend twice" in refused.value.why


@pytest.mark.promise("P11")
def test_a_plan_for_another_organisation_is_refused_and_one_with_another_client_of_the_same_is_not() -> None:
    def check(then: Target, now: Target) -> None:
        labelled = with_label(plan_bytes(), Label(state="s", targets={"provider genesyscloud": then}))
        check_targets(read_planned_for(labelled), {"provider genesyscloud": now, "provider genesyscloud.new": now})

    one = Target(api="https://api.a", organisation="1")
    check(one, one)
    check(one, Target(api="http://127.0.0.1:1", organisation="1"))  # the same one, through a gateway
    check(Target(api="https://api.a"), one)
    for other in (Target(api="https://api.a", organisation="2"), Target(api="https://api.b")):
        with pytest.raises(PlanStale, match="another organisation"):
            check(one, other)


@pytest.mark.promise("P11")
def test_a_plan_whose_provider_now_goes_where_nobody_looks_is_refused() -> None:
    """An access token of another organisation in the environment, or no gateway at all, would else lead it anywhere."""
    target = Target(api="https://api.a", organisation="1")
    labelled = with_label(plan_bytes(), Label(state="s", targets={"provider genesyscloud": target}))
    with pytest.raises(PlanStale, match="cannot be told"):
        check_targets(read_planned_for(labelled), {})


def test_a_plan_holds_its_configuration_and_its_values_of_variables() -> None:
    files = {"tfconfig/m-/main.tf": "a", "tfconfig/m-/interlock_override.tf": "b", "tfconfig/m-m/m.tf": "c"}
    held = read_planned_configuration(plan_bytes(files=files), without="interlock_override.tf")
    assert held.files == {"./main.tf": b"a", "../m/m.tf": b"c"}
    assert held.variables == {"region": "eu-west-2", "odd": UNREADABLE, "null": None}


def test_a_plan_keeps_everything_but_the_text_of_the_override() -> None:
    files = {"tfconfig/m-/main.tf": "a", "tfconfig/m-/interlock_override.tf": "old way"}
    plan = with_label(plan_bytes(files=files), Label(state="s"))
    adapted = with_override(plan, "interlock_override.tf", "new way")
    assert read_planned_for(adapted).label == Label(state="s")
    held = read_planned_configuration(adapted, without="")
    assert held.files == {"./main.tf": b"a", "./interlock_override.tf": b"new way"}
    assert with_override(plan, "other.tf", "x") == plan


def test_what_is_no_zip_gets_no_label() -> None:
    assert with_label(b"encrypted", Label(state="s")) == b"encrypted"


@given(st.binary(max_size=200))
def test_a_plan_message_of_any_bytes_is_refused_or_read_and_never_a_crash(junk: bytes) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("tfplan", junk)
        archive.writestr("tfstate", "{}")
        archive.writestr("tfconfig/modules.json", junk)
    for read in (read_planned_for, lambda plan: read_planned_configuration(plan, without="")):
        with contextlib.suppress(UsageError):
            read(buffer.getvalue())
