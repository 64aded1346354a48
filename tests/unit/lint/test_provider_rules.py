from collections.abc import Callable

import pytest

Found = Callable[..., list[str]]
Fixed = Callable[..., dict[str, str]]


def required(entry: str = '{\n      source  = "mypurecloud/genesyscloud"\n      version = "~> 1.84"\n    }') -> str:
    return f'terraform {{\n  backend "http" {{}}\n  required_providers {{\n    genesyscloud = {entry}\n  }}\n}}\n'


def provider(*lines: str) -> str:
    return 'provider "genesyscloud" {\n' + "".join(f"  {line}\n" for line in lines) + "}\n"


# provider-source


@pytest.mark.parametrize(
    "source", ["hashicorp/genesyscloud", "genesys/genesyscloud", "genesyscloud", "registry.terraform.io/x/genesyscloud"]
)
def test_a_wrong_source_is_found_at_its_value(found: Found, source: str) -> None:
    assert found(required(f'{{\n      source = "{source}"\n    }}'), "provider-source") == [
        "main.tf:5:16 provider-source"
    ]


@pytest.mark.parametrize(
    "source",
    [
        "mypurecloud/genesyscloud",
        "MyPureCloud/genesyscloud",
        "registry.terraform.io/mypurecloud/genesyscloud",
        "registry.opentofu.org/mypurecloud/genesyscloud",
        "mirror.example.net/vendor/genesyscloud",
    ],
)
def test_the_vendors_address_and_private_registries_are_left_alone(found: Found, source: str) -> None:
    assert found(required(f'{{\n      source = "{source}"\n    }}'), "provider-source") == []


def test_an_entry_without_source_is_found_at_the_entry(found: Found) -> None:
    assert found(required('{\n      version = "~> 1.84"\n    }'), "provider-source") == ["main.tf:4:5 provider-source"]
    assert found(required('"~> 1.84"'), "provider-source") == ["main.tf:4:5 provider-source"]


def test_use_without_any_entry_is_found_once_where_it_begins(found: Found) -> None:
    text = 'resource "genesyscloud_user" "a" {}\n' + provider() + 'resource "genesyscloud_user" "b" {}\n'
    assert found(text, "provider-source") == ["main.tf:2:1 provider-source"]


def test_a_called_module_must_have_its_own_entry(found: Found) -> None:
    texts = {
        "main.tf": required() + provider() + 'module "m" {\n  source = "./m"\n}\n',
        "m/main.tf": 'resource "genesyscloud_user" "a" {}\n',
    }
    assert found(texts, "provider-source") == ["m/main.tf:1:1 provider-source"]


@pytest.mark.parametrize(
    "texts",
    [
        {"main.tf": 'resource "genesyscloud_user" "a" {}\n'},
        {"main.tf": provider(), "broken.tf": "terraform {\n"},
        {"main.tf": 'provider "aws" {}\nresource "aws_x" "y" {}\n'},
    ],
    ids=["snippet", "broken", "other"],
)
def test_where_nothing_can_be_concluded_nothing_is_said(found: Found, texts: dict[str, str]) -> None:
    assert found(texts, "provider-source") == []


def test_the_source_is_put_right_and_nothing_else(fixed: Fixed) -> None:
    text = required('{ source = "hashicorp/genesyscloud" } # ours')
    assert fixed(text, "provider-source")["main.tf"] == text.replace("hashicorp", "mypurecloud")


def test_the_provider_may_have_another_local_name(found: Found) -> None:
    text = required().replace("genesyscloud = {", "gc = {") + 'provider "gc" {\n  sdk_debug = true\n  x = 1\n}\n'
    assert found(text, "provider-sdk-debug", "provider-unknown-argument") == [
        "main.tf:11:3 provider-sdk-debug",
        "main.tf:12:3 provider-unknown-argument",
    ]


# provider-unknown-argument


def test_unknown_arguments_and_blocks_are_found_at_their_names(found: Found) -> None:
    text = provider('aws_region = "eu-west-1"', "concurency = 5", "gatway {", "}", "gateway {", '  hosst = "h"', "}")
    assert found(text, "provider-unknown-argument") == [
        "main.tf:3:3 provider-unknown-argument",
        "main.tf:4:3 provider-unknown-argument",
        "main.tf:7:5 provider-unknown-argument",
    ]


def test_every_real_argument_is_known(found: Found) -> None:
    from interlock.genesys.provider import arguments

    lines = [f"{name} {{}}" if row.block else f"{name} = null" for name, row in arguments().items()]
    nested = [
        'alias = "x"',
        "gateway {",
        "  path_params {",
        '    path_name = "api"',
        "  }",
        "  auth {",
        "    username = var.u",
        "  }",
        "}",
        'dynamic "proxy" {',
        "  for_each = []",
        "  content {}",
        "}",
    ]
    assert found(provider(*lines, *nested), "provider-unknown-argument") == []


