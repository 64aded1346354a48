from interlock.hcl import Known, Literal, constant_text, find_backend, is_configuration, read_module, read_modules
from interlock.hcl.module import Module
from interlock.source.tree import MAX_FILE_BYTES, MemoryTree, SourceUnreadable


def module(*parts: str, **texts: str) -> Module:
    named = {name.replace("__", ".").replace("_slash_", "/"): text for name, text in texts.items()}
    return read_module(MemoryTree({**{f"f{number}.tf": text for number, text in enumerate(parts)}, **named}), ".")


def test_a_folder_means_all_its_blocks() -> None:
    found = module(
        """
        terraform {
          required_version = ">= 1.10"
          required_providers {
            genesyscloud = { source = "mypurecloud/genesyscloud", version = "~> 1.84" }
            old          = "~> 2.0"
          }
          backend "s3" { bucket = "b" }
        }
        provider "genesyscloud" { alias = "eu" }
        variable "a" { default = 1 }
        variable "b" {}
        locals { c = 2 }
        output "d" { value = local.c }
        module "e" { source = "registry/x/y" }
        """,
        """
        resource "genesyscloud_user" "ada" {
          provider   = genesyscloud.eu
          depends_on = [module.e, genesyscloud_group.g]
        }
        data "genesyscloud_user" "bob" {}
        ephemeral "x_y" "z" {}
        """,
    )
    assert not found.problems
    assert [requirement.name for requirement in found.requirements] == ["genesyscloud", "old"]
    assert [constant_text(requirement.version) for requirement in found.requirements] == ["~> 1.84", "~> 2.0"]
    assert [provider.key for provider in found.providers] == ["genesyscloud.eu"]
    assert found.backend is not None
    assert found.backend.type == "s3"
    assert found.variables["b"].default is None
    assert set(found.locals) == {"c"}
    assert set(found.outputs) == {"d"}
    assert [resource.key for resource in found.resources] == [
        "genesyscloud_user.ada",
        "data.genesyscloud_user.bob",
        "ephemeral.x_y.z",
    ]
    ada = found.resources[0]
    assert ada.provider == "genesyscloud.eu"
    assert [item.names() for item in ada.depends_on] == [("module", "e"), ("genesyscloud_group", "g")]
    assert str(found.resources[1].address) == "data.genesyscloud_user.bob"


def test_json_configuration_means_the_same() -> None:
    found = module(
        main__tf__json="""
        {"terraform": {"backend": {"http": {}}, "required_providers": {"genesyscloud": {"source": "a/genesyscloud"}}},
         "provider": {"genesyscloud": [{"aws_region": "eu-west-1"}]},
         "variable": {"v": {"default": "x"}},
         "locals": {"l": 1},
         "resource": {"genesyscloud_user": {"ada": {"name": "Ada", "depends_on": ["genesyscloud_group.g"],
                                                     "provider": "genesyscloud.eu"}}}}
        """
    )
    assert not found.problems
    assert found.backend is not None
    assert found.backend.type == "http"
    (ada,) = found.resources
    assert [item.names() for item in ada.depends_on] == [("genesyscloud_group", "g")]
    assert ada.provider == "genesyscloud.eu"
    assert found.scope.variables == {"v": Known(value="x")}


def test_a_cloud_block_is_a_backend_too() -> None:
    found = module('terraform {\n  cloud {\n    organization = "o"\n  }\n}\n')
    assert found.backend is not None
    assert found.backend.type == "cloud"


def test_find_backend_reads_one_folder_only() -> None:
    tree = MemoryTree({"a/main.tf": 'terraform {\n  backend "gcs" {}\n}\n', "b/main.tf": "locals {}\n"})
    found = find_backend(tree, "a")
    assert found is not None
    assert found.type == "gcs"
    assert (found.block.header.path, found.block.header.line) == ("a/main.tf", 2)
    assert find_backend(tree, "b") is None
    assert find_backend(tree, "absent") is None


def test_local_modules_are_followed_once_and_are_no_roots() -> None:
    tree = MemoryTree(
        {
            "live/main.tf": 'module "a" {\n  source = "../mod"\n}\nmodule "b" {\n  source = "../mod"\n}\n',
            "mod/main.tf": 'resource "genesyscloud_user" "u" {}\nmodule "deep" {\n  source = "./deep"\n}\n',
            "mod/deep/main.tf": "locals {}\n",
        }
    )
    (root,) = read_modules(tree, ("live", "mod", "mod/deep"))
    assert root.path == "live"
    assert [found.path for found in root.walk()] == ["live", "mod", "mod/deep"]
    assert root.calls[0].module is root.calls[1].module


def test_modules_from_elsewhere_are_not_followed() -> None:
    found = module('module "a" {\n  source = "git::ssh://example.com/x"\n}\nmodule "b" {\n  source = "./absent"\n}\n')
    assert [call.module for call in found.calls] == [None, None]
    assert not found.problems


