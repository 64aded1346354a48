"""Tests of tokens that are made at a server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from interlock.compose import tokens
from interlock.errors import BackendUnavailable
from interlock.rights import Role


class Line:
    """A way to a server whose answer is lost."""

    asked = 0

    async def ask_for(self, *_words: object, **_more: object) -> None:
        Line.asked += 1
        raise BackendUnavailable("https://interlock.example.com cannot be reached", why="no answer came within 30 s")


@asynccontextmanager
async def at_server(_environ: Mapping[str, str]) -> AsyncIterator[Line]:
    yield Line()


@pytest.mark.promise("P8")
async def test_a_token_whose_answer_was_lost_is_not_made_again_and_is_found_and_ended_by_what_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INTERLOCK_SERVER", "https://interlock.example.com")
    monkeypatch.setattr(tokens, "at_server", at_server)
    with pytest.raises(BackendUnavailable, match="not known") as lost:
        await tokens.create(None, Role.RUNNER, states="prod/**", note="anna", lifetime_s=None)
    assert Line.asked == 1
    assert "no answer came" in lost.value.why
    assert lost.value.fix.startswith("interlock token ls ")
    assert "`token revoke` ends it" in lost.value.fix
