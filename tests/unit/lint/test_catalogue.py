from pathlib import Path

import pytest

from interlock.lint.catalogue import HCL_RULES, RULES, find_rule
from interlock.lint.engine import Request, fix, lint
from interlock.lint.reference import page
from interlock.lint.rule import Rule
from interlock.source.tree import MemoryTree

ROOT = Path(__file__).parents[3]

NAMED_IN_THE_ISSUE = {
    "backend-missing",
    "backend-s3-no-lock",
    "backend-s3-dynamodb-deprecated",
    "backend-s3-unencrypted",
    "backend-credentials-in-config",
    "backend-key-shared",
    "lock-table-key",
    "lock-table-provisioned",
    "lock-table-ttl",
    "state-bucket-unversioned",
    "state-bucket-public",
    "provider-source",
    "provider-unknown-argument",
    "provider-static-token",
    "provider-secret-literal",
    "provider-version",
    "provider-token-pool",
    "provider-sdk-debug",
    "reference-literal-id",
    "reference-by-name",
    "dependency-hidden",
    "dependency-cycle",
    "force-deleted",
    "ci-unserialized",
    "ci-group-per-ref",
    "ci-cancel-in-progress",
    "ci-pending-dropped",
    "ci-gitlab-unordered",
    "ci-azure-run-latest",
    "ci-lock-disabled",
    "ci-no-lock-timeout",
    "ci-parallelism",
    "ci-unreviewed-apply",
    "ci-force-unlock",
    "ci-step-without-credentials",
    "ci-signal-lost",
    "ci-timeout",
    "ci-retry-no-backoff",
    "ci-long-lived-secret",
    "ci-unpinned-action",
    "ci-fork-secrets",
    "ci-plan-exposed",
    "ci-terraform-unpinned",
}


def rules_found(files: dict[str, str], rule: Rule) -> set[str]:
    return {item.finding.rule for item in lint(MemoryTree(files), Request(rules=(rule,))).findings}


def test_every_rule_of_the_issue_is_there_and_no_name_twice() -> None:
    names = [rule.name for rule in RULES]
    assert set(names) >= NAMED_IN_THE_ISSUE
    assert len(names) == len(set(names))


def test_a_rule_is_found_by_its_name() -> None:
    assert find_rule("lock-table-ttl") in RULES
    assert find_rule("no-such-rule") is None


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_fires_in_its_bad_example_and_is_silent_in_its_good_one(rule: Rule) -> None:
    assert rules_found(dict(rule.bad), rule) == {rule.name}
    assert rules_found(dict(rule.good), rule) == set()


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.fixable], ids=lambda rule: rule.name)
def test_a_fixable_rule_repairs_its_bad_example(rule: Rule) -> None:
    tree = MemoryTree(dict(rule.bad))
    changed = fix(tree, Request(rules=(rule,)))
    after = {**rule.bad, **{path: content.decode() for path, content in changed.items()}}
    assert rules_found(after, rule) == set()


@pytest.mark.parametrize("rule", HCL_RULES, ids=lambda rule: rule.name)
def test_a_rule_that_says_it_cannot_repair_offers_no_edits(rule: Rule) -> None:
    report = lint(MemoryTree(dict(rule.bad)), Request(rules=(rule,)))
    assert rule.fixable or not any(item.finding.edits for item in report.findings)


def test_every_rule_has_its_section_in_the_reference_page() -> None:
    text = (ROOT / "docs/reference/lint-rules.md").read_text()
    assert [rule.name for rule in RULES if f"\n### {rule.name}\n" not in text] == []


def test_the_reference_page_is_what_the_rules_say() -> None:
    text = (ROOT / "docs/reference/lint-rules.md").read_text()
    assert text == page(), "python -m interlock.lint.reference > docs/reference/lint-rules.md"
