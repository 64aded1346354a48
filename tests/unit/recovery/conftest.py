from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from interlock.testing.answers import AnswerServer, answer_server

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


@pytest.fixture
def api() -> Iterator[AnswerServer]:
    """A platform's API, whose clock says three in the morning."""
    with answer_server(NOW) as server:
        yield server
