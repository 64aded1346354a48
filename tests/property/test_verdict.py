"""P5 over any evidence: a holder is gone only on proof and silence, and nothing that was not seen ever counts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.recovery import Conclusion, Evidence, Says, judge
from interlock.recovery.verdict import weigh

pytestmark = pytest.mark.promise("P5")

NOW = datetime(2026, 11, 24, tzinfo=UTC)
SAYS = st.sampled_from(Says)
TEXTS = st.sampled_from(["", "no process", "stood still", "the API is down"])
PIECES = st.builds(
    Evidence,
    witness=st.sampled_from(["process", "heartbeat", "ci", "lock", "state"]),
    says=SAYS,
    text=TEXTS,
    source=TEXTS,
    observed_at=st.just(NOW),
    how_to=TEXTS,
)
EVIDENCE = st.lists(PIECES, max_size=12)


@given(EVIDENCE)
def test_gone_needs_proof_and_silence_and_nothing_alive(evidence: list[Evidence]) -> None:
    said = {piece.says for piece in evidence}
    is_gone = judge(evidence).conclusion is Conclusion.GONE
    assert is_gone == (Says.GONE in said and Says.SILENT in said and Says.ALIVE not in said)


@given(EVIDENCE, st.data())
def test_neither_order_nor_repetition_nor_blindness_nor_facts_change_a_verdict(
    evidence: list[Evidence], data: st.DataObject
) -> None:
    again = data.draw(st.permutations(evidence + evidence))
    blind = [piece for piece in data.draw(EVIDENCE) if piece.says in {Says.NOTHING, Says.FACT}]
    assert judge([*again, *blind]).conclusion is judge(evidence).conclusion


@given(EVIDENCE, PIECES)
def test_one_sign_of_life_outweighs_everything(evidence: list[Evidence], piece: Evidence) -> None:
    if piece.says is Says.ALIVE:
        assert judge([*evidence, piece]).conclusion is Conclusion.ALIVE


@given(EVIDENCE, EVIDENCE)
def test_more_evidence_never_turns_a_living_holder_into_one_that_is_gone(
    evidence: list[Evidence], more: list[Evidence]
) -> None:
    if judge(evidence).conclusion is Conclusion.ALIVE:
        assert judge([*evidence, *more]).conclusion is Conclusion.ALIVE


@given(kernel=SAYS, record=SAYS, has_gap=st.booleans())
def test_a_record_that_may_lack_a_process_never_proves_an_end_by_itself(
    kernel: Says, record: Says, *, has_gap: bool
) -> None:
    together = weigh(kernel, record, has_gap=has_gap)
    if Says.ALIVE in {kernel, record}:
        assert together is Says.ALIVE
    elif has_gap and kernel is not Says.GONE:
        assert together is Says.NOTHING
