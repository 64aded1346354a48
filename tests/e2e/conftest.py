from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.desk import Desk


@pytest.fixture(scope="module", autouse=True)
def leftovers() -> Iterator[None]:
    """Find what the tests of a module left open before a test of another folder is blamed for it."""
    yield
    gc.collect()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A home and folders of its own, and real commands."""
    made = Desk(tmp_path)
    yield made
    made.close()


@pytest.fixture
def module(desk: Desk) -> Path:
    """A root module whose applies hold the state as long as they are told."""
    return desk.module()