def test_a_module_that_calls_itself_is_a_problem_and_no_loop() -> None:
    tree = MemoryTree(
        {"a/main.tf": 'module "b" {\n  source = "../b"\n}\n', "b/main.tf": 'module "a" {\n  source = "../a"\n}\n'}
    )
    found = read_module(tree, "a")
    messages = [problem.message for part in found.walk() for problem in part.problems]
    assert messages == ['module "a" calls itself']


def test_two_blocks_of_one_name_are_a_problem_at_the_second() -> None:
    found = module('variable "a" {}\n', '\nvariable "a" {}\n')
    (problem,) = found.problems
    assert problem.message == 'variable "a" is declared twice, first in f0.tf:1'
    assert (problem.span.path, problem.span.line) == ("f1.tf", 2)
    assert not found.is_whole


def test_two_configurations_of_a_provider_need_an_alias() -> None:
    assert not module('provider "g" {}\nprovider "g" {\n  alias = "x"\n}\n').problems
    assert module('provider "g" {}\nprovider "g" {}\n').problems


def test_a_block_with_the_wrong_number_of_labels_is_a_problem() -> None:
    (problem,) = module('resource "x" {}\n').problems
    assert problem.message == 'a "resource" block has 2 labels, not 1'


def test_unknown_top_level_blocks_are_left_alone() -> None:
    assert not module('action "x" "y" {}\nfuture {}\n').problems


def test_overrides_change_arguments_one_by_one_and_nested_blocks_by_type() -> None:
    found = module(
        main__tf="""
        resource "x_y" "z" {
          a = 1
          b = 2
          rule { n = 1 }
          rule { n = 2 }
          other { n = 3 }
          lifecycle {
            prevent_destroy       = true
            create_before_destroy = true
          }
        }
        """,
        main_override__tf="""
        resource "x_y" "z" {
          b = 20
          rule { n = 10 }
          lifecycle { prevent_destroy = false }
        }
        """,
    )
    assert not found.problems
    body = found.resources[0].body
    assert [_value(body.get(name)) for name in ("a", "b")] == [1, 20]
    assert [_value(block.body.get("n")) for block in body.blocks("rule")] == [10]
    assert len(body.blocks("other")) == 1
    (lifecycle,) = body.blocks("lifecycle")
    assert _value(lifecycle.body.get("prevent_destroy")) is False
    assert _value(lifecycle.body.get("create_before_destroy")) is True


def test_a_dynamic_block_in_an_override_replaces_the_plain_ones_of_its_type() -> None:
    found = module(
        main__tf='resource "x" "y" {\n  rule { n = 1 }\n}\n',
        override__tf='resource "x" "y" {\n  dynamic "rule" {\n    for_each = []\n    content {}\n  }\n}\n',
    )
    assert [block.type for block in found.resources[0].body.nested] == ["dynamic"]


def test_an_override_replaces_the_backend_and_merges_required_providers() -> None:
    found = module(
        main__tf="""
        terraform {
          required_providers {
            a = { source = "x/a" }
            b = { source = "x/b" }
          }
          backend "s3" { bucket = "b" }
        }
        """,
        prod_override__tf="""
        terraform {
          required_providers {
            b = { source = "y/b" }
          }
          cloud { organization = "o" }
        }
        """,
    )
    assert [backend.type for backend in found.backends] == ["cloud"]
    assert {item.name: constant_text(item.source) for item in found.requirements} == {"a": "x/a", "b": "y/b"}


def test_overrides_merge_locals_variables_and_modules_by_name() -> None:
    found = module(
        main__tf='locals {\n  a = 1\n  b = 2\n}\nvariable "v" {\n  default = 1\n}\n'
        'module "m" {\n  source = "x"\n  n = 1\n}\n',
        override__tf='locals {\n  b = 20\n}\nvariable "v" {\n  default = 10\n}\nmodule "m" {\n  n = 10\n}\n',
    )
    assert {name: _value(item.value) for name, item in found.locals.items()} == {"a": 1, "b": 20}
    assert found.scope.variables["v"] == Known(value=10)
    assert _value(found.calls[0].source) == "x"
    assert _value(found.calls[0].block.body.get("n")) == 10


def test_an_override_of_nothing_is_a_problem_but_for_a_provider() -> None:
    found = module(override__tf='resource "x" "y" {}\nprovider "g" {}\n')
    assert [problem.message for problem in found.problems] == [
        'resource "x" "y" overrides nothing: the folder declares no such block'
    ]
    assert [provider.key for provider in found.providers] == ["g"]


