from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from interlock.recovery.damage import Intent, Snapshot, judge_chain
from interlock.state import Finding

T0 = datetime(2026, 11, 24, tzinfo=UTC)
LINEAGE = "3f0a1f4e-0000-4000-8000-000000000001"


def state(
    serial: int, *names: str, lineage: str = LINEAGE, needs: dict[str, list[str]] | None = None, note: str = ""
) -> bytes:
    resources: list[dict[str, Any]] = [
        {
            "mode": "managed",
            "type": "terraform_data",
            "name": name,
            "provider": 'provider["terraform.io/builtin/terraform"]',
            "instances": [
                {
                    "schema_version": 0,
                    "attributes": {"id": f"id-{name}{note}", "input": note},
                    "dependencies": (needs or {}).get(name, []),
                }
            ],
        }
        for name in names
    ]
    top = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": lineage}
    return json.dumps({**top, "outputs": {}, "resources": resources, "check_results": None}).encode()


def chain(*bodies: bytes) -> list[Snapshot]:
    return [Snapshot(id=f"v{n}", at=T0 + timedelta(minutes=n), body=body) for n, body in enumerate(bodies, 1)]


def codes(findings: Sequence[Finding]) -> list[tuple[str, bool]]:
    return [(finding.code, finding.refuses) for finding in findings]


def test_a_chain_of_ordinary_writes_has_no_findings_and_its_current_version_is_sound() -> None:
    judged = judge_chain(chain(state(1, "a"), state(2, "a", "b"), state(5, "a", "b", "c")), Intent())
    assert judged.findings == ()
    assert judged.is_current_sound


def test_an_empty_chain_says_nothing() -> None:
    assert judge_chain([], Intent()).newest_sound is None


def test_a_serial_that_goes_back_is_named_and_the_version_before_is_the_newest_sound_one() -> None:
    judged = judge_chain(chain(state(1, "a"), state(2, "a", "b"), state(1, "a")), Intent())
    assert codes(judged.findings)[0] == ("serial-back", True)
    assert "an older state again" in judged.findings[0].message
    assert judged.newest_sound is not None
    assert judged.newest_sound.id == "v2"
    assert not judged.is_current_sound


def test_bytes_that_were_restored_once_and_are_put_back_later_are_an_older_state_again() -> None:
    """A restore of a state that can be read gets a serial of its own; only an encrypted one comes back as it was."""
    older = state(1, "a")
    intent = Intent(restored=frozenset({hashlib.sha256(older).hexdigest()}))
    judged = judge_chain(chain(older, state(2, "a", "b"), older), intent)
    assert codes(judged.findings)[0] == ("serial-back", True)


def test_a_serial_written_twice_with_different_content_is_a_zombies_write() -> None:
    judged = judge_chain(chain(state(1, "a"), state(2, "a", "b"), state(2, "a", "c")), Intent())
    assert codes(judged.findings) == [("zombie-write", True), ("phantom-deletion", True)]
    assert judged.findings[1].address == "terraform_data.b"


def test_a_lower_serial_after_a_takeover_is_a_zombies_write_and_says_since_when() -> None:
    bodies = chain(state(4, "a"), state(6, "a", "b"), state(5, "a", note="z"))
    judged = judge_chain(bodies, Intent(takeovers=(T0 + timedelta(minutes=1, seconds=30), T0 + timedelta(hours=1))))
    assert codes(judged.findings)[0] == ("zombie-write", True)
    assert "its lock was broken at 2026-11-24 00:01:30Z" in judged.findings[0].message
    assert codes(judge_chain(bodies, Intent()).findings)[0] == ("serial-back", True)


def test_the_same_content_under_the_same_serial_is_no_damage() -> None:
    judged = judge_chain(chain(state(1, "a"), state(2, "b", "a"), state(2, "b", "a")), Intent())
    assert "zombie-write" not in dict(codes(judged.findings))


def test_another_lineage_is_named() -> None:
    judged = judge_chain(chain(state(1, "a"), state(7, "a", lineage="other")), Intent())
    assert codes(judged.findings) == [("lineage-changed", True)]
    assert judged.newest_sound is not None
    assert judged.newest_sound.id == "v1"


def test_another_lineage_that_was_put_right_since_is_only_noted() -> None:
    judged = judge_chain(chain(state(1, "a"), state(7, "a", lineage="other"), state(2, "a", "b")), Intent())
    assert codes(judged.findings) == [("lineage-changed", False)]
    assert judged.is_current_sound


def test_a_broken_current_version_leaves_the_newest_whole_one_as_sound() -> None:
    judged = judge_chain(chain(state(1, "a"), state(2, "a", "b"), state(3, "a", "b")[:100]), Intent())
    assert judged.newest_sound is not None
    assert judged.newest_sound.id == "v2"
    assert not judged.is_current_sound


def test_a_broken_version_in_between_is_only_noted() -> None:
    judged = judge_chain(chain(state(1, "a"), b"{", state(3, "a", "b")), Intent())
    assert codes(judged.findings) == [("broken-version", False)]
    assert judged.is_current_sound


@pytest.mark.parametrize(
    ("intent", "expected"),
    [
        (Intent(), [("vanished", False)]),
        (Intent(declared=frozenset({"terraform_data.b"})), [("phantom-deletion", True)]),
        (Intent(declared=frozenset({"terraform_data.a"})), [("vanished", False)]),
        (Intent(declared=frozenset({"terraform_data.b"}), planned=frozenset({"terraform_data.b"})), []),
    ],
)
def test_what_vanished_is_a_phantom_deletion_when_the_configuration_still_has_it_and_nobody_planned_it(
    intent: Intent, expected: list[tuple[str, bool]]
) -> None:
    judged = judge_chain(chain(state(1, "a", "b"), state(2, "a")), intent)
    assert codes(judged.findings) == expected


def test_what_vanished_under_its_dependents_is_a_phantom_deletion() -> None:
    needs = {"b": ["terraform_data.a"]}
    judged = judge_chain(chain(state(1, "a", "b", needs=needs), state(2, "b", needs=needs)), Intent())
    assert codes(judged.findings) == [("phantom-deletion", True)]
    assert "dependents first" in judged.findings[0].message


def test_what_vanished_and_came_back_is_no_finding() -> None:
    needs = {"b": ["terraform_data.a"]}
    bodies = chain(state(1, "a", "b", needs=needs), state(2, "b", needs=needs), state(3, "a", "b", needs=needs))
    assert judge_chain(bodies, Intent()).findings == ()


def test_a_state_that_was_emptied_is_noted_because_a_destroy_does_the_same() -> None:
    judged = judge_chain(chain(state(1, "a", "b"), state(4)), Intent(declared=frozenset({"terraform_data.a"})))
    assert codes(judged.findings) == [("emptied", False)]
    assert judged.is_current_sound


def test_a_resource_that_moved_did_not_vanish() -> None:
    moved = state(2, "b").replace(b"id-b", b"id-a")
    judged = judge_chain(chain(state(1, "a"), moved), Intent(declared=frozenset({"terraform_data.a"})))
    assert judged.findings == ()
