"""The facts about the real provider's schema that the stand-in is held against are those of the provider found here."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.provider_schema import CORPUS, kept_facts, of_document
from tests.real_provider.trial import HEAD

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.real_provider]


def test_the_stored_facts_are_the_providers(provider: Path, tmp_path: Path) -> None:
    """`INTERLOCK_RENEW_SCHEMA=1` writes them anew instead."""
    (tmp_path / "main.tf").write_text(HEAD)
    config = tmp_path / "terraform.rc"
    config.write_text(
        f'provider_installation {{\n  dev_overrides {{\n    "mypurecloud/genesyscloud" = "{provider}"\n  }}\n'
        "  direct {}\n}\n"
    )
    environ = {**os.environ, "TF_CLI_CONFIG_FILE": str(config), "CHECKPOINT_DISABLE": "1"}
    asked = subprocess.run(
        ["terraform", "providers", "schema", "-json"], cwd=tmp_path, env=environ, capture_output=True, check=True
    )
    facts = of_document(json.loads(asked.stdout), list(kept_facts()))
    if os.environ.get("INTERLOCK_RENEW_SCHEMA"):
        stored = json.loads(CORPUS.read_text())
        CORPUS.write_text(json.dumps({**stored, "types": facts}, indent=1) + "\n")
    assert facts == kept_facts()
