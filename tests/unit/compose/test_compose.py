from __future__ import annotations

from pathlib import Path

import pytest

from interlock.compose import BootstrapAsked, at_most_every, wanted_of
from interlock.errors import UsageError


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


def test_bootstrap_takes_names_from_the_backend_and_flags_win(tmp_path: Path) -> None:
    folder = tmp_path
    with pytest.raises(UsageError, match="nothing names the bucket"):
        wanted_of(BootstrapAsked(directory=folder), {"AWS_REGION": "eu-west-1"})
    block = 'bucket = "b"\nkey = "k"\nregion = "r"\ndynamodb_table = "t"\n'
    (folder / "main.tf").write_text(f'terraform {{\n  backend "s3" {{\n{block}  }}\n}}\n')
    wanted, access = wanted_of(BootstrapAsked(directory=folder), {})
    assert (wanted.bucket, wanted.table, wanted.key, wanted.tls_only, access.region) == ("b", "t", "k", True, "r")
    asked = BootstrapAsked(directory=folder, table="other", region="q", old_versions_days=7)
    wanted, access = wanted_of(asked, {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    assert (wanted.table, wanted.region, wanted.old_versions_days, wanted.tls_only) == ("other", "q", 7, False)
    assert wanted_of(BootstrapAsked(directory=folder, no_table=True), {})[0].table is None
