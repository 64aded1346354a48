"""The Terraforms of this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess


def find_tools() -> dict[str, str]:
    """Return name with version, such as `terraform-1.11.4`, to path: what is on PATH, and what the environment adds."""
    paths = [shutil.which("terraform"), shutil.which("tofu")]
    paths += os.environ.get("INTERLOCK_TEST_TERRAFORMS", "").split(os.pathsep)
    return {name_of(path): path for path in paths if path}


def name_of(path: str) -> str:
    """Ask a binary what it is."""
    environ = {**os.environ, "CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull}
    said = subprocess.run(
        [path, "version", "-json"], env=environ, capture_output=True, text=True, check=True, timeout=60
    )
    plain = subprocess.run([path, "version"], env=environ, capture_output=True, text=True, check=True, timeout=60)
    product = "tofu" if "OpenTofu" in plain.stdout else "terraform"
    return f"{product}-{json.loads(said.stdout)['terraform_version'].partition('-')[0]}"
