"""What became of a request for approval, as lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from interlock.cli import view

if TYPE_CHECKING:
    from datetime import datetime

    from interlock.policy.approval import Approval


def standing_line(approval: Approval, now: datetime) -> str:
    """Return what a request is now, and how many approved it."""
    from interlock.policy.approval import standing

    count = f"{approval.approved} of {approval.needed}"
    return f"{standing(approval, now).value}: {count} (policy {approval.policy})"


def decision_lines(approval: Approval, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield what can be typed in a comment while a request is open, then what persons said, each with its heading."""
    from interlock.policy.approval import OPEN, Verdict, comment_line, standing

    if approval.comments_on and standing(approval, now) in OPEN:
        yield from (("comment", comment_line(approval, verdict)) for verdict in Verdict)
    for one in approval.decisions:
        via = f", by {one.via}" if one.account else ""
        yield one.verdict.value, f"{one.who} at {view.instant(one.at)}{via}: {one.reason}"
