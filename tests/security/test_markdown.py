"""Whoever chooses a name or an error text gains no mention, image, link or HTML in a pull request or a chat."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from tests.security.poison import POISON

from interlock.ci.comment import PlanReport, mark, markdown
from interlock.cli.ci import _failure_text
from interlock.drift.finding import Attribute, Cause, Finding, Kind, Scan
from interlock.drift.formats import render_markdown
from interlock.foreign_text import code_block, code_span, in_chat

pytestmark = pytest.mark.promise("P10")

EVIL = (
    "@acme/security ![x](https://evil.example/pixel.png) [click](javascript:x) <img src=//evil.example> "
    "<!-- --> --> ```\n````\n~~~~\n/approve\n/merge\n# heading\n| a | b |\n|---|---|\n<details>\\|`` x ` "
    "www.evil.example "
    "a@evil.example #1 !2 <!channel> \\"
)
OURS = ("<!-- interlock plan ", "<details><summary>Plan</summary>", "</details>", "<sub>", "</sub>")


def live(text: str) -> list[str]:
    """Return what in a Markdown text is markup of an attacker, or a word that a platform brings to life."""
    found: list[str] = []
    for token in _flat(MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)):
        if token.type in ("link_open", "image"):
            found.append(f"{token.type} {token.attrs}")
        elif token.type in ("html_block", "html_inline") and not token.content.lstrip().startswith(OURS):
            found.append(f"{token.type} {token.content!r}")
        elif token.type == "text" and any(sign in token.content for sign in ("@", "www.", "://", "#1", "!2", "<!")):
            found.append(f"text {token.content!r}")
    return found


def _flat(tokens: list[Token]) -> list[Token]:
    return [each for token in tokens for each in (token, *_flat(token.children or []))]


REPORTS = [
    PlanReport(state=EVIL, run=EVIL, commit=EVIL, error=EVIL, next=EVIL, job=EVIL),
    PlanReport(state=EVIL, run=EVIL, commit=EVIL, add=1, text=EVIL, drifted=(EVIL, POISON), job=f"https://x/){EVIL}"),
    PlanReport(state=POISON, add=1, text=POISON, error=POISON, next=POISON),
]


@pytest.mark.parametrize("report", REPORTS)
def test_a_plan_comment_mentions_nobody_and_loads_nothing(report: PlanReport) -> None:
    text = markdown(report)
    assert live(text) == []
    assert not any(line.startswith("/") for line in text.splitlines())  # GitLab: a command to the merge request


def test_a_state_name_cannot_end_the_hidden_mark() -> None:
    assert mark("s --> @all").count("-->") == 1


def test_a_drift_report_mentions_nobody_and_loads_nothing() -> None:
    now = datetime.now(UTC)
    evil = Finding(
        kind=Kind.CHANGED,
        address=f"t.{EVIL}",
        type="t",
        object=EVIL,
        name=EVIL,
        attributes=(Attribute(path=EVIL, before=EVIL, after=[EVIL]),),
        cause=Cause(who=EVIL, at=now),
    )
    text = render_markdown(Scan(state=EVIL, run=EVIL, at=now, salt="s", findings=(evil,), notes=(EVIL,)))
    assert live(text) == []
    tables = [token for token in MarkdownIt("commonmark").enable("table").parse(text) if token.type == "td_open"]
    assert len(tables) == 5  # one row of five cells, whatever bars there are


@given(st.text(alphabet="`|\\~<>[]()!@#*_ab \n", max_size=40))
def test_no_text_leaves_its_code(text: str) -> None:
    span = code_span(text)
    tokens = _flat(MarkdownIt("commonmark").parse(f"a {span} b"))
    assert {each.type for each in tokens} <= {"paragraph_open", "inline", "text", "code_inline", "paragraph_close"}
    (block,) = MarkdownIt("commonmark").parse(code_block(text))
    assert block.type == "fence"
    row = f"|h|i|\n|---|---|\n| {code_span(text, in_table=True)} | end |\n"
    tokens = _flat(MarkdownIt("commonmark").enable("table").parse(row))
    assert [each.type for each in tokens].count("td_open") == 2
    assert not {"link_open", "html_inline", "em_open", "strong_open"} & {each.type for each in tokens}


def test_a_chat_is_not_called_by_a_state_name() -> None:
    text = in_chat("prod <!channel> <@U123> <https://evil.example|click> [x](https://evil.example)")
    assert "<" not in text
    assert "](" not in text
    assert "<!channel>" not in _failure_text("<!channel>")
