"""Lint of a generated repository of 5,000 resources in 200 files, against reading it with python-hcl2.

python-hcl2 is the reader that most Python tools for Terraform use; it only parses, so it is compared with our parsing
and, to be fair to nobody but the user, with the whole lint.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import Row, compared

FILES = 200
RESOURCES = 5_000
FILES_OF_HCL2 = 20  # python-hcl2 needs minutes for all of them; these are measured and scaled
REPEATS = 3  # the best of them counts: other processes of the machine only ever make it slower


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        size = _write(root)
        ours, hcl2 = _best(lambda: _parse(root)), _hcl2(root)
        whole = _best(lambda: _lint(root))
        return [
            Row(name="size of the repository", value=size / 1e6, unit="MB"),
            compared("parse all files with places", ours, "s", baseline=hcl2, aim="a fifth of the baseline"),
            compared("lint: all rules for Terraform and CI", whole, "s", baseline=hcl2, aim="a few seconds"),
        ]


def _parse(root: Path) -> None:
    from interlock.hcl import parse

    for path in sorted(root.rglob("*.tf")):
        parse(str(path), path.read_bytes())


def _lint(root: Path) -> None:
    from interlock.cli.main import main

    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main(["lint", str(root), "--format", "json"])


def _hcl2(root: Path) -> float:
    """Return the seconds that python-hcl2 needs for all files, estimated from some of them."""
    import hcl2

    chosen = sorted(root.rglob("*.tf"))[:FILES_OF_HCL2]
    hcl2.loads("a = 1\n")  # builds its grammar once, which is not what is compared
    start = time.perf_counter()
    for path in chosen:
        hcl2.loads(path.read_text())
    return (time.perf_counter() - start) * FILES / len(chosen)


def _best(run: Callable[[], None]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def _write(root: Path) -> int:
    """Write 20 root modules of 10 files each; every resource refers to others, as real ones do."""
    size = 0
    for number in range(FILES):
        folder = root / f"live/team-{number // 10:02}"
        folder.mkdir(parents=True, exist_ok=True)
        text = (_settings(folder) if number % 10 == 0 else "") + "".join(_resources(number))
        (folder / f"queues_{number % 10}.tf").write_text(text)
        size += len(text)
    return size


def _settings(folder: Path) -> str:
    return f"""\
terraform {{
  backend "s3" {{
    bucket       = "acme-states"
    key          = "{folder.name}.tfstate"
    region       = "eu-central-1"
    encrypt      = true
    use_lockfile = true
  }}
  required_providers {{
    genesyscloud = {{
      source  = "mypurecloud/genesyscloud"
      version = "~> 1.84"
    }}
  }}
}}

provider "genesyscloud" {{}}

data "genesyscloud_auth_division" "home" {{
  name = "Home"
}}

"""


def _resources(number: int) -> Iterator[str]:
    each = RESOURCES // FILES // 5
    for index in range(each):
        label = f"t{number:03}_{index}"
        before = f"genesyscloud_routing_skill.t{number:03}_{max(0, index - 1)}.id"
        yield f"""\
resource "genesyscloud_routing_skill" "{label}" {{
  name = "Skill ${{var.prefix}} {label}"
}}

resource "genesyscloud_routing_wrapupcode" "{label}" {{
  name        = "Code {label}"
  division_id = data.genesyscloud_auth_division.home.id
}}

resource "genesyscloud_user" "{label}" {{
  email       = "agent-{label}@example.com"
  name        = "Agent {label}"
  division_id = data.genesyscloud_auth_division.home.id
  routing_skills {{
    skill_id    = {before}
    proficiency = 4.5
  }}
  addresses {{
    phone_numbers {{
      number     = "+1317555{number:03}{index}"
      media_type = "PHONE"
    }}
  }}
}}

resource "genesyscloud_routing_queue" "{label}" {{
  name                     = "Queue ${{var.prefix}} {label}"
  division_id              = data.genesyscloud_auth_division.home.id
  acw_wrapup_prompt        = "MANDATORY_TIMEOUT"
  acw_timeout_ms           = 300000
  skill_evaluation_method  = "BEST"
  auto_answer_only         = var.auto ? true : false
  wrapup_codes             = [genesyscloud_routing_wrapupcode.{label}.id]
  media_settings_call {{
    alerting_timeout_sec      = 30
    service_level_percentage  = 0.8
    service_level_duration_ms = 20000
  }}
  dynamic "members" {{
    for_each = toset([genesyscloud_user.{label}.id])
    content {{
      user_id  = members.value
      ring_num = 1
    }}
  }}
  lifecycle {{
    prevent_destroy = true
  }}
}}

resource "genesyscloud_flow" "{label}" {{
  filepath          = "${{path.module}}/flows/{label}.yaml"
  file_content_hash = filesha256("${{path.module}}/flows/{label}.yaml")
  substitutions = {{
    queue_name = genesyscloud_routing_queue.{label}.name
    greeting   = "Welcome to {label}"
  }}
}}

"""
