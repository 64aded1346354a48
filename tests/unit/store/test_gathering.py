from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from interlock.store.gathering import GROUP_MAX, Gathering


class Asked:
    """Answers each number with its double, and notes what was asked together."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.go_on = asyncio.Event()

    async def __call__(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.groups.append(list(items))
        await self.go_on.wait()
        return [2 * item if item >= 0 else ValueError(str(item)) for item in items]


def gathering(asked: Asked, *, most: int = 1000) -> Gathering[int, int]:
    return Gathering(asked, about=lambda item: str(item % 10), most=most, full=lambda: RuntimeError("full"))


async def test_what_comes_while_a_question_is_under_way_goes_together() -> None:
    asked = Asked()
    gathered = gathering(asked)
    futures = [gathered.submit(1)]
    await asyncio.sleep(0)
    futures += [gathered.submit(item) for item in (2, 3, 4)]
    asked.go_on.set()
    assert await asyncio.gather(*futures) == [2, 4, 6, 8]
    assert asked.groups == [[1], [2, 3, 4]]


async def test_two_questions_about_the_same_go_one_after_the_other_in_their_order() -> None:
    asked = Asked()
    asked.go_on.set()
    gathered = gathering(asked)
    futures = [gathered.submit(item) for item in (1, 11, 2, 21, 12)]
    assert await asyncio.gather(*futures) == [2, 22, 4, 42, 24]
    assert asked.groups == [[1, 2], [11, 12], [21]]


async def test_an_error_is_the_answer_of_its_question_alone() -> None:
    asked = Asked()
    asked.go_on.set()
    gathered = gathering(asked)
    answers = await asyncio.gather(gathered.submit(1), gathered.submit(-2), return_exceptions=True)
    assert answers[0] == 2
    assert isinstance(answers[1], ValueError)


async def test_a_question_that_is_cancelled_before_it_was_asked_is_not_asked() -> None:
    asked = Asked()
    gathered = gathering(asked)
    first = gathered.submit(1)
    await asyncio.sleep(0)
    gathered.submit(2).cancel()
    third = gathered.submit(3)
    asked.go_on.set()
    await asyncio.gather(first, third)
    assert asked.groups == [[1], [3]]


async def test_no_more_wait_than_may() -> None:
    asked = Asked()
    gathered = gathering(asked, most=2)
    futures = [gathered.submit(1), gathered.submit(2)]
    with pytest.raises(RuntimeError, match="full"):
        gathered.submit(3)
    asked.go_on.set()
    await asyncio.gather(*futures)


async def test_no_more_go_together_than_may() -> None:
    asked = Asked()
    asked.go_on.set()
    gathered = Gathering(asked, most=10 * GROUP_MAX, full=lambda: RuntimeError("full"))
    await asyncio.gather(*(gathered.submit(item) for item in range(2 * GROUP_MAX + 1)))
    assert [len(group) for group in asked.groups] == [GROUP_MAX, GROUP_MAX, 1]


async def test_a_close_waits_for_all_that_was_handed_in() -> None:
    asked = Asked()
    gathered = gathering(asked)
    future = gathered.submit(1)
    closing = asyncio.ensure_future(gathered.close())
    await asyncio.sleep(0)
    assert not closing.done()
    asked.go_on.set()
    await closing
    assert future.result() == 2
