"""Which roots a change touches, and why."""

from __future__ import annotations

import pytest

from interlock.dependencies.roots import Need, Reason
from interlock.dependencies.touched import Footprint, differing_settings, find_touched, footprint_of
from interlock.hcl import read_module
from interlock.source.tree import MemoryTree

FILES = {
    "modules/queue/main.tf": 'variable "name" {}\nmodule "deep" {\n  source = "../deep"\n}\n',
    "modules/deep/main.tf": 'locals {\n  text = file("${path.module}/text.txt")\n}\n',
    "prod/main.tf": """
module "queue" {
  source = "../modules/queue"
  name   = "x"
}
variable "stage" {}
resource "genesyscloud_flow" "main" {
  filepath          = "../flows/main.yaml"
  file_content_hash = filesha256("../flows/main.yaml")
}
locals {
  all    = fileset("${path.module}/../scripts", "*.json")
  some   = file("../prompts/${var.stage}/hello.txt")
  asked  = templatefile(var.stage, {})
}
""",
    "prod/terraform.tfvars": 'list = "../lists/numbers.csv"\n',
    "prod/inner/main.tf": "",
    "test/main.tf": 'module "gone" {\n  source = "../modules/gone"\n}\n',
}
TREE = MemoryTree(FILES)


def prints(*names: str) -> list[Footprint]:
    return [footprint_of(name, read_module(TREE, name)) for name in names]


def touched(*paths: str, roots: tuple[str, ...] = ("prod", "prod/inner", "test")) -> dict[str, tuple[str, ...]]:
    return {each.root: each.why for each in find_touched(prints(*roots), paths)}


@pytest.mark.parametrize(
    ("path", "root", "why"),
    [
        ("prod/queues.tf", "prod", "its folder"),
        ("prod/.terraform.lock.hcl", "prod", "its folder"),
        ("prod/eu.auto.tfvars", "prod", "its folder"),
        ("prod/inner/x.tf", "prod/inner", "its folder"),
        ("modules/queue/main.tf", "prod", "module queue"),
        ("modules/queue/templates/greeting.tftpl", "prod", "module queue"),
        ("modules/deep/text.txt", "prod", "read in main.tf:2"),
        ("modules/deep/other.tf", "prod", "module deep"),
        ("modules/gone/main.tf", "test", "module gone"),
        ("flows/main.yaml", "prod", "named in main.tf:8"),
        ("scripts/one.json", "prod", "read in main.tf:12"),
        ("prompts/eu/hello.txt", "prod", "read in main.tf:13"),
        ("lists/numbers.csv", "prod", "named in terraform.tfvars:1"),
        ("modules", "prod", "a submodule or a link with a folder of it"),
    ],
)
def test_a_root_is_touched_by_what_its_plan_is_made_from(path: str, root: str, why: str) -> None:
    assert touched(path).get(root) == (f"{path} ({why})",)


def test_nothing_else_touches_a_root() -> None:
    assert touched("README.md", "flows/other.yaml", "modules/unused/main.tf", "production/main.tf") == {}


def test_a_root_inside_another_ones_folder_is_its_own() -> None:
    assert list(touched("prod/inner/main.tf")) == ["prod/inner"]


def test_what_cannot_be_told_is_a_doubt() -> None:
    (print_,) = prints("prod")
    assert print_.doubts == ("main.tf:14: templatefile() of a path that is not literal",)


def test_files_and_patterns_that_interlock_yaml_lists_touch() -> None:
    print_ = footprint_of("test", read_module(TREE, "test"), reads=["common/*.tfvars", "shared"], files=["x.tfvars"])
    found = find_touched([print_], ["common/eu.tfvars", "shared/deep/a.csv", "x.tfvars", "y.tfvars"])
    assert found[0].why == (
        "common/eu.tfvars (listed under reads)",
        "shared/deep/a.csv (listed under reads)",
        "x.tfvars (a file of variables)",
    )


def need(root: str, on: str, reason: Reason = Reason.REMOTE_STATE) -> Need:
    return Need(root=root, on=on, reason=reason, why="seen")


def test_who_reads_a_touched_root_is_touched_through_it_directly_or_not() -> None:
    roots = [Footprint(root=name, folders={name: "its folder"}) for name in ("web", "app", "net", "solo")]
    found = find_touched(roots, ["net/main.tf"], [need("app", "net"), need("web", "app", Reason.DECLARED)])
    assert [(each.root, each.through) for each in found] == [("web", ("app",)), ("app", ("net",)), ("net", ())]
    assert found[0].why == ("comes after app, which is touched: seen",)
    assert found[1].why == ("reads net, which is touched: seen",)


def test_a_root_that_is_touched_by_itself_says_that_and_not_whom_it_reads() -> None:
    roots = [Footprint(root=name, folders={name: "its folder"}) for name in ("app", "net")]
    found = find_touched(roots, ["net/main.tf", "app/main.tf"], [need("app", "net")])
    assert [(each.root, each.through) for each in found] == [("app", ()), ("net", ())]


NOW = {"run": {"wait": "5m"}, "states": {"a": {"directory": "a"}, "b": {"directory": "b"}}, "pipeline": {"x": 1}}


@pytest.mark.parametrize(
    ("before", "roots"),
    [
        (NOW, []),
        ({**NOW, "pipeline": {"x": 2}}, []),
        ({**NOW, "states": {"a": {"directory": "a"}}}, ["b"]),
        ({**NOW, "states": {"a": {"directory": "a", "protected": True}, "b": {"directory": "b"}}}, ["a"]),
        ({**NOW, "run": {}}, ["a", "b"]),
        ({"states": NOW["states"]}, ["a", "b"]),
        (None, ["a", "b"]),
    ],
)
def test_a_change_of_interlock_yaml_touches_the_roots_of_which_it_says_something_else(
    before: dict[str, object] | None, roots: list[str]
) -> None:
    assert list(differing_settings(before, NOW, ["a", "b"])) == roots
