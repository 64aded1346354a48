"""What a plan's comment says: counts, the plan folded, place in the queue, API calls, drift.

Knows: plain values. The text is Markdown that GitHub, GitLab and Azure DevOps show alike. A hidden mark at its
beginning lets the next run find and replace it, so that a pull request has one comment for each state.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from interlock.foreign_text import code_block, code_span, many_lines, one_line

MAX_COMMENT = 60_000  # characters; GitHub refuses more than 65,536 and counts some characters twice
_SHORT = 16  # digits of a digest that people compare; see `interlock.run.planned_files`
MAX_ROWS = 50  # of a list inside a comment; two lists and three long sentences leave room for the plan
MAX_NAME = 300  # characters of one name; a hundred of them leave room for the plan
MAX_TEXT = 4000  # characters of an error or a command

_ADDRESS: Final = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&*+,;=%-]{1,1000}\Z")  # what cannot end a Markdown link


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
        deleted: Addresses of objects that are deleted or replaced.
        error: What went wrong; "" for a plan that was made. With counts: the plan was made, and refused.
        why: Why.
        next: What to do about it.
        job: URL of the CI job.
        digest: Digest of the plan file, "" when none was kept.
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
    deleted: tuple[str, ...] = ()
    error: str = ""
    why: str = ""
    next: str = ""
    job: str = ""
    digest: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing would change."""
        return not (self.add or self.change or self.remove)


def mark(state: str) -> str:
    """Return the hidden mark of a state's comment, which no name can end."""
    return f"<!-- interlock plan {one_line(state).replace('>', '&gt;')} -->"


def markdown(report: PlanReport) -> str:
    """Return the comment, its mark first, at most `MAX_COMMENT` characters long."""
    head = "\n".join(_head(report))
    tail = "\n" + "\n".join(_tail(report))
    room = MAX_COMMENT - len(head) - len(tail) - 200
    return head + _folded(report.text, max(room, 0)) + tail + "\n"


SUMMARY_MARK: Final = "<!-- interlock plans -->"
"""The hidden mark of the one comment for all roots."""


def joint_markdown(
    states: Sequence[str], reports: Mapping[str, PlanReport], behind: Mapping[str, Sequence[str]]
) -> str:
    """Return one comment for several roots: a table, and each plan folded as far as there is room.

    Args:
        states: The states that were planned, in order; none when the change touches no root.
        reports: What was kept of each plan; a state without one had no plan.
        behind: By state, those that it needs. Its plan was made with what they are now, so before their changes.
    """
    lines = [SUMMARY_MARK, "### Interlock plans", ""]
    if not states:
        return "\n".join([*lines, "**This change touches no root module.**", ""])
    lines += ["| state | plan |", "|---|---|"]
    for state in states:
        before = [name for name in behind.get(state, ()) if name in reports and not reports[name].is_empty]
        lines.append(f"| {_cell(state)} | {_said(reports.get(state))}{_made_before(before)} |")
    text = "\n".join(lines) + "\n"
    left = len(text)
    for place, state in enumerate(states):
        report = reports.get(state)
        if report is not None:
            whole = _section(report, room=(MAX_COMMENT - left) // (len(states) - place))
            left += len(whole)
            text += whole
    return text


def _made_before(names: Sequence[str]) -> str:
    if not names:
        return ""
    return f"; made before {', '.join(map(_cell, names))} is applied: plan it anew by hand afterwards"


def _section(report: PlanReport, *, room: int) -> str:
    """Return one root's part, as it would stand in a comment of its own, at most `room` characters long."""
    head = "\n".join(list(_head(report))[1:])
    tail = "\n" + "\n".join(_tail(report))
    inside = f"{head}{_folded(report.text, max(room - len(head) - len(tail) - 200, 0))}{tail}"
    found = f"\n<details><summary>{_html(report.state)}</summary>\n\n{inside}\n\n</details>\n"
    return found if len(found) <= room else f"\n{_cell(report.state)}: its plan is on the page of its job.\n"


def _html(text: str) -> str:
    return one_line(text, limit=MAX_NAME).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cell(text: str) -> str:
    return code_span(text, limit=MAX_NAME).replace("|", "\\|")


def _said(report: PlanReport | None) -> str:
    if report is None:
        return "**no plan**: its job kept no report"
    if report.error and report.is_empty:
        return f"**no plan**: {_cell(report.error)}"
    counts = f"{report.add} to add, {report.change} to change, {report.remove} to remove"
    told = "no changes" if report.is_empty else counts
    return f"**refused**: {_cell(report.error)}; {told}" if report.error else told


def _head(report: PlanReport) -> Iterator[str]:
    yield mark(report.state)
    yield f"### Interlock plan: {code_span(report.state)}"
    yield ""
    if report.error:
        yield from _failure(report)
        if report.is_empty:
            return
        yield ""
    if report.is_empty:
        yield "**No changes.**"
    else:
        yield f"**{report.add} to add, {report.change} to change, {report.remove} to remove.**"
    facts = list(_facts(report))
    if facts:
        yield ""
        yield from (f"- {fact}" for fact in facts)
    if report.deleted:
        yield from _listed(f"**Deletes** {len(report.deleted)}, replaced ones included:", report.deleted)
    if report.drifted:
        title = f"**Drift:** {len(report.drifted)} changed outside Terraform; applying may revert this:"
        yield from _listed(title, report.drifted)


def _failure(report: PlanReport) -> Iterator[str]:
    """Yield what went wrong: no plan was made, or one that may not be applied."""
    yield f"**{'No plan' if report.is_empty else 'Refused'}:** {code_span(report.error, limit=MAX_TEXT)}"
    if report.why:
        yield ""
        yield f"Why: {code_span(report.why, limit=MAX_TEXT)}"
    if report.next:
        yield ""
        yield f"Next: {code_span(report.next, limit=MAX_TEXT)}"


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


def _listed(title: str, addresses: tuple[str, ...]) -> Iterator[str]:
    yield ""
    yield title
    yield ""
    yield from (f"- {code_span(address, limit=MAX_NAME)}" for address in addresses[:MAX_ROWS])
    if len(addresses) > MAX_ROWS:
        yield f"- … and {len(addresses) - MAX_ROWS} more"


def _tail(report: PlanReport) -> Iterator[str]:
    known = {"plan": report.digest.removeprefix("sha256:")[:_SHORT], "run": report.run, "commit": report.commit[:12]}
    found = [f"{name} {code_span(value, limit=MAX_NAME)}" for name, value in known.items() if value]
    if report.job:
        found.append(f"[job](<{report.job}>)" if _ADDRESS.match(report.job) else code_span(report.job, limit=MAX_NAME))
    if found:
        yield ""
        yield f"<sub>{' · '.join(found)}</sub>"


def _folded(text: str, room: int) -> str:
    """Return the plan in a fold; a plan that is too long loses its middle, never its summary line."""
    if not text.strip():
        return "\n"
    text = many_lines(text, limit=None)
    if len(text) > room:
        half = max((room - 100) // 2, 0)
        cut = len(text) - 2 * half
        end = text[-half:] if half else ""
        text = f"{text[:half]}\n\n… {cut} characters left out; the whole plan is in the job's log …\n\n{end}"
    return f"\n\n<details><summary>Plan</summary>\n\n{code_block(text)}\n\n</details>\n"
