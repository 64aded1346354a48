"""Fixtures of the CI tests: files in memory, and a small simulated platform API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest
from tests.platform_api import FakeApi, platform_api

from interlock.ci import Workflow, read
from interlock.source.tree import MemoryTree


@pytest.fixture
def workflow_of() -> Callable[[str, str], Workflow]:
    """Return a function that reads one CI file."""

    def read_one(path: str, text: str, others: Mapping[str, str] | None = None) -> Workflow:
        found = read(MemoryTree({path: text, **(others or {})}), path)
        assert found is not None
        return found

    return read_one


@pytest.fixture
def fake_api() -> Iterator[FakeApi]:
    with platform_api() as api:
        yield api
