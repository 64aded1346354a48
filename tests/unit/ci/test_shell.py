from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.ci.shell import Command, parse


def words(text: str) -> list[list[str]]:
    return [[word.text for word in command.words] for command in parse(text).commands]


def only(text: str, program: str) -> Command:
    found = [command for command in parse(text).commands if command.program == program]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b 'c d' \"e $f\" g\\ h", [["a", "b", "c d", "e $f", "g h"]]),
        ("a && b || c; d | e & f", [["a"], ["b"], ["c"], ["d"], ["e"], ["f"]]),
        ("a # not this\nb", [["a"], ["b"]]),
        ("a \\\n  b", [["a", "b"]]),
        ("X=1 Y='2 3' a b", [["a", "b"]]),
        ("a > out 2>&1 < in b", [["a", "b"]]),
        ("cat <<EOF\nterraform apply\nEOF\nb", [["cat"], ["b"]]),
        ("cat <<-'EOF'\n\tx\n\tEOF\nb", [["cat"], ["b"]]),
        ("if ! a; then b; else c; fi", [["a"], ["b"], ["c"]]),
        ("for x in 1 2; do a $x; done", [["a", "$x"]]),
        ("f() { a; }\nf", [["a"], ["f"]]),
        ("(cd x && a)", [["cd", "x"], ["a"]]),
        ("a $(b c) `d`", [["b", "c"], ["d"], ["a", "$(b c)", "`d`"]]),
        ("a ${{ github.ref == 'x' || 'y z' }} b", [["a", "${{ github.ref == 'x' || 'y z' }}", "b"]]),
        ("a ${X:-y z}", [["a", "${X:-y z}"]]),
        ("echo $((1 + 2))", [["echo", "$((1 + 2))"]]),
        ("case $1 in x) a ;; esac", [["x"], ["a"]]),
    ],
)
def test_commands_and_words(text: str, expected: list[list[str]]) -> None:
    assert words(text) == expected


def test_a_word_knows_its_place() -> None:
    text = "echo x\n  terraform apply"
    command = only(text, "terraform")
    assert text[command.start : command.end] == "terraform apply"
    nested = only('echo "$(terraform output)"', "terraform")
    assert nested.start == len('echo "$(')
    assert nested.nested


def test_loops_are_known_and_whether_they_wait() -> None:
    busy = only("until a; do echo again; done", "a")
    assert busy.loop is not None
    assert (busy.loop.keyword, busy.loop.waits) == ("until", False)
    calm = only("for i in 1 2; do a && break; sleep 5; done", "a")
    assert calm.loop is not None
    assert calm.loop.waits
    assert only("for i in 1; do b; done; a", "a").loop is None


def test_a_thrown_away_failure_is_seen() -> None:
    assert only("a || true", "a").ignored
    assert only("a || :", "a").ignored
    assert not only("a || b", "a").ignored


def test_only_a_trap_that_sends_something_forwards() -> None:
    assert parse("trap 'kill -INT $child' INT SIGTERM").forwards == {"INT", "TERM"}
    assert parse("trap 'rm -f x' INT").forwards == frozenset()
    assert parse("trap '' INT").forwards == frozenset()


def test_the_last_command_is_known() -> None:
    assert parse("a\nb").commands[-1].last
    assert not parse("a\n(b)").commands[-1].last


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab $(){}'\"\\|&;<>#`\n=E", max_size=80))
def test_any_text_is_read(text: str) -> None:
    for command in parse(text).commands:
        assert 0 <= command.start <= command.end <= len(text) + 1
