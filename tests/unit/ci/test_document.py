from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.ci.document import (
    MAX_TEXT_BYTES,
    Broken,
    Mapping,
    Scalar,
    Sequence,
    parse,
    scalars,
    walk,
)


def mapping(text: str) -> Mapping:
    node = parse("a.yml", text)
    assert isinstance(node, Mapping)
    return node


def scalar(text: str, key: str) -> Scalar:
    found = mapping(text).get(key)
    assert isinstance(found, Scalar)
    return found


def test_keys_and_values_keep_their_text_and_place() -> None:
    node = mapping("on: push\nversion: 1.10\n")
    entry = node.entry("version")
    assert entry is not None
    assert (entry.key.span.line, entry.key.span.column) == (2, 1)
    assert isinstance(entry.value, Scalar)
    assert (entry.value.text, entry.value.span.line, entry.value.span.column) == ("1.10", 2, 10)
    assert node.text("on") == "push"


@pytest.mark.parametrize(
    ("text", "word", "place"),
    [
        ("run: |\n  first\n    second word\n", "word", (3, 12)),
        ("run: >-\n  first\n  second\n\n  third\n", "third", (5, 3)),
        ("run: plain\n  goes on here\n", "here", (2, 11)),
        ("run: 'it''s here'\n", "here", (1, 13)),
        ('run: "a\\n\\tb here"\n', "here", (1, 14)),
        ('run: "back\\\\slash here"\n', "here", (1, 19)),
        ("é: x\nrun: |-\n  é here\n", "here", (3, 5)),
        ("run: |+2\n    deep\n  here\n", "here", (3, 3)),
    ],
)
def test_a_word_inside_a_scalar_is_found_where_it_is_written(text: str, word: str, place: tuple[int, int]) -> None:
    found = scalar(text, "run")
    start = found.text.index(word)
    span = found.at(start, start + len(word))
    assert (span.line, span.column) == place
    assert text.encode()[span.start : span.end].decode() == word


def test_merge_keys_give_way_to_own_keys() -> None:
    node = mapping("base: &b {x: 1, y: 2}\njob:\n  <<: *b\n  y: 3\n")
    job = node.get("job")
    assert isinstance(job, Mapping)
    assert (job.text("x"), job.text("y")) == ("1", "3")


def test_an_explicit_tag_is_kept() -> None:
    node = mapping("script: !reference [.setup, script]\n").get("script")
    assert isinstance(node, Sequence)
    assert node.tag == "!reference"
    assert [item.text for item in scalars(node)] == [".setup", "script"]


def test_an_alias_bomb_is_one_node_for_each_line() -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 40)]
    node = parse("a.yml", "\n".join(lines))
    assert node is not None
    assert len(list(walk(node))) < 50


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1\n", (2, 1)),
        ("a: b: c\n", (1, 5)),
        ("a: *nobody\n", (1, 4)),
        ("a: &x [*x]\n", (1, 4)),
        ("\t- a\n", (1, 1)),
    ],
)
def test_a_broken_text_says_where(text: str, place: tuple[int, int]) -> None:
    with pytest.raises(Broken) as caught:
        parse("a.yml", text)
    assert (caught.value.span.line, caught.value.span.column) == place


def test_deep_nesting_and_huge_files_are_refused() -> None:
    with pytest.raises(Broken, match="deep"):
        parse("a.yml", "[" * 70 + "]" * 70)
    with pytest.raises(Broken, match="larger"):
        parse("a.yml", "#" * (MAX_TEXT_BYTES + 1))


def test_an_empty_text_has_no_root() -> None:
    assert parse("a.yml", "# nothing\n") is None


def test_the_document_behind_a_component_header_counts() -> None:
    assert mapping("spec: {inputs: {a: {}}}\n---\njob: {script: x}\n").get("job") is not None


def test_the_last_of_duplicate_keys_counts() -> None:
    assert mapping("a: 1\na: 2\n").text("a") == "2"


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%\n\t ,?é\\", max_size=60))
def test_any_text_gives_a_tree_or_a_place(text: str) -> None:
    try:
        node = parse("a.yml", text)
    except Broken as broken:
        node, line = None, broken.span.line
    else:
        line = 1
    assert line >= 1
    for found in walk(node) if node is not None else ():
        if isinstance(found, Scalar):
            assert found.at(0).line >= 1
