from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from interlock.recovery import Says
from interlock.recovery.witnesses import running, terraform
from interlock.recovery.witnesses.running import Role, Running, Sight, role_of
from interlock.recovery.witnesses.terraform import Suspect

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
LOCKED = NOW - timedelta(hours=1)
PLACE = "s3://states/app.tfstate"


def sight(**more: Any) -> Sight:
    usual: dict[str, Any] = {
        "host": "vm-1",
        "up_since": NOW - timedelta(days=9),
        "in_container": False,
        "is_hidden": False,
        "has_boot": True,
    }
    return Sight(**{**usual, **more})


def suspect(who: str = "ci@vm-1", at: datetime | None = LOCKED, *, in_ci: bool = False) -> Suspect:
    return Suspect(who=who, created_at=at, address=PLACE, in_ci=in_ci)


def process(**more: Any) -> Running:
    usual: dict[str, Any] = {
        "pid": 42,
        "role": Role.TERRAFORM,
        "argv": ("terraform", "apply", "-var=password=hunter2"),
        "folder": Path("/srv/app"),
        "started_at": LOCKED - timedelta(seconds=3),
    }
    return Running(**{**usual, **more})


def says(found: list[tuple[Running, str | None]], seen: Sight | None = None, of: Suspect | None = None) -> list[Says]:
    return [item.says for item in terraform.testify(of or suspect(), seen or sight(), found, now=NOW)]


@pytest.mark.parametrize(
    ("of", "seen", "user_known", "part"),
    [
        (suspect("ci@vm-2"), sight(), True, "the holder is on vm-2, this is vm-1"),
        (suspect("ci@localhost"), sight(host="localhost"), True, "names no host"),
        (suspect(""), sight(), True, "names no host (no Who)"),
        (suspect("alice@"), sight(), True, "names no host"),
        (suspect("stranger@vm-1"), sight(), False, "no user stranger"),
        (suspect("ci@runner"), sight(host="runner"), True, "names no host"),
        (suspect(at=NOW + timedelta(hours=2)), sight(), True, "in the future"),
    ],
)
def test_where_the_holder_cannot_be_seen_nothing_is_said(of: Suspect, seen: Sight, user_known: bool, part: str) -> None:
    blind = terraform.why_elsewhere(of, seen, user_known=user_known, now=NOW)
    assert blind is not None
    assert part in blind[0]
    assert blind[1]


@pytest.mark.promise("P5")
@pytest.mark.parametrize(
    ("of", "seen", "part"),
    [
        (suspect(), sight(in_container=True), "a container"),
        (suspect(in_ci=True), sight(), "a CI job"),
        (suspect(), sight(has_boot=False), "no boot id"),
        (suspect(), sight(is_hidden=True), "hidden"),
        (suspect(), sight(up_since=None), "a restart, or another machine"),
        (suspect(), sight(up_since=NOW - timedelta(minutes=3)), "a restart, or another machine"),
        (suspect(at=None), sight(), "a restart, or another machine"),
    ],
)
def test_a_host_name_by_itself_never_proves_gone_and_a_living_terraform_still_proves_alive(
    of: Suspect, seen: Sight, part: str
) -> None:
    assert terraform.why_elsewhere(of, seen, user_known=True, now=NOW) is None
    (found,) = terraform.testify(of, seen, [], now=NOW)
    assert (found.says, part in found.text, bool(found.how_to)) == (Says.NOTHING, True, True)
    assert says([(process(), PLACE)], seen, of) == [Says.ALIVE]


def test_on_the_locks_own_host_the_holder_can_be_seen() -> None:
    assert terraform.why_elsewhere(suspect(), sight(), user_known=True, now=NOW) is None
    assert terraform.why_no_proof(suspect(), sight()) is None


def test_no_terraform_on_the_locks_own_host_means_gone() -> None:
    assert says([]) == [Says.GONE]


def test_a_terraform_on_the_same_state_is_alive_also_when_it_is_stopped() -> None:
    assert says([(process(), PLACE)]) == [Says.ALIVE]
    assert says([(process(is_stopped=True), PLACE)]) == [Says.ALIVE]


def test_a_terraform_on_another_state_does_not_matter() -> None:
    assert says([(process(), "s3://states/other.tfstate")]) == [Says.GONE]


