from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.ci.comment import MAX_COMMENT, PlanReport, mark, markdown


def test_a_comment_has_counts_plan_queue_calls_and_drift() -> None:
    text = markdown(
        PlanReport(
            state="prod",
            run="r1",
            commit="c" * 40,
            add=1,
            change=2,
            remove=3,
            text="# a will be created",
            position=2,
            waited_s=34.4,
            calls=17,
            drifted=("genesyscloud_user.a",),
            job="https://ci/1",
        )
    )
    assert text.startswith(mark("prod"))
    for part in (
        "**1 to add, 2 to change, 3 to remove.**",
        "<details><summary>Plan</summary>",
        "# a will be created",
        "joined as number 2, waited 34 s",
        "about 17",
        "**Drift:** 1 changed outside Terraform",
        "`genesyscloud_user.a`",
        "run `r1` · commit `cccccccccccc` · [job](<https://ci/1>)",
    ):
        assert part in text


def test_a_failed_plan_says_why_and_what_next() -> None:
    text = markdown(PlanReport(state="prod", error="the lock is held", next="interlock queue ls"))
    assert "**No plan:** `the lock is held`" in text
    assert "Next: `interlock queue ls`" in text


def test_a_refused_plan_is_shown_with_what_it_deletes_and_how_to_agree() -> None:
    report = PlanReport(
        state="prod",
        remove=1,
        deleted=("t.n",),
        error="the plan deletes",
        why="t.n",
        next="interlock ci allow-deletions",
    )
    text = markdown(report)
    assert "**Refused:** `the plan deletes`" in text
    assert "Why: `t.n`" in text
    assert "Next: `interlock ci allow-deletions`" in text
    assert "**0 to add, 0 to change, 1 to remove.**" in text
    assert "- `t.n`" in text


def test_no_changes_are_said() -> None:
    assert "**No changes.**" in markdown(PlanReport(state="prod"))


def test_a_long_plan_loses_its_middle() -> None:
    text = markdown(PlanReport(state="prod", add=1, text="begin\n" + "x" * 500_000 + "\nend"))
    assert len(text) <= MAX_COMMENT
    assert "begin" in text
    assert "\nend" in text
    assert "characters left out" in text


def test_a_plan_cannot_break_out_of_its_fence() -> None:
    text = markdown(PlanReport(state="prod", add=1, text="``````\n</details>\n# heading"))
    assert "\n```````\n" in text


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300), st.lists(st.text(max_size=30), max_size=200), st.text(max_size=200))
def test_a_comment_is_never_too_long(plan: str, drifted: list[str], error: str) -> None:
    report = PlanReport(state="prod", add=1, text=plan * 300, drifted=tuple(drifted), error=error)
    assert len(markdown(report)) <= MAX_COMMENT
    assert markdown(report).startswith(mark("prod"))
