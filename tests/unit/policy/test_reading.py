from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from interlock.errors import BackendUnavailable, UsageError
from interlock.policy import Layer, Policy
from interlock.policy.policy_book import PolicyBook
from interlock.policy.reading import checked_policies, parse_policies, read_policies, zone
from interlock.settings.reading import load
from interlock.store.memory import MemoryRecords
from interlock.testing.clock import FakeClock


def parsed(**said: Any) -> Policy:
    return parse_policies({"policies": [{"name": "p", **said}]}, file="/etc/p.yaml", layer=Layer.SERVER)[0]


def said(folder: Path, text: str) -> tuple[Policy, ...]:
    (folder / "interlock.yaml").write_text(text)
    environ = {"HOME": str(folder / "home"), "XDG_CONFIG_HOME": str(folder / "home" / ".config")}
    return read_policies(load(folder, environ).policies)


def test_policies_of_the_operator_and_the_repository_are_both_there(tmp_path: Path) -> None:
    own = tmp_path / "home" / ".config" / "interlock"
    own.mkdir(parents=True)
    (own / "interlock.yaml").write_text("policies: [{name: mine, approvals: 1}]\n")
    (own / "interlock.yaml").chmod(0o600)
    repository = tmp_path / "repository"
    (repository / ".git").mkdir(parents=True)
    (repository / "interlock.yaml").write_text("policies: [{name: theirs, states: prod/*, wait: 30m}]\n")
    environ = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "home" / ".config")}
    found = read_policies(load(repository, environ).policies)
    assert {(one.name, one.layer) for one in found} == {("mine", Layer.OPERATOR), ("theirs", Layer.REPOSITORY)}
    assert next(one for one in found if one.name == "theirs").wait_s == 1800.0


@pytest.mark.parametrize("document", [{}, {"policies": None}])
def test_a_file_without_the_word_policies_takes_no_policy_away(document: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="policies"):
        parse_policies(document, file="/etc/p.yaml", layer=Layer.SERVER)
    assert parse_policies({"policies": []}, file="/etc/p.yaml", layer=Layer.SERVER) == ()


@pytest.mark.parametrize("at", ["0001-01-01", "9999-12-31", "9999-12-31 23:59"])
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles"])
def test_a_freeze_at_the_ends_of_the_calendar_is_refused_in_words(at: str, zone: str) -> None:
    for name in ("from", "to"):
        with pytest.raises(UsageError, match="1970 to 9000"):
            parsed(freezes=[{"reason": "r", name: at, "zone": zone}])


def test_times_are_read_in_their_zone(tmp_path: Path) -> None:
    (policy,) = said(
        tmp_path,
        "policies:\n- name: p\n  windows: [{days: [Monday, tue], from: '08:00', to: 16:30, zone: Europe/Berlin}]\n"
        "  freezes: [{reason: r, from: 2026-12-23, to: 2027-01-04 08:00, zone: Europe/Berlin}]\n",
    )
    (window,), (freeze,) = policy.windows, policy.freezes
    assert (window.days, window.begin, window.end, window.zone) == (("mon", "tue"), "08:00", "16:30", "Europe/Berlin")
    assert freeze.begin == datetime(2026, 12, 22, 23, tzinfo=UTC)
    assert freeze.end == datetime(2027, 1, 4, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"aprovals": 1}, "did you mean 'approvals'?"),
        ({"windows": [{"form": "08:00"}]}, "did you mean 'from'?"),
        ({"freezes": [{"reason": "r", "until": "2026-12-01"}]}, "docs/reference"),
        ({"protected": {"type": ["x"]}}, "did you mean 'types'?"),
        ({"checks": [{"name": "c", "expresion": "true"}]}, "did you mean 'expression'?"),
        ({"programs": [{"name": "c", "tool": "bash", "policies": "p"}]}, ""),
        ({"windows": [{"from": "8 o'clock"}]}, ""),
        ({"windows": [{"zone": "Mars/Olympus"}]}, ""),
        ({"windows": [{"zone": "../../etc/passwd"}]}, ""),
        ({"windows": [{"days": []}]}, ""),
        ({"freezes": [{"reason": "r", "from": "2026-12-02", "to": "2026-12-01"}]}, ""),
        ({"states": "pr od"}, ""),
        ({"approvals": -1}, ""),
        ({"approval_expires": "0s"}, ""),
        ({"name": "a b"}, ""),
    ],
)
def test_a_wrong_key_or_value_is_refused_with_the_nearest_name(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parsed(**wrong)
    assert told in refusal.value.fix
    assert "/etc/p.yaml" in refusal.value.what


def test_a_zone_that_this_machine_does_not_know_is_an_error_and_not_utc() -> None:
    assert zone("UTC").utcoffset(None) is not None
    with pytest.raises(UsageError, match="time zone"):
        zone("Mars/Olympus")


async def test_a_home_keeps_its_policies_as_those_of_the_server() -> None:
    records = MemoryRecords(clock=FakeClock())
    book = PolicyBook(records)
    assert await book.all() == ()
    policy = parsed(
        windows=[{"days": ["mon"], "from": "08:00", "to": "16:00"}],
        freezes=[{"reason": "r", "to": "2027-01-01"}],
        checks=[{"name": "c", "expression": "true"}],
        max_deletes=3,
    )
    assert await book.replace((policy,)) == ()
    (kept,) = await book.all()
    assert (kept.name, kept.layer, kept.windows, kept.freezes) == ("p", Layer.SERVER, policy.windows, policy.freezes)
    assert await book.replace(()) == (kept,)


@pytest.mark.parametrize("spoiled", [b"", b"[]", b'{"schema": 2, "policies": []}', b'{"policies": [{"nam": 1}]}'])
async def test_policies_that_cannot_be_read_let_nothing_pass(spoiled: bytes) -> None:
    records = MemoryRecords(clock=FakeClock())
    await records.swap("policies", expected=None, value=spoiled)
    with pytest.raises(BackendUnavailable, match="cannot be read"):
        await PolicyBook(records).all()


@pytest.mark.parametrize("said", [0, 0.0, -0.2, 1.5, True, "0.3", "30%", "lots", [0.3], float("nan"), float("inf")])
def test_a_share_that_is_none_is_refused_with_what_to_type_once_it_is_corrected(said: object) -> None:
    with pytest.raises(UsageError) as refused:
        parsed(api_budget_share=said)
    assert "policies.0.api_budget_share: a share is a number above 0 and up to 1, such as 0.3 for 30 %" in str(refused)
    assert "interlock policies set /etc/p.yaml" in refused.value.fix


@pytest.mark.parametrize("said", [0.3, 1, 1e-6, None])
def test_a_share_is_read_and_what_is_sent_to_a_server_is_checked_as_a_file_is(said: float | None) -> None:
    policy = parsed(api_budget_share=said)
    assert policy.api_budget_share == said
    assert checked_policies((policy,), source="what was sent") == (policy,)
    with pytest.raises(UsageError, match=r"what was sent: policies\.0\.api_budget_share"):
        checked_policies((replace(policy, api_budget_share=2.0),), source="what was sent")
