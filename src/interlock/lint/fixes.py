"""Applies the edits of findings; everything that an edit does not name keeps its bytes.

Knows: byte ranges. Knows nothing of rules. Where two edits overlap the first one wins and the other waits for the
next round: the caller lints the result again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from interlock.lint.finding import Edit, Finding

MAX_ROUNDS = 10  # lint, fix, lint again; a fix may uncover another, two that undo each other must not go on for ever


def apply_edits(texts: Mapping[str, bytes], findings: Iterable[Finding]) -> dict[str, bytes]:
    """Return the new content of every file that changes.

    All edits of a finding are made, or none of them: half a fix could mean something else.
    """
    chosen: dict[str, list[Edit]] = {}
    for finding in findings:
        edits = tuple(dict.fromkeys(finding.edits))
        if edits and all(edit.path in texts and _is_free(edit, chosen.get(edit.path, [])) for edit in edits):
            for edit in edits:
                chosen.setdefault(edit.path, []).append(edit)
    changed = {path: _apply(texts[path], edits) for path, edits in chosen.items()}
    return {path: content for path, content in changed.items() if content != texts[path]}


def _is_free(edit: Edit, taken: Iterable[Edit]) -> bool:
    """Say whether an edit leaves the others alone. Two that begin at one place have no order, so they count as one."""
    return all(edit.start != other.start and (edit.end <= other.start or other.end <= edit.start) for other in taken)


def _apply(content: bytes, edits: list[Edit]) -> bytes:
    result, at = bytearray(), 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        result += content[at : edit.start] + edit.text.encode()
        at = edit.end
    return bytes(result + content[at:])
