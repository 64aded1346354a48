from __future__ import annotations

from importlib import resources

import msgspec
import pytest

TABLES = sorted(
    each.name for each in resources.files("interlock.genesys").joinpath("data").iterdir() if each.name.endswith(".json")
)


@pytest.mark.parametrize("name", TABLES)
def test_every_table_names_its_source_version_and_day(name: str) -> None:
    raw = resources.files("interlock.genesys").joinpath("data", name).read_bytes()
    meta = msgspec.json.decode(raw)["meta"]
    assert meta["source"]
    assert meta["version"]
    assert meta["read_on"] in {"2026-11-24", "2026-11-30"}
    assert meta["table"]