def test_a_terraform_whose_state_cannot_be_found_out_keeps_the_verdict_open() -> None:
    assert says([(process(), None)]) == [Says.NOTHING]
    assert says([(process(), None)], sight(up_since=NOW)) == [Says.NOTHING]


def test_a_terraform_that_was_started_after_the_lock_was_taken_is_not_the_holder() -> None:
    later = process(started_at=LOCKED + timedelta(minutes=5))
    assert says([(later, PLACE)]) == [Says.FACT, Says.GONE]


def test_a_small_step_of_the_clock_does_not_hide_the_holder() -> None:
    assert says([(process(started_at=LOCKED + timedelta(seconds=59)), PLACE)]) == [Says.ALIVE]


def test_without_a_time_any_terraform_on_the_state_may_be_the_holder() -> None:
    later = process(started_at=LOCKED + timedelta(minutes=5))
    assert says([(later, PLACE)], of=suspect(at=None)) == [Says.ALIVE]
    assert says([(process(started_at=None), PLACE)]) == [Says.ALIVE]


def test_a_provider_that_outlived_its_terraform_is_alive() -> None:
    assert says([(process(role=Role.PROVIDER, is_orphan=True), PLACE)]) == [Says.ALIVE]


def test_an_orphan_in_the_folder_is_told_and_decides_nothing() -> None:
    assert says([(process(role=Role.ORPHAN, argv=("sleep", "60")), PLACE)]) == [Says.FACT, Says.GONE]


def test_no_value_of_a_command_line_is_shown() -> None:
    found = terraform.testify(suspect(), sight(), [(process(), PLACE)], now=NOW)
    assert "hunter2" not in found[0].text
    assert "terraform apply" in found[0].text


@pytest.mark.parametrize(
    ("argv", "orphan", "role"),
    [
        (("terraform", "apply"), False, Role.TERRAFORM),
        (("/opt/terraform_1.11.4", "plan"), False, Role.TERRAFORM),
        (("/opt/tofu", "-chdir=x", "destroy"), False, Role.TERRAFORM),
        (("terraform-bin", "apply"), False, Role.TERRAFORM),
        (("python", "-m", "interlock.run.embedded", "apply"), False, Role.TERRAFORM),
        (("terraform", "-version"), False, None),
        (("terraform", "fmt"), False, None),
        (("python", "-m", "interlock.run.embedded", "show"), False, None),
        (("terraform-ls", "serve"), False, None),
        (("terraform-docs", "."), False, None),
        (("terraformer", "import"), False, None),
        (("/x/terraform-provider-genesyscloud_v1.2.3",), True, Role.PROVIDER),
        (("/x/terraform-provider-genesyscloud_v1.2.3",), False, None),
        (("sleep", "60"), True, Role.ORPHAN),
        (("sleep", "60"), False, None),
        ((), True, None),
    ],
)
def test_command_lines_are_told_apart(argv: tuple[str, ...], orphan: bool, role: Role | None) -> None:
    assert role_of(argv, orphan=orphan) is role


@pytest.fixture
def pretender(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that calls itself terraform and works in a folder."""
    script = "import time; time.sleep(60)"
    process = subprocess.Popen(["terraform", "-c", script, "apply"], executable=sys.executable, cwd=tmp_path)
    yield process
    process.kill()
    process.wait()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc to read here")
def test_a_process_of_this_host_is_found_with_its_folder_and_start(
    pretender: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    found = {each.pid: each for each in running.find_running(tmp_path)}
    mine = found[pretender.pid]
    assert mine.folder == tmp_path
    assert mine.started_at is not None
    assert abs((datetime.now(UTC) - mine.started_at).total_seconds()) < 60
    assert mine.environ
    assert running.look_around().host


def test_rows_of_ps_are_read_where_there_is_no_proc() -> None:
    text = (
        "  10  1 S  /usr/bin/terraform apply\n  11 10 T  terraform plan\n  12 1 Z terraform apply\n  13 1 S sleep 5\n"
    )
    found = list(running._listed_rows(text))
    assert [(each.pid, each.is_stopped, each.folder) for each in found] == [(10, False, None), (11, True, None)]
