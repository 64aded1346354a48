from uuid import UUID

from interlock.simulator.chance import Chance


def test_equal_seeds_give_equal_streams_and_others_do_not() -> None:
    first, second, other = Chance(7), Chance(7), Chance(8)
    assert [first.bits() for _ in range(5)] == [second.bits() for _ in range(5)]
    assert first.bits() != other.bits()


def test_fractions_fill_the_unit_interval_evenly() -> None:
    chance = Chance(1)
    drawn = [chance.fraction() for _ in range(10_000)]
    assert min(drawn) >= 0.0
    assert max(drawn) < 1.0
    assert abs(sum(drawn) / len(drawn) - 0.5) < 0.02


def test_ids_are_distinct_uuids_of_version_four() -> None:
    chance = Chance(1)
    drawn = [UUID(chance.uuid()) for _ in range(1000)]
    assert len(set(drawn)) == 1000
    assert {identifier.version for identifier in drawn} == {4}
