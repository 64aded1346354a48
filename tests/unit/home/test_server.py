from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from tests.served import line_to, served

from interlock.clock import SystemClock
from interlock.errors import AuthenticationFailed, UsageError
from interlock.home.line import Line
from interlock.home.server import ServerHome
from interlock.ids import RandomIds
from interlock.rights import Right, Role, may
from interlock.rights.token import Forbidden
from interlock.server.api.about import about_endpoints
from interlock.settings.values import Secret, Settings


class Somebody(NamedTuple):
    who: str = "ann (k1)"
    key: str = "k1"

    def check(self, right: Right, state: str) -> None:
        if not may(Role.PLANNER, "s3/prod/**", right, state):
            raise Forbidden("no")


class Book:
    async def identify(self, username: str, password: str) -> Somebody:  # noqa: ARG002 - anybody
        return Somebody()


async def test_what_a_token_may_not_at_the_server_it_may_not_on_states_that_stay_elsewhere(tmp_path: Path) -> None:
    async with served(about_endpoints(), Book()) as url, line_to(url) as line:
        home = ServerHome(Settings(home=tmp_path), line, clock=SystemClock(), ids=RandomIds())
        await home.check_may(Right.PLAN, "s3/prod/app")
        for right, state in ((Right.APPLY, "s3/prod/app"), (Right.PLAN, "s3/dev/app")):
            with pytest.raises(AuthenticationFailed, match=f"may not {right.value} {state}") as refused:
                await home.check_may(right, state)
            assert f"--states {state}" in refused.value.fix


@pytest.mark.parametrize("text", ["one\ntwo", "one\r\nX-Other: two", "one\x00"])
def test_a_token_of_several_lines_is_refused_before_it_is_sent(text: str) -> None:
    with pytest.raises(UsageError, match="this is not a token") as refused:
        Line("https://interlock.example.com/", Secret(value=text), SystemClock())
    assert "interlock login https://interlock.example.com" in refused.value.fix
    assert text not in str(refused.value)
