import pytest

from interlock.lint.finding import Finding, Severity
from interlock.lint.ignores import Ignore, Incomplete, find_ignores
from interlock.source.tree import Span

KNOWN = frozenset({"rule-a", "rule-b"})


def ignores(text: str) -> list[Ignore | Incomplete]:
    return list(find_ignores("f", text.encode(), KNOWN))


def covered(text: str, rule: str = "rule-a") -> list[int]:
    """Return the lines on which a finding of a rule is ignored."""
    found = [item for item in ignores(text) if isinstance(item, Ignore)]
    return [line for line in range(1, text.count("\n") + 2) if any(item.covers(at(line, rule)) for item in found)]


def at(line: int, rule: str) -> Finding:
    span = Span(path="f", start=0, end=0, line=line, column=1, end_line=line, end_column=1)
    return Finding(rule=rule, severity=Severity.ERROR, span=span, message="", fix="")


def test_behind_code_an_ignore_covers_its_line() -> None:
    assert covered("a = 1\nb = 2 # interlock:ignore rule-a: because\nc = 3\n") == [2]


@pytest.mark.parametrize("mark", ["# ", "#", "// ", "/* "])
def test_every_comment_mark_counts(mark: str) -> None:
    assert covered(f"{mark}interlock:ignore rule-a: because\nb = 2\nc = 3\n") == [1, 2]


def test_alone_it_covers_the_block_that_begins_behind_it() -> None:
    text = 'x = 1\n# interlock:ignore rule-a: because\n\n# more\nresource "a" "b" {\n  c = 1\n\n  d {\n  }\n}\ny = 2\n'
    assert covered(text) == [2, 3, 4, 5, 6, 7, 8, 9, 10]


def test_alone_it_covers_the_mapping_that_begins_behind_it_in_yaml() -> None:
    text = "jobs:\n  # interlock:ignore rule-a: because\n  apply:\n    steps:\n      - run: x\n  plan:\n    steps: []\n"
    assert covered(text) == [2, 3, 4, 5]


def test_at_the_end_of_a_file_it_covers_nothing_more() -> None:
    assert covered("a = 1\n# interlock:ignore rule-a: because\n\n") == [2]


def test_for_a_file_it_covers_all_lines() -> None:
    assert covered("a = 1\n# interlock:ignore-file rule-a: because\nb = 2") == [1, 2, 3]


def test_it_covers_the_rules_that_it_names_and_no_other() -> None:
    text = "a = 1 # interlock:ignore rule-a, rule-b: because\n"
    assert covered(text) == covered(text, "rule-b") == [1]
    assert covered(text, "rule-c") == []


@pytest.mark.parametrize(
    ("comment", "why"),
    [
        ("# interlock:ignore", "it names no rule and no reason"),
        ("# interlock:ignore rule-a", "it names no rule and no reason"),
        ("# interlock:ignore rule-a:", "it gives no reason"),
        ("# interlock:ignore rule-a: x", "it gives no reason"),
        ("# interlock:ignore rule-x: because", "there is no rule rule-x"),
        ("# interlock:ignore-file rule-a, rule-x: because", "there is no rule rule-x"),
    ],
)
def test_an_incomplete_ignore_covers_nothing_and_says_why(comment: str, why: str) -> None:
    (found,) = ignores(f"a = 1\nb = 2 {comment}\n")
    assert isinstance(found, Incomplete)
    assert (found.why, found.span.line, found.span.column) == (why, 2, 7)


def test_windows_line_ends_are_no_part_of_a_reason() -> None:
    (found,) = ignores("a = 1 # interlock:ignore rule-a: because\r\n")
    assert isinstance(found, Ignore)
    assert found.reason == "because"
