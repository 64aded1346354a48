from __future__ import annotations

from interlock.compose.supervising import at_most_every


async def test_a_yes_is_believed_for_a_while_and_a_no_never_is() -> None:
    asked: list[int] = []

    async def ask(token: int) -> bool:
        asked.append(token)
        return token != 13

    answer = at_most_every(100.0, ask)
    assert [await answer(7), await answer(7), await answer(8)] == [True, True, True]
    assert [await answer(13), await answer(13)] == [False, False]
    assert asked == [7, 8, 13, 13]
    eager = at_most_every(0.0, ask)
    assert [await eager(7), await eager(7)] == [True, True]
    assert asked[4:] == [7, 7]
