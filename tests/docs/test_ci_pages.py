"""The pages about CI: their examples work, and what they say of generated files is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from interlock.ci.rendering import VENDORS, render
from interlock.ci.workflow import Vendor
from interlock.cli.ci import _pipeline
from interlock.settings.reading import load

HOWTO = Path(__file__).parents[2] / "docs" / "howto"


def test_the_example_configuration_gives_pipelines_for_every_system(tmp_path: Path) -> None:
    text = (HOWTO / "ci-github.md").read_text()
    (example,) = re.findall(r"```yaml\n(version: 1\n.*?)```", text, re.DOTALL)
    (tmp_path / "interlock.yaml").write_text(example)
    pipeline = _pipeline(load(tmp_path, {"HOME": str(tmp_path)}))
    assert [target.name for target in pipeline.targets] == ["prod/routing", "prod/users"]
    assert pipeline.aws is not None
    assert all(render(vendor, pipeline) for vendor in VENDORS)


@pytest.mark.parametrize(
    ("page", "vendor"),
    [
        ("ci-github.md", Vendor.GITHUB),
        ("ci-gitlab.md", Vendor.GITLAB),
        ("ci-azure.md", Vendor.AZURE),
        ("ci-jenkins.md", Vendor.JENKINS),
    ],
)
def test_every_generated_file_and_secret_is_named(page: str, vendor: Vendor, tmp_path: Path) -> None:
    text = (HOWTO / page).read_text()
    (tmp_path / "interlock.yaml").write_text(
        "version: 1\nstates: {prod: {directory: infra}}\npipeline: {notify: true, "
        f"plan_key: ilwrap_{'A' * 43}, package_sha256: {'a' * 64}, image: 'terraform@sha256:{'a' * 64}'}}\n"
    )
    files = render(vendor, _pipeline(load(tmp_path, {"HOME": str(tmp_path)})))
    assert [path for path in files if Path(path).name not in text] == []
    used = set(
        re.findall(r"secrets\.(\w+)|\$\((GENESYS\w+SECRET|INTERLOCK_(?:SEAL|PLAN)_KEY)\)", "".join(files.values()))
    )
    assert [name for pair in used for name in pair if name and name not in text] == []
