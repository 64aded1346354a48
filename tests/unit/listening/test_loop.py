"""Servers run with and without the faster loop."""

import asyncio
import sys

import pytest

from interlock.listening.loop import run_server


@pytest.mark.parametrize("has_uvloop", [True, False])
def test_a_server_runs_with_and_without_uvloop(monkeypatch: pytest.MonkeyPatch, has_uvloop: bool) -> None:
    if not has_uvloop:
        monkeypatch.setitem(sys.modules, "uvloop", None)
    loops = []

    async def server() -> None:
        loops.append(type(asyncio.get_running_loop()).__module__)

    run_server(server())
    assert loops[0].startswith("uvloop" if has_uvloop else "asyncio")
