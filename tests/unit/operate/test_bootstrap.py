from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.operate.bootstrap import BootstrapAsked, wanted_of


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
