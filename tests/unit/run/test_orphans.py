from __future__ import annotations

from tests.unit.creations.test_creation import creation

from interlock.errors import DependencyRejected, StateNotSaved, TerraformFailed
from interlock.run.orphans import ROWS_MAX, orphans_entry, spell_repeat, take_over, with_orphans


def test_the_journal_names_as_many_as_it_can_and_counts_the_rest() -> None:
    many = [creation(type="t", id=str(number)) for number in range(ROWS_MAX + 3)]
    entry = orphans_entry("end", many, "s")
    assert (len(entry.orphans), entry.left_out, entry.next) == (ROWS_MAX, 3, "interlock recover s --orphans")
    assert entry.orphans[0].text == "t (id 0)"


def test_a_failure_names_the_way_to_them_first() -> None:
    error = StateNotSaved("x", fix="interlock plan")
    with_orphans(error, state="s", repeats=False)
    assert error.fix == f"{take_over('s')}    then: interlock plan"


def test_a_taken_name_of_an_orphan_is_no_missing_reference() -> None:
    for error in (
        DependencyRejected("x", fix="interlock deps    find and write the missing reference"),
        TerraformFailed("x", fix="look whether the state was lost", category="api-exists"),
    ):
        with_orphans(error, state="s", repeats=True)
        assert error.fix.startswith("interlock recover s --orphans")
        assert "then plan again" in error.fix
    other = DependencyRejected("x", fix="interlock deps    find and write the missing reference")
    with_orphans(other, state="s", repeats=False)
    assert other.fix.endswith("find and write the missing reference"), "nothing was repeated, so it may be missing"


def test_what_is_in_doubt_is_only_perhaps_made_twice() -> None:
    assert spell_repeat("q.a", creation(type="t", id="I")) == "q.a repeats t (id I)"
    assert (
        spell_repeat("q.a", creation(type="t", doubt="its answer was lost")) == "q.a may repeat t (its answer was lost)"
    )
