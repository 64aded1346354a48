import asyncio

import pytest

from interlock.to_its_end import to_its_end


@pytest.mark.promise("P1", "P9")
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_step_is_done_to_its_end_however_often_it_is_cancelled(times: int) -> None:
    done, may_end = list[str](), asyncio.Event()

    async def step() -> None:
        await may_end.wait()
        done.append("done")

    running = asyncio.create_task(to_its_end(step()))
    for _ in range(times):
        await asyncio.sleep(0)
        running.cancel()
    await asyncio.sleep(0)
    assert not running.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert done == ["done"]


async def test_what_a_step_returns_and_raises_is_the_callers() -> None:
    async def fails() -> None:
        raise ValueError("no")

    async def answers() -> int:
        return 7

    assert await to_its_end(answers()) == 7
    with pytest.raises(ValueError, match="no"):
        await to_its_end(fails())
