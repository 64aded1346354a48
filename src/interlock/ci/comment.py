"""What a plan's comment says: counts, the plan folded, place in the queue, API calls, drift.

Knows: plain values. The text is Markdown that GitHub, GitLab and Azure DevOps show alike. A hidden mark at its
beginning lets the next run find and replace it, so that a pull request has one comment for each state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MAX_COMMENT = 60_000  # characters; GitHub refuses more than 65,536 and counts some characters twice
MAX_ROWS = 100  # of a list inside a comment


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport:
    """One planned run.

    Attributes:
        state: The state.
        run: The run's id.
        commit: What was planned, "" when unknown.
        add: Objects to create; a replaced one counts here and in `remove`.
        change: Objects to change.
        remove: Objects to remove.
        text: The plan as Terraform shows it, sensitive values masked; "" when there is none.
        position: Place in the queue when the run joined it, from 1; None when it did not wait.
        waited_s: How long it waited for its turn.
        calls: Expected API calls of the apply; None when unknown.
        drifted: Addresses that differ from the state without a plan.
        error: What went wrong; "" for a plan that was made.
        next: What to do about it.
        job: URL of the CI job.
    """

    state: str
    run: str = ""
    commit: str = ""
    add: int = 0
    change: int = 0
    remove: int = 0
    text: str = ""
    position: int | None = None
    waited_s: float = 0.0
    calls: int | None = None
    drifted: tuple[str, ...] = ()
    error: str = ""
    next: str = ""
    job: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing would change."""
        return not (self.add or self.change or self.remove)


def mark(state: str) -> str:
    """Return the hidden mark of a state's comment."""
    return f"<!-- interlock plan {state} -->"


def markdown(report: PlanReport) -> str:
    """Return the comment, its mark first, at most `MAX_COMMENT` characters long."""
    head = "\n".join(_head(report))
    tail = "\n" + "\n".join(_tail(report))
    room = MAX_COMMENT - len(head) - len(tail) - 200
    return head + _folded(report.text, max(room, 0)) + tail + "\n"


def _head(report: PlanReport) -> Iterator[str]:
    yield mark(report.state)
    yield f"### Interlock plan: `{report.state}`"
    yield ""
    if report.error:
        yield f"**No plan:** {_inline(report.error)}"
        if report.next:
            yield ""
            yield f"Next: {_inline(report.next)}"
        return
    if report.is_empty:
        yield "**No changes.**"
    else:
        yield f"**{report.add} to add, {report.change} to change, {report.remove} to remove.**"
    facts = list(_facts(report))
    if facts:
        yield ""
        yield from (f"- {fact}" for fact in facts)
    if report.drifted:
        yield from _drift(report.drifted)


def _facts(report: PlanReport) -> Iterator[str]:
    if report.position is not None and report.position > 0:
        yield f"queue: joined as number {report.position}, waited {report.waited_s:.0f} s"
    elif report.waited_s >= 1:
        yield f"queue: waited {report.waited_s:.0f} s"
    else:
        yield "queue: nobody was ahead"
    if report.calls is not None:
        yield f"API calls of the apply: about {report.calls}"
    if not report.drifted:
        yield "drift: none"


def _drift(addresses: tuple[str, ...]) -> Iterator[str]:
    yield ""
    yield f"**Drift:** {len(addresses)} changed outside Terraform; applying may revert this:"
    yield ""
    yield from (f"- `{_inline(address)}`" for address in addresses[:MAX_ROWS])
    if len(addresses) > MAX_ROWS:
        yield f"- … and {len(addresses) - MAX_ROWS} more"


def _tail(report: PlanReport) -> Iterator[str]:
    known = [f"run `{report.run}`" if report.run else "", f"commit `{report.commit[:12]}`" if report.commit else ""]
    if report.job:
        known.append(f"[job]({report.job})")
    found = [part for part in known if part]
    if found:
        yield ""
        yield f"<sub>{' · '.join(found)}</sub>"


def _folded(text: str, room: int) -> str:
    """Return the plan in a fold; a plan that is too long loses its middle, never its summary line."""
    if not text.strip():
        return "\n"
    fence = "~" * max(4, _longest_run(text, "~") + 1)
    if len(text) > room:
        half = max((room - 100) // 2, 0)
        cut = len(text) - 2 * half
        end = text[-half:] if half else ""
        text = f"{text[:half]}\n\n… {cut} characters left out; the whole plan is in the job's log …\n\n{end}"
    return f"\n\n<details><summary>Plan</summary>\n\n{fence}\n{text.strip(chr(10))}\n{fence}\n\n</details>\n"


def _longest_run(text: str, character: str) -> int:
    longest = current = 0
    for found in text:
        current = current + 1 if found == character else 0
        longest = max(longest, current)
    return longest


def _inline(text: str) -> str:
    """Return text that stays on its line and opens no markup."""
    return " ".join(text.replace("<", "‹").replace("`", "'").split())
