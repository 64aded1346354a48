"""A credential of a backend is not a secret by the name of its setting alone: an address or a map may hold one.

What is gained by reading the home, the answers of `doctor` or the argument list of a run: nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from interlock.errors import UsageError
from interlock.existing.discovery import find
from interlock.existing.vocabulary import is_credential
from interlock.run.given_values import find_known_secrets
from interlock.run.order import Operation, Order, without_secrets
from interlock.settings.reading import load
from interlock.site.ref import Existing
from interlock.site.which import ref_of_run
from interlock.source.disk import DiskTree

pytestmark = pytest.mark.promise("P10")
FLAGS = (
    "http_proxy=http://ann:hush-proxy@proxy.example:3128",
    "https_proxy=http://hush-token@proxy.example",
    'assume_role_with_web_identity={role_arn="arn:x", web_identity_token="hush-identity"}',
    'endpoints={s3="https://ann:hush-endpoint@s3.example"}',
    "secret_key=hush-key",
)
S3 = 'terraform {\n  backend "s3" {\n    bucket = "b"\n    key = "k"\n    region = "eu-west-1"\n  }\n}\n'


def order(flag: str, **more: Any) -> Order:
    words = {"run": "r", "operation": Operation.PLAN, "directory": "/m", "state": "s", "who": "a", "home": "/h"}
    return Order(**{**words, **more}, extra=("-backend-config", flag))


@pytest.mark.parametrize("flag", FLAGS)
def test_it_is_kept_in_no_order_and_in_no_memory_and_shown_nowhere(flag: str, tmp_path: Path) -> None:
    assert "hush" not in repr(without_secrets(order(flag)))
    (tmp_path / "main.tf").write_text(S3)
    environ = {"HOME": str(tmp_path)}
    extra = (f"-backend-config={flag}",)
    found = find(DiskTree(), str(tmp_path), environ, extra)
    assert "hush" not in repr(found.origins)
    where = ref_of_run(tmp_path, load(tmp_path, environ), environ, extra).where
    assert isinstance(where, Existing)
    assert "hush" not in repr(where.flags)
    assert "hush" not in find_known_secrets(order(flag), environ).hide(f"error: {flag.partition('=')[2]}")


@pytest.mark.parametrize("flags", [(), ("-backend-config=blob_endpoint=http://evil.example",)])
def test_a_change_under_review_cannot_lead_azure_credentials_to_another_host(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """The address is the operator's to give; in a run of this backend Terraform itself never sees the block."""
    line = "" if flags else '    blob_endpoint        = "http://evil.example"\n'
    (tmp_path / "main.tf").write_text(
        'terraform {\n  backend "azurerm" {\n    storage_account_name = "a"\n    container_name       = "c"\n'
        f'    key                  = "k"\n{line}  }}\n}}\n'
    )
    environ = {"HOME": str(tmp_path), "ARM_SAS_TOKEN": "sig=hush"}
    with pytest.raises(UsageError, match="cannot be told") as raised:
        ref_of_run(tmp_path, load(tmp_path, environ), environ, flags)
    assert "blob_endpoint is not a setting" in raised.value.why


@pytest.mark.parametrize(
    ("name", "value"), [("bucket", "states"), ("endpoint", "https://s3.example/a@b"), ("key", "a@b"), ("region", "")]
)
def test_what_is_no_credential_is_shown(name: str, value: str) -> None:
    assert not is_credential(name, value)
