from __future__ import annotations

import pytest

from interlock.errors import UsageError
from interlock.policy.approval import Verdict
from interlock.server.hooks.typed import Typed, read_typed

DIGEST = "ab" * 8


@pytest.mark.parametrize(
    ("text", "digest", "reason"),
    [
        (f"/interlock approve r1 {DIGEST} seen with ann", DIGEST, "seen with ann"),
        (f"  /interlock   approve\tr1 {DIGEST}   seen  \r\nmore lines\r\n", DIGEST, "seen"),
        (f"/interlock approve r1 sha256:{DIGEST * 4} x", f"sha256:{DIGEST * 4}", "x"),
        (f"/interlock approve r1 {DIGEST.upper()} x", DIGEST, "x"),
    ],
)
def test_a_decision_is_the_first_line_of_a_comment(text: str, digest: str, reason: str) -> None:
    assert read_typed(text) == Typed(verdict=Verdict.APPROVE, request="r1", digest=digest, reason=reason)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "looks good",
        f"> /interlock approve r1 {DIGEST} x",
        f"please\n/interlock approve r1 {DIGEST} x",
        f"`/interlock approve r1 {DIGEST} x`",
        f"/interlocks approve r1 {DIGEST} x",
        f"\n/interlock approve r1 {DIGEST} x",
    ],
)
def test_a_quoted_or_mentioned_decision_is_none(text: str) -> None:
    assert read_typed(text) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("/interlock", "does not name"),
        ("/interlock approve r1", "does not name"),
        (f"/interlock approve r1 {DIGEST}", "does not name"),
        (f"/interlock approved r1 {DIGEST} x", "neither approve nor reject"),
        (f"/interlock approve r1 {DIGEST[:-1]} x", "not the digest"),
        (f"/interlock approve r1 {'g' * 16} x", "not the digest"),
        (f"/interlock approve r1 {'a' * 65} x", "not the digest"),
        ("/interlock approve r1 looks fine to me", "not the digest"),
    ],
)
def test_what_begins_as_a_decision_and_is_none_is_told(text: str, why: str) -> None:
    with pytest.raises(UsageError) as refusal:
        read_typed(text)
    assert why in refusal.value.why
    assert "/interlock approve RUN DIGEST REASON" in refusal.value.fix
