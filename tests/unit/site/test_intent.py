"""What people wanted of a state."""

from __future__ import annotations

from pathlib import Path

from interlock.site.intent import DELETIONS_ACCEPTED, STATE_ACCEPTED, find_intent
from interlock.testing.home import memory_home

ADDRESS = "s3://b/k"


async def test_configuration_and_decisions_say_what_was_wanted(tmp_path: Path) -> None:
    home = memory_home(tmp_path / "home")
    (tmp_path / "main.tf").write_text(
        'resource "terraform_data" "always" {}\nresource "terraform_data" "some" {\n  count = 0\n}\n'
    )
    log = home.audit
    await log.append(STATE_ACCEPTED, subject=ADDRESS, by="ann", facts={"lacks": ["terraform_data.x"]})
    await log.append(DELETIONS_ACCEPTED, subject=ADDRESS, by="ann", facts={"content": "abc"})
    await log.append("force-unlock", subject=ADDRESS, by="ann", facts={})
    await log.append("force-unlock", subject="s3://other", by="ann", facts={})
    found = await find_intent(tmp_path, ADDRESS, home.runs, log)
    assert found.declared == frozenset({"terraform_data.always"})
    assert found.planned == frozenset({"terraform_data.x"})
    assert (len(found.takeovers), found.accepted) == (1, frozenset({"abc"}))


async def test_a_folder_that_nobody_knows_or_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    home = memory_home(tmp_path / "home")
    assert (await find_intent(None, ADDRESS, home.runs, home.audit)).declared is None
    (tmp_path / "main.tf").write_text('resource "terraform_data" {')
    assert (await find_intent(tmp_path, ADDRESS, home.runs, home.audit)).declared is None