def test_json_configuration_is_checked_too(found: Found) -> None:
    text = '{"provider": {"genesyscloud": {"base_url": "x", "gateway": {"host": "h"}}}}'
    assert found({"main.tf.json": text}, "provider-unknown-argument") == ["main.tf.json:1:32 provider-unknown-argument"]


@pytest.mark.parametrize(
    ("before", "after"),
    [("oauthclientid = 1", "oauthclient_id = 1"), ("client_secret = var.s", "oauthclient_secret = var.s")],
)
def test_a_misspelt_argument_is_renamed(fixed: Fixed, before: str, after: str) -> None:
    assert fixed(provider(before), "provider-unknown-argument")["main.tf"] == provider(after)


def test_a_misspelt_argument_is_not_renamed_to_one_that_is_there(fixed: Fixed) -> None:
    text = provider("oauthclientid = 1", "oauthclient_id = 2")
    assert fixed(text, "provider-unknown-argument")["main.tf"] == text


# provider-static-token, provider-secret-literal


def test_a_static_token_is_found_unless_it_is_null(found: Found) -> None:
    assert found(provider("access_token = var.t"), "provider-static-token") == ["main.tf:2:3 provider-static-token"]
    assert found(provider("access_token = null"), "provider-static-token") == []
    assert found(provider('access_token = ""'), "provider-static-token") == []
    default = provider("access_token = var.t") + 'variable "t" {\n  default = null\n}\n'
    assert found(default, "provider-static-token") == []


def test_a_literal_secret_is_found_where_it_is_written(found: Found) -> None:
    rule = "provider-secret-literal"
    assert found(provider('oauthclient_secret = "q3Zr8pLw70"'), rule) == [f"main.tf:2:24 {rule}"]
    assert found(provider('access_token = "q3Zr8pLw70"'), rule) == [f"main.tf:2:18 {rule}"]
    variable = provider("oauthclient_secret = var.s") + 'variable "s" {\n  default = "q3Zr8pLw70"\n}\n'
    assert found(variable, rule) == [f"main.tf:5:13 {rule}"]
    local = provider("oauthclient_secret = local.s") + 'locals {\n  s = "q3Zr8pLw70"\n}\n'
    assert found(local, rule) == [f"main.tf:5:7 {rule}"]
    proxy = provider("proxy {", "  auth {", '    password = "q3Zr8pLw70"', "  }", "}")
    assert found(proxy, rule) == [f"main.tf:4:18 {rule}"]


@pytest.mark.parametrize(
    "value",
    [
        "var.s",
        "data.aws_secretsmanager_secret_version.s.secret_string",
        '""',
        '"<client-secret>"',
        '"YOUR_CLIENT_SECRET"',
        '"your-client-secret"',
        '"changeme"',
        '"xxxxxxxx"',
        '"${var.s}"',
        '"REPLACE_ME"',
        '"$CLIENT_SECRET"',
        '"..."',
    ],
)
def test_references_and_placeholders_are_no_secrets(found: Found, value: str) -> None:
    assert found(provider(f"oauthclient_secret = {value}"), "provider-secret-literal") == []


def test_an_id_is_no_secret(found: Found) -> None:
    text = provider('oauthclient_id = "4a6e6f3e-1b1f-4b44-9a54-3d8f7e1c2b90"')
    assert found(text, "provider-secret-literal") == []


# provider-version


@pytest.mark.parametrize(
    ("version", "place"),
    [(None, "main.tf:4:5"), (">= 1.6.0", "main.tf:6:17"), ("> 1", "main.tf:6:17"), (">= 1, != 1.5.0", "main.tf:6:17")],
)
def test_a_version_without_upper_end_is_found(found: Found, version: str | None, place: str) -> None:
    line = f'\n      version = "{version}"' if version else ""
    text = required(f'{{\n      source = "mypurecloud/genesyscloud"{line}\n    }}') + provider()
    assert found(text, "provider-version") == [f"{place} provider-version"]


@pytest.mark.parametrize("version", ["~> 1.84", "1.84.1", ">= 1.53, < 2.0", "~> 1.84.0"])
def test_a_pinned_version_is_left_alone(found: Found, version: str) -> None:
    assert found(required().replace("~> 1.84", version) + provider(), "provider-version") == []