def test_a_json_override_applies_to_native_blocks() -> None:
    found = module(
        main__tf='resource "x" "y" {\n  a = 1\n  rule { n = 1 }\n}\n',
        z_override__tf__json='{"resource": {"x": {"y": {"a": 2, "rule": [{"n": 5}, {"n": 6}]}}}}',
    )
    body = found.resources[0].body
    assert _value(body.get("a")) == 2
    assert [_value(block.body.get("n")) for block in body.blocks("rule")] == [5, 6]


def test_variables_are_certain_by_default_and_tfvars_win() -> None:
    found = module(
        'variable "a" {\n  default = 1\n}\nvariable "b" {\n  default = 1\n}\nvariable "c" {}\n',
        terraform__tfvars="b = 2\nc = 3\n",
        x__auto__tfvars="c = 4\n",
    )
    assert found.scope.variables == {"a": Known(value=1), "b": Known(value=2), "c": Known(value=4)}


def test_the_lock_file_gives_provider_versions() -> None:
    lock = 'provider "registry.terraform.io/mypurecloud/genesyscloud" {\n  version = "1.84.1"\n}\n'
    tree = MemoryTree({".terraform.lock.hcl": lock, "main.tf": ""})
    assert read_module(tree, ".").locked == {"registry.terraform.io/mypurecloud/genesyscloud": "1.84.1"}


def test_tofu_files_stand_in_for_their_namesakes() -> None:
    tree = MemoryTree({"main.tf": 'variable "a" {}\n', "main.tofu": 'variable "b" {}\n', "x.tf": 'variable "c" {}\n'})
    assert set(read_module(tree, ".").variables) == {"b", "c"}


def test_left_overs_of_editors_are_no_configuration() -> None:
    assert [
        name
        for name in ("a.tf", ".a.tf", "a.tf~", "#a.tf#", "a.tf.json", "a.tf.bak", "a.tofu")
        if is_configuration(name)
    ] == [
        "a.tf",
        "a.tf.json",
        "a.tofu",
    ]


def test_a_file_that_cannot_be_read_is_a_problem() -> None:
    class Refusing(MemoryTree):
        def read(self, path: str) -> bytes | None:
            raise SourceUnreadable(path, why=f"it has more than {MAX_FILE_BYTES} bytes")

    found = read_module(Refusing({"main.tf": "x"}), ".")
    assert [problem.message for problem in found.problems] == [
        f"the file could not be read: it has more than {MAX_FILE_BYTES} bytes"
    ]


def _value(expression: object) -> object:
    assert isinstance(expression, Literal)
    return expression.value


def child_scope(*calls: str, variables: str = 'variable "v" {\n  default = "d"\n}\n') -> object:
    texts = {f"r{number}/main.tf": text for number, text in enumerate(calls)}
    roots = read_modules(MemoryTree({**texts, "m/main.tf": variables}), (*(f"r{n}" for n in range(len(calls))), "m"))
    assert [root.path for root in roots] == [f"r{number}" for number in range(len(calls))]
    child = roots[0].calls[0].module
    assert child is not None
    return child.scope.variables.get("v")


CALL = 'module "m" {\n  source = "../m"\n  %s\n}\n'


def test_a_called_module_is_certain_of_what_all_its_callers_give() -> None:
    assert child_scope(CALL % 'v = "a"') == Known(value="a")
    assert child_scope(CALL % "v = local.l" + 'locals {\n  l = "a"\n}\n') == Known(value="a")
    assert child_scope(CALL % 'v = "a"', CALL % 'v = "a"') == Known(value="a")
    assert child_scope(CALL % "") == Known(value="d")


def test_a_called_module_is_not_certain_where_callers_differ_or_are_not_certain() -> None:
    assert child_scope(CALL % 'v = "a"', CALL % 'v = "b"') is None
    assert child_scope(CALL % 'v = "a"', CALL % "") is None
    assert child_scope(CALL % "v = var.x" + 'variable "x" {\n  default = "a"\n}\n') is None


def test_a_broken_tfvars_file_is_a_problem() -> None:
    (problem,) = module('variable "a" {}\n', terraform__tfvars="a = = 1\n").problems
    assert problem.span.path == "terraform.tfvars"


def test_calls_nested_too_deep_end_with_a_problem() -> None:
    texts = {f"m{number}/main.tf": f'module "n" {{\n  source = "../m{number + 1}"\n}}\n' for number in range(40)}
    found = read_module(MemoryTree({**texts, "m40/main.tf": ""}), "m0")
    messages = [problem.message for part in found.walk() for problem in part.problems]
    assert messages == ['module "n" is more than 20 modules deep']


def test_folders_that_only_call_each_other_are_not_left_out() -> None:
    tree = MemoryTree(
        {"a/main.tf": 'module "b" {\n  source = "../b"\n}\n', "b/main.tf": 'module "a" {\n  source = "../a"\n}\n'}
    )
    assert [root.path for root in read_modules(tree, ("a", "b"))] == ["a"]
