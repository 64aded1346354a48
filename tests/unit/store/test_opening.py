from __future__ import annotations

from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.errors import UsageError
from interlock.store.opening import open_store


async def test_memory_keeps_records_and_blobs() -> None:
    store = await open_store("memory:", clock=SystemClock())
    assert await store.records.swap("k", expected=None, value=b"x") > 0
    assert await store.blobs.get(await store.blobs.put(b"y")) == b"y"
    await store.close()
    with pytest.raises(UsageError):
        await store.records.get("k")


@pytest.mark.parametrize("form", ["sqlite://{}", "sqlite:{}", "{}"])
async def test_a_file_is_opened_by_url_or_path(tmp_path: Path, form: str) -> None:
    path = tmp_path / "interlock.db"
    store = await open_store(form.format(path), clock=SystemClock())
    await store.records.swap("k", expected=None, value=b"x")
    await store.close()
    assert path.is_file()


async def test_a_url_may_have_escapes(tmp_path: Path) -> None:
    store = await open_store(f"sqlite://{tmp_path}/a%20b.db", clock=SystemClock())
    await store.close()
    assert (tmp_path / "a b.db").is_file()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nul\0",
        "x" * 5000,
        "redis://host/0",
        "http://[::1",
        "sqlite://host/path",
        "sqlite:",
        "sqlite:///x.db?mode=ro",
        "sqlite:///x.db#y",
    ],
)
async def test_a_store_that_is_not_known_is_refused_with_three_parts(url: str) -> None:
    with pytest.raises(UsageError) as refusal:
        await open_store(url, clock=SystemClock())
    assert refusal.value.why
    assert refusal.value.fix


async def test_a_refusal_repeats_no_password() -> None:
    with pytest.raises(UsageError) as refusal:
        await open_store("postgresql://user:hunter2@host:x/db", clock=SystemClock())
    assert "hunter2" not in str(refusal.value)
    with pytest.raises(UsageError) as refusal:
        await open_store("mysql://user:hunter2@host/db", clock=SystemClock())
    assert "hunter2" not in str(refusal.value)
