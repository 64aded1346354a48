"""Who has the store's files, and not the operator's key: the drill of docs/howto/encrypt-the-store.md."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from interlock.store.sealing import spell_key

STATE = json.dumps(
    {
        "version": 4,
        "terraform_version": "1.11.4",
        "serial": 1,
        "lineage": "11111111-2222-3333-4444-555555555555",
        "outputs": {"password": {"value": "hush-hush-hush", "type": "string"}},
        "resources": [],
        "check_results": None,
    }
)


class Store:
    """A home with an encrypted store, and who works with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"

    def ask(self, *words: str, key: str = "", home: Path | None = None) -> subprocess.CompletedProcess[str]:
        environ: Mapping[str, str] = {
            **{name: value for name, value in os.environ.items() if not name.startswith("INTERLOCK_")},
            "INTERLOCK_HOME": str(home or self.home),
            **({"INTERLOCK_ENCRYPTION_KEY": key} if key else {}),
        }
        return subprocess.run(
            [sys.executable, "-m", "interlock", *words],
            cwd=self.folder,
            env=dict(environ),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def told(self, *words: str, key: str = "", home: Path | None = None) -> str:
        ended = self.ask(*words, key=key, home=home)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()


@pytest.mark.promise("P10")
@pytest.mark.promise("P3")
def test_a_lost_key_opens_nothing_and_its_second_copy_everything(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "state.json").write_text(STATE)
    first, second = store.told("encryption", "new-key"), spell_key(bytes(range(32)))
    store.told("state", "push", "state.json", "--state", "prod/app", key=first)
    files = [file for file in store.home.rglob("interlock.db*") if file.is_file()]
    assert files
    assert not any(b"hush" in file.read_bytes() for file in files)

    backup = tmp_path / "backup"
    shutil.copytree(store.home, backup)
    for key in ("", second):
        refused = store.ask("state", "pull", "prod/app", key=key, home=backup)
        assert refused.returncode == 3
        assert "INTERLOCK_ENCRYPTION_KEY_FILE" in refused.stderr
        assert "damaged" not in refused.stderr
        assert "hush" not in refused.stderr + refused.stdout
    assert "hush-hush-hush" in store.told("state", "pull", "prod/app", key=first, home=backup)

    # Another key, without a pause; then the first one opens nothing, and the state is what it was.
    old = json.loads(store.told("encryption", "status", "--json", key=first))["keys"][0]
    store.told("encryption", "rotate", key=f"{second} {first}")
    store.told("encryption", "rewrite", key=second)
    done = json.loads(store.told("encryption", "retire", old, "--json", key=second))
    assert len(done["keys"]) == 1
    assert store.ask("state", "pull", "prod/app", key=first).returncode == 3
    assert "hush-hush-hush" in store.told("state", "pull", "prod/app", key=second)
