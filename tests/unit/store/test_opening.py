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


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hunter2@host:x/db",
        "postgresql://user:hunter[2@host/db",
        f"postgresql://user:hunter2@host/{'x' * 5000}",
        "postgresql://user:hunter2@host/d\0b",
        "postgresql+psycopg://user:hunter2@host/db",
        "jdbc:postgresql://user:hunter2@host/db",
        "host=127.0.0.1 user=ann password=hunter2",
        " password = hunter2 host = h",
        "postgresql://user:12/hunter2@host/db",
        "postgresql://user:12?hunter=hunter2@host/db",
    ],
)
async def test_a_refusal_repeats_no_password_and_names_no_file_after_one(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as refusal:
        await open_store(url, clock=SystemClock())
    assert "hunter" not in str(refusal.value)
    assert refusal.value.why
    assert refusal.value.fix
    assert not list(tmp_path.iterdir())


async def test_a_path_may_look_like_almost_anything_behind_a_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = await open_store("./host=a:b.db", clock=SystemClock())
    await store.close()
    assert (tmp_path / "host=a:b.db").is_file()
    with pytest.raises(UsageError) as refusal:
        await open_store("mysql://user:hunter2@host/db", clock=SystemClock())
    assert "hunter2" not in str(refusal.value)
