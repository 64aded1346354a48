from __future__ import annotations

from interlock.ids import RandomIds
from interlock.testing.clock import START
from interlock.testing.ids import CountingIds


def test_counted_ids_differ_and_have_the_form_of_real_ones() -> None:
    ids, real = CountingIds(), RandomIds()
    assert len(ids.fresh()) == len(real.fresh())
    assert len(ids.run(START)) == len(real.run(START))
    assert len(ids.secret()) == len(real.secret())
    assert len({ids.fresh() for _ in range(10)}) == 10