def test_a_lock_file_pins_as_well(found: Found) -> None:
    lock = 'provider "registry.terraform.io/mypurecloud/genesyscloud" {\n  version = "1.84.1"\n}\n'
    texts = {"main.tf": required().replace("~> 1.84", ">= 1.6") + provider(), ".terraform.lock.hcl": lock}
    assert found(texts, "provider-version") == []


def test_shared_modules_need_no_upper_end(found: Found) -> None:
    text = required().replace("~> 1.84", ">= 1.6").replace('  backend "http" {}\n', "")
    assert found(text, "provider-version") == []


@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("~> 1.52.0", "gateway {}"),
        ("1.76.0", 'custom_retry_timeout = "0s"'),
        (">= 1.0, < 1.84", "max_concurrent_pages = 2"),
        ("~> 1.33.0", ""),
    ],
)
def test_a_version_older_than_what_is_used_is_found(found: Found, version: str, line: str) -> None:
    text = required().replace("~> 1.84", version) + provider(line)
    assert found(text, "provider-version") == ["main.tf:6:17 provider-version"]


def test_a_locked_version_older_than_what_is_used_is_found(found: Found) -> None:
    lock = 'provider "registry.terraform.io/mypurecloud/genesyscloud" {\n  version = "1.40.0"\n}\n'
    texts = {"main.tf": required().replace("~> 1.84", ">= 1.6") + provider("gateway {}"), ".terraform.lock.hcl": lock}
    assert found(texts, "provider-version") == ["main.tf:6:17 provider-version"]


# provider-token-pool, provider-sdk-debug


@pytest.mark.parametrize("size", ["3", '"3"', "0", "51", "-1"])
def test_a_pool_too_small_or_refused_is_found(found: Found, size: str) -> None:
    assert found(provider(f"token_pool_size = {size}"), "provider-token-pool") == ["main.tf:2:3 provider-token-pool"]


@pytest.mark.parametrize(
    "lines",
    [("token_pool_size = 10",), ("token_pool_size = 50",), ("token_pool_size = var.n",), (), ("access_token = var.t",)],
)
def test_a_pool_that_fits_or_is_unknown_is_left_alone(found: Found, lines: tuple[str, ...]) -> None:
    assert found(provider(*lines), "provider-token-pool") == []


def test_the_old_maximum_counts_for_old_versions(found: Found) -> None:
    text = required().replace("~> 1.84", "~> 1.70.0") + provider("token_pool_size = 30")
    assert found(text, "provider-token-pool") == ["main.tf:11:3 provider-token-pool"]


def workflow(flag: str) -> str:
    return (
        "on: push\njobs:\n  apply:\n    runs-on: ubuntu-latest\n    steps:\n"
        f"      - run: terraform apply {flag} plan.out\n"
    )


def test_the_parallelism_of_a_workflow_counts(found: Found, fixed: Fixed) -> None:
    ci = ".github/workflows/deploy.yml"
    texts = {"main.tf": provider("token_pool_size = 12"), ci: workflow("-parallelism=20")}
    assert found(texts, "provider-token-pool") == ["main.tf:2:3 provider-token-pool"]
    assert fixed(texts, "provider-token-pool")["main.tf"] == provider("token_pool_size = 20")
    assert found({**texts, ci: workflow("-parallelism=5")}, "provider-token-pool") == []
    small = {"main.tf": provider("token_pool_size = 5"), ci: workflow("-parallelism=5")}
    assert found(small, "provider-token-pool") == []


def test_debugging_is_found_only_when_it_is_on(found: Found, fixed: Fixed) -> None:
    assert found(provider("sdk_debug = true"), "provider-sdk-debug") == ["main.tf:2:3 provider-sdk-debug"]
    assert found(provider('sdk_debug = "true"'), "provider-sdk-debug") == ["main.tf:2:3 provider-sdk-debug"]
    assert found(provider("sdk_debug = var.debug"), "provider-sdk-debug") == []
    assert found(provider("sdk_debug = false"), "provider-sdk-debug") == []
    assert fixed(provider("sdk_debug = true # hm"), "provider-sdk-debug")["main.tf"] == provider(
        "sdk_debug = false # hm"
    )


def test_a_pool_of_the_configuration_decides_and_not_the_workflows_guess(found: Found) -> None:
    ci = ".github/workflows/deploy.yml"
    env = "on: push\nenv: {GENESYSCLOUD_REGION: eu-central-1}\n"
    texts = {
        "main.tf": provider("token_pool_size = 40"),
        ci: env + workflow("-parallelism=40").removeprefix("on: push\n"),
    }
    assert found(texts, "provider-token-pool", "ci-parallelism") == []
    without = {**texts, "main.tf": provider()}
    assert found(without, "provider-token-pool", "ci-parallelism") == [f"{ci}:7:30 ci-parallelism"]
