"""Writes docs/reference/pipelines.md: what each trigger does on each platform, for each home of a state.

Run `python scripts/write_pipelines.py` after the tests wrote down something new:
`INTERLOCK_RECORD_CELLS=1 pytest tests/e2e/test_pipeline_cells.py tests/e2e/test_cancelled_pipelines.py`. The page has
what those tests saw and nothing else; `tests/docs/test_pipelines_page.py` holds that.
"""

# ruff: noqa: E501 - the sentences of a page
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CELLS = ROOT / "tests" / "e2e" / "pipeline_cells.json"
PAGE = ROOT / "docs" / "reference" / "pipelines.md"
NOT_RUN = "*not run*"

PLATFORMS: Mapping[str, str] = {
    "github": "GitHub Actions",
    "gitlab": "GitLab CI",
    "azure": "Azure Pipelines",
    "jenkins": "Jenkins",
}
HOMES: Mapping[str, str] = {
    "own": "own store, lasting runner",
    "s3-table": "S3, DynamoDB table",
    "s3-lockfile": "S3, lockfile",
}
TRIGGERS: Mapping[str, str] = {
    "change opened": "A change is opened",
    "change updated": "It gets another commit; its comment is replaced",
    "first ever": "It is merged, and nothing was ever stored for the state",
    "merged": "A later change, which deletes, is merged",
    "re-run": "The jobs after a merge are started again",
    "by hand": "The pipeline of the branch is started by hand, with files that no change has planned",
    "schedule": "The schedule looks for drift; there is none",
    "two at once": "Two jobs apply the same sealed plan at once",
    "cancelled": "The apply is cancelled while Terraform works: the signals that the platform sends, then its last steps",
    "fork": "A change comes from a fork",
}
Cells = Mapping[str, Mapping[str, Mapping[str, str]]]


def read_cells() -> Cells:
    """Return what the tests saw."""
    found: Cells = json.loads(CELLS.read_text("utf-8"))
    return found


def page(cells: Cells) -> str:
    """Return the text of the page."""
    return "\n".join([*_head(cells), *(line for trigger in TRIGGERS for line in _table(cells, trigger))]) + "\n"


def _head(cells: Cells) -> Iterator[str]:
    run = sum(len(homes) for triggers in cells.values() for homes in triggers.values())
    yield "# Triggers of generated pipelines"
    yield ""
    yield "For each trigger, platform and home of a state: which steps ran, and with which [exit status](exit-codes.md). Written by"
    yield "`scripts/write_pipelines.py` from what `tests/e2e/test_pipeline_cells.py`, `test_cancelled_pipelines.py` and"
    yield f"`test_generated_jenkins.py` saw: {run} of {len(TRIGGERS) * len(PLATFORMS) * len(HOMES)} cells. The rest was {NOT_RUN}, and nothing is said of it."
    yield ""
    yield "The tests run the generated files themselves: each step with the platform's shell options and environment, conditions read from"
    yield "the files, real Terraform, a simulated organisation and a simulated API of the platform; S3 and DynamoDB are moto. No platform itself"
    yield "took part. Steps that install software are left out. The [pages about each platform](../howto/ci-github.md) tell what the statuses mean."
    yield ""


def _table(cells: Cells, trigger: str) -> Iterator[str]:
    yield f"## {trigger[0].upper()}{trigger[1:]}"
    yield ""
    yield f"{TRIGGERS[trigger]}."
    yield ""
    yield f"| platform | {' | '.join(HOMES.values())} |"
    yield f"|---|{'---|' * len(HOMES)}"
    for platform, title in PLATFORMS.items():
        seen = cells.get(platform, {}).get(trigger, {})
        yield f"| {title} | {' | '.join(seen.get(home, NOT_RUN) for home in HOMES)} |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(read_cells()).rstrip("\n") + "\n", "utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
