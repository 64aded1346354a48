import dataclasses

import pytest

from interlock.errors import UsageError
from interlock.lint.baseline import parse_baseline, render_baseline
from interlock.lint.catalogue import RULES
from interlock.lint.engine import Request, choose_rules, fix, lint
from interlock.lint.finding import Edit, Finding, Severity
from interlock.lint.fixes import apply_edits
from interlock.lint.report import Report, reported
from interlock.source.tree import MemoryTree, Span

TTL = """\
resource "aws_dynamodb_table" "terraform_locks" {
  name         = "terraform-locks"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "LockID"
  ttl {
    enabled = true
  }
}
"""


def found(texts: dict[str, str], **request: object) -> list[str]:
    report = lint(MemoryTree(texts), Request(**request))  # type: ignore[arg-type]
    return [f"{item.finding.span.path}:{item.finding.span.line} {item.finding.rule}" for item in report.findings]


def test_folders_are_searched_to_their_bottom_without_hidden_ones() -> None:
    texts = {"a/b/main.tf": TTL, ".terraform/modules/x/main.tf": TTL, "node_modules/y/main.tf": TTL}
    assert found(texts) == ["a/b/main.tf:5 lock-table-ttl"]


def test_a_hidden_folder_is_read_when_it_is_named() -> None:
    assert found({".x/main.tf": TTL}, targets=(".x",)) == [".x/main.tf:5 lock-table-ttl"]


def test_of_a_named_file_only_its_own_findings_are_shown_and_its_folder_counts() -> None:
    texts = {
        "a.tf": TTL.replace("true", "local.on"),
        "b.tf": "locals {\n  on = true\n}\n" + TTL.replace("terraform", "tf"),
    }
    assert found(texts, targets=("a.tf",)) == ["a.tf:5 lock-table-ttl"]


def test_a_module_called_from_outside_the_paths_is_read() -> None:
    texts = {"live/main.tf": 'module "m" {\n  source = "../m"\n}\n', "m/main.tf": TTL}
    assert found(texts, targets=("live",)) == ["m/main.tf:5 lock-table-ttl"]


def test_a_module_called_twice_is_reported_once() -> None:
    call = 'module "m" {\n  source = "../m"\n}\n'
    assert found({"a/main.tf": call, "b/main.tf": call, "m/main.tf": TTL}) == ["m/main.tf:5 lock-table-ttl"]


def test_ignored_findings_are_counted_and_not_shown() -> None:
    text = TTL.replace("  ttl {", "  # interlock:ignore lock-table-ttl: our cleaner reads it\n  ttl {")
    report = lint(MemoryTree({"main.tf": text}), Request())
    assert (report.findings, report.ignored) == ((), 1)


def test_a_broken_file_is_a_finding_and_the_others_are_read() -> None:
    assert found({"a/x.tf": "locals {\n", "b/main.tf": TTL}) == ["a/x.tf:1 hcl-syntax", "b/main.tf:5 lock-table-ttl"]


def test_an_empty_tree_has_no_findings() -> None:
    assert lint(MemoryTree({}), Request()) == Report(findings=())


# rules


def test_rules_are_chosen_by_name_and_pattern() -> None:
    assert [rule.name for rule in choose_rules(select=("lock-table-*",), ignore=("lock-table-key",))] == [
        "lock-table-provisioned",
        "lock-table-ttl",
    ]
    assert choose_rules() == RULES


def test_an_unknown_rule_names_the_nearest() -> None:
    with pytest.raises(UsageError) as refused:
        choose_rules(select=("lock-table-tll",))
    assert refused.value.why == "the nearest name is lock-table-ttl"


# baseline


def test_a_baseline_accepts_what_it_holds_also_when_lines_move() -> None:
    first = lint(MemoryTree({"main.tf": TTL}), Request())
    accepted = parse_baseline("b.json", render_baseline(first.findings).encode())
    assert found({"main.tf": "# new\n\n" + TTL}, accepted=accepted) == []
    other = {"main.tf": TTL.replace("  ttl {", "  ttl { # changed")}
    assert found(other, accepted=accepted) == ["main.tf:5 lock-table-ttl"]


def test_a_second_finding_on_an_equal_line_is_new() -> None:
    first = lint(MemoryTree({"main.tf": TTL}), Request())
    accepted = parse_baseline("b.json", render_baseline(first.findings).encode())
    twice = TTL + TTL.replace('"terraform_locks"', '"terraform_locks_2"')
    assert found({"main.tf": twice}, accepted=accepted) == ["main.tf:13 lock-table-ttl"]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"version": 2, "findings": []}', b'{"version": 1}', b"\xff", b"[" * 9999]
)
def test_what_is_no_baseline_is_refused(content: bytes) -> None:
    with pytest.raises(UsageError):
        parse_baseline("b.json", content)


# fixes


def test_fixes_go_on_until_nothing_is_left_to_fix() -> None:
    text = 'terraform {\n  backend "s3" {\n    bucket = "b"\n    key    = "k"\n  }\n}\n'
    after = fix(MemoryTree({"main.tf": text}), Request())["main.tf"].decode()
    assert "use_lockfile = true" in after
    assert "encrypt      = true" in after
    assert found({"main.tf": after}) == []


def test_fixes_leave_the_tree_alone_and_return_only_what_changes() -> None:
    tree = MemoryTree({"main.tf": TTL, "other.tf": "locals {}\n"})
    assert set(fix(tree, Request())) == {"main.tf"}
    assert tree.read("main.tf") == TTL.encode()


def test_json_configuration_is_never_changed() -> None:
    text = '{"provider": {"genesyscloud": {"sdk_debug": true}}}'
    assert found({"main.tf.json": text})
    assert fix(MemoryTree({"main.tf.json": text}), Request()) == {}


def finding(*edits: tuple[int, int, str]) -> Finding:
    span = Span(path="f", start=0, end=0, line=1, column=1, end_line=1, end_column=1)
    changes = tuple(Edit(path="f", start=start, end=end, text=text) for start, end, text in edits)
    return Finding(rule="r", severity=Severity.INFO, span=span, message="", fix="", edits=changes)


def test_edits_change_their_bytes_and_no_others() -> None:
    findings = [finding((0, 1, "AA")), finding((3, 3, "-"), (4, 5, ""))]
    assert apply_edits({"f": b"abcdef"}, findings) == {"f": b"AAbc-df"}


def test_of_overlapping_edits_the_first_finding_wins_whole() -> None:
    findings = [finding((0, 3, "x")), finding((2, 4, "y"), (5, 6, "z"))]
    assert apply_edits({"f": b"abcdef"}, findings) == {"f": b"xdef"}


def test_edits_that_touch_are_both_made() -> None:
    assert apply_edits({"f": b"abcd"}, [finding((0, 2, "x")), finding((2, 4, "y"))]) == {"f": b"xy"}


def test_edits_of_absent_files_are_not_made() -> None:
    assert apply_edits({}, [finding((0, 1, "x"))]) == {}


# report


def test_findings_are_in_order_and_once() -> None:
    one, two = finding(), dataclasses.replace(finding(), rule="a")
    report = reported([one, two, one], {"f": b"text\n"})
    assert [item.finding.rule for item in report] == ["a", "r"]
    assert report[0].line_text == "text"
