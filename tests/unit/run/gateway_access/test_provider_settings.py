"""Which client and region every provider configuration would use, and which ones are left alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from interlock.gateway.forward_proxy import ForwardProxy, Proxying
from interlock.gateway.oauth import Secret
from interlock.hcl import Known, read_module
from interlock.hcl.given import given_scope, planned_scope
from interlock.run.gateway_access.provider_blocks import OwnGateway
from interlock.run.gateway_access.provider_settings import ProviderSettings, read_providers
from interlock.source.tree import MemoryTree

pytestmark = pytest.mark.promise("P11")

AFTER = "interlock_override.tf"
ENVIRON = {"GENESYSCLOUD_OAUTHCLIENT_ID": "env", "GENESYSCLOUD_OAUTHCLIENT_SECRET": "env-secret"}
REQUIRED = 'terraform {\n  required_providers {\n    genesyscloud = { source = "mypurecloud/genesyscloud" }\n  }\n}\n'
OWN = 'oauthclient_id = "own"\n  oauthclient_secret = "own-secret"'


def look(
    files: Mapping[str, str] | str, environ: Mapping[str, str] | None = None, *flags: str, required: bool = True
) -> ProviderSettings:
    texts = {"main.tf": files} if isinstance(files, str) else dict(files)
    tree = MemoryTree({**({"versions.tf": REQUIRED} if required else {}), **texts})
    root = read_module(tree, ".")
    environ = ENVIRON if environ is None else environ
    return read_providers(root, given_scope(root, tree, flags, environ), environ, after=AFTER)


def logins(found: ProviderSettings) -> dict[str, tuple[str, str, str | None]]:
    return {each.label: (each.client_id, each.secret.value, each.region) for each in found.logins}


def alone(found: ProviderSettings) -> dict[str, str]:
    return {each.label: each.why for each in found.left_alone}


def block(inner: str, *, name: str = "genesyscloud", alias: str = "") -> str:
    named = f'  alias = "{alias}"\n' if alias else ""
    return f'provider "{name}" {{\n{named}  {inner}\n}}\n'


def test_a_configuration_without_a_block_uses_the_environment() -> None:
    found = look('resource "genesyscloud_routing_skill" "a" {\n  name = "a"\n}\n')
    assert logins(found) == {"provider genesyscloud": ("env", "env-secret", None)}
    assert not found.left_alone


def test_each_block_has_its_own_client_and_region() -> None:
    found = look(block("") + block(f'{OWN}\n  aws_region = "eu-west-2"', alias="b") + block(OWN, alias="c"))
    assert logins(found) == {
        "provider genesyscloud": ("env", "env-secret", None),
        "provider genesyscloud.b": ("own", "own-secret", "eu-west-2"),
        "provider genesyscloud.c": ("own", "own-secret", None),
    }


def test_other_local_names_are_found_by_their_source_and_other_sources_are_not_ours() -> None:
    text = (
        "terraform {\n  required_providers {\n"
        '    gc = { source = "registry.terraform.io/MyPureCloud/genesyscloud" }\n'
        '    genesyscloud = { source = "acme/mock" }\n  }\n}\n'
    )
    found = look(text + block(OWN, name="gc", alias="x") + block("", name="genesyscloud"), required=False)
    assert set(logins(found)) == {"provider gc", "provider gc.x"}


def test_json_configurations_and_override_files_count() -> None:
    text = '{"provider": {"genesyscloud": [{"gateway": {}}, {"alias": "b", "oauthclient_id": "json"}]}}'
    found = look({"main.tf.json": text, "override.tf": block('oauthclient_id = "late"', alias="b")})
    assert logins(found)["provider genesyscloud.b"] == ("late", "env-secret", None)
    gateway = {"GENESYSCLOUD_GATEWAY_HOST": "gate.example"}
    found = look({"main.tf.json": text}, {**ENVIRON, **gateway})
    assert [each.gateway is not None for each in found.logins] == [True, False]


@pytest.mark.parametrize(
    ("inner", "why"),
    [
        ('access_token = "t"', "access token"),
        ("access_token = var.unknown", "access_token is not known"),
        ("aws_region = data.x.y.region", "aws_region is not known"),
        ('oauthclient_id = ""', "not both"),
        ("gateway {\n    host = var.unknown\n  }", "gateway of its own that is not known"),
        ("gateway {\n    path_params {\n      path_name = var.unknown\n    }\n  }", "gateway of its own that is not"),
        ("gateway {}\n  gateway {}", "several gateway blocks"),
        ("proxy {\n    host = var.unknown\n  }", "proxy of its own that is not known"),
        (
            'proxy {\n    host = "h"\n    auth {\n      password = var.unknown\n    }\n  }',
            "proxy of its own that is",
        ),
        ('proxy {\n    host = "h"\n  }', "its proxy has no protocol"),
        ('proxy {\n    host = "h"\n    protocol = "socks5"\n  }', "its proxy speaks 'socks5'"),
        ('proxy {\n    host = "h"\n    protocol = "http"\n    port = "x"\n  }', "not a port number"),
        (
            'dynamic "gateway" {\n    for_each = var.unknown\n    content {}\n  }',
            "whether it has a gateway is not known",
        ),
        ('dynamic "proxy" {\n    for_each = var.unknown\n    content {}\n  }', "whether it has a proxy is not known"),
        ("for_each = toset([])", "for_each"),
    ],
)
def test_what_is_not_certain_or_has_its_own_way_is_left_alone(inner: str, why: str) -> None:
    found = look('variable "unknown" {}\n' + block(inner, alias="b"))
    assert why in alone(found)["provider genesyscloud.b"]
    assert set(logins(found)) == {"provider genesyscloud"}


def test_an_access_token_of_the_environment_is_everybodys() -> None:
    assert look(block(""), {**ENVIRON, "GENESYSCLOUD_ACCESS_TOKEN": "t"}).logins == ()


def test_a_null_argument_is_an_absent_one() -> None:
    found = look('variable "region" {\n  default = null\n}\n' + block("aws_region = var.region\n  access_token = null"))
    assert logins(found) == {"provider genesyscloud": ("env", "env-secret", None)}


@pytest.mark.parametrize(
    ("files", "environ", "flags", "region"),
    [
        ({}, {}, (), "default"),
        ({}, {"TF_VAR_region": "environment"}, (), "environment"),
        ({"terraform.tfvars": 'region = "file"'}, {"TF_VAR_region": "environment"}, (), "file"),
        ({"terraform.tfvars": 'region = "file"', "a.auto.tfvars": 'region = "auto"'}, {}, (), "auto"),
        ({"a.auto.tfvars": 'region = "auto"'}, {}, ("-var", "region=flag"), "flag"),
        ({"p.tfvars": 'region = "named"'}, {}, ("-var=region=flag", "-var-file=p.tfvars"), "named"),
        ({}, {"TF_CLI_ARGS_plan": "-var region=args"}, (), "args"),
        ({}, {}, ("-var-file=missing.tfvars",), None),
    ],
)
def test_variables_are_read_in_terraforms_order(
    files: dict[str, str], environ: dict[str, str], flags: tuple[str, ...], region: str | None
) -> None:
    text = 'variable "region" {\n  default = "default"\n}\n' + block(f"{OWN}\n  aws_region = var.region")
    found = look({"main.tf": text, **files}, environ, *flags)
    assert [each.region for each in found.logins] == ([region] if region else [])


def test_a_variable_of_a_built_type_is_an_expression() -> None:
    text = 'variable "org" {\n  type = object({ id = string, secret = string })\n}\n'
    text += block("oauthclient_id = var.org.id\n  oauthclient_secret = var.org.secret")
    found = look(text, {"TF_VAR_org": '{ id = "i", secret = "s" }'})
    assert logins(found) == {"provider genesyscloud": ("i", "s", None)}


def test_a_saved_plan_brings_its_own_values() -> None:
    tree = MemoryTree({"main.tf": 'variable "id" {\n  default = "d"\n}\n' + block("oauthclient_id = var.id")})
    root = read_module(tree, ".")
    for planned, expected in (({"id": Known(value="planned")}, "planned"), ({}, "d")):
        found = read_providers(root, planned_scope(root, planned), ENVIRON, after=AFTER)
        assert found.logins[0].client_id == expected
    unread = read_providers(root, planned_scope(root, {"id": None}), ENVIRON, after=AFTER)
    assert [each.is_learned for each in unread.logins] == [True]


def test_a_provider_block_in_a_module_is_left_alone_and_an_empty_one_only_stands_for_the_callers() -> None:
    call = 'module "m" {\n  source = "./m"\n}\n'
    proxy = look({"main.tf": call + block(""), "m/versions.tf": REQUIRED, "m/main.tf": block("", alias="x")})
    assert not proxy.left_alone
    legacy = look({"main.tf": call + block(""), "m/versions.tf": REQUIRED, "m/main.tf": block(OWN)})
    assert "no override reaches it" in alone(legacy)["provider genesyscloud in m"]
    assert set(logins(legacy)) == {"provider genesyscloud"}


def test_a_root_module_that_only_calls_modules_declares_the_provider_for_its_default_configuration() -> None:
    call = 'module "m" {\n  source = "./m"\n}\n'
    skill = 'resource "genesyscloud_routing_skill" "a" {\n  name = "a"\n}\n'
    found = look({"main.tf": call, "m/versions.tf": REQUIRED, "m/main.tf": skill}, required=False)
    assert dict(found.requirements) == {"genesyscloud": "mypurecloud/genesyscloud"}
    assert set(logins(found)) == {"provider genesyscloud"}


def test_modules_from_elsewhere_are_named_as_unread() -> None:
    found = look(block("") + 'module "far" {\n  source = "acme/far/genesyscloud"\n}\n')
    assert found.unread == ('module "far"',)


def test_a_configuration_that_cannot_be_read_is_left_alone_as_a_whole() -> None:
    found = look({"main.tf": block(""), "broken.tf": 'provider "genesyscloud" {\n'})
    assert not found.logins
    assert "broken.tf:" in alone(found)["every provider configuration"]


def test_an_override_file_that_is_read_after_ours_keeps_its_gateway() -> None:
    found = look({"main.tf": block(""), "z_override.tf": block("gateway {}")})
    assert "override file" in alone(found)["provider genesyscloud"]
    assert look({"main.tf": block(""), "a_override.tf": block("gateway {}")}).logins


def test_a_configuration_of_other_providers_has_nothing() -> None:
    assert not look('resource "terraform_data" "a" {}\n', required=False).is_used


BY_KIND = f'{OWN}\n  aws_region = var.prod == "true" ? "eu-west-2" : "eu-central-1"'


@pytest.mark.parametrize(
    ("variable", "given", "inner", "region"),
    [
        ("type = bool", 'prod = "true"', BY_KIND, None),  # a bool never equals a text; our reader does not compare them
        ("type = string", "prod = true", BY_KIND, "eu-west-2"),
        ('nullable = false\n  default = "d"', "prod = null", f"{OWN}\n  aws_region = var.prod", "d"),
        ('default = "d"', "prod = null", f"{OWN}\n  aws_region = var.prod", "environment"),
        ("type = map(string)", 'prod = { a = "x" }', f"{OWN}\n  aws_region = var.prod.a", "x"),
        ("type = list(string)", "prod = [5]", f"{OWN}\n  aws_region = var.prod[0]", "5"),
        (
            'type = object({ r = optional(string, "o") })',
            "prod = { r = null }",
            f"{OWN}\n  aws_region = var.prod.r",
            "o",
        ),
        ("type = object({ r = string })", 'prod = { r = "x" }', f"{OWN}\n  aws_region = var.prod.r", "x"),
        ("type = tuple([string])", 'prod = ["x"]', f"{OWN}\n  aws_region = var.prod[0]", None),
    ],
)
def test_a_value_is_converted_to_the_type_of_its_variable(
    variable: str, given: str, inner: str, region: str | None
) -> None:
    found = look({"main.tf": f'variable "prod" {{\n  {variable}\n}}\n{block(inner)}', "terraform.tfvars": given + "\n"})
    assert [each.region or "environment" for each in found.logins] == ([region] if region else [])


def test_the_flags_of_the_environment_that_go_to_every_command_count() -> None:
    text = 'variable "r" {\n  default = "d"\n}\n' + block(f"{OWN}\n  aws_region = var.r")
    assert [each.region for each in look(text, {"TF_CLI_ARGS": "-var=r=everywhere"}).logins] == ["everywhere"]


def test_an_ephemeral_value_is_not_in_a_plan_so_nothing_is_certain_of_it() -> None:
    text = 'variable "r" {\n  default = "d"\n  ephemeral = true\n}\n' + block(f"{OWN}\n  aws_region = var.r")
    root = read_module(MemoryTree({"main.tf": text, "versions.tf": REQUIRED}), ".")
    found = read_providers(root, planned_scope(root, {}), ENVIRON, after=AFTER)
    assert not found.logins
    assert "aws_region is not known" in alone(found)["provider genesyscloud"]
    again = read_providers(root, planned_scope(root, {"r": Known(value="again")}), ENVIRON, after=AFTER)
    assert [each.region for each in again.logins] == ["again"]


# -- gateways and proxies of a configuration's own --------------------------------------------------------------------

PROXY = 'proxy {\n    protocol = "http"\n    host = "proxy.example"\n    port = "3128"\n%s  }'
AUTH = '    auth {\n      username = "u"\n      password = var.password\n    }\n'
OWN_PROXY = ForwardProxy(scheme="http", host="proxy.example", port=3128)


def proxies(found: ProviderSettings) -> dict[str, object]:
    return {each.label: each.proxy for each in found.logins}


def test_each_configuration_has_the_proxy_of_its_own_block_with_its_own_login() -> None:
    text = 'variable "password" {}\n' + block(PROXY % AUTH) + block(PROXY % "", alias="b") + block("", alias="c")
    found = look(text, {**ENVIRON, "TF_VAR_password": "p"})
    with_login = replace(OWN_PROXY, user="u", password=Secret("p"))
    assert proxies(found) == {
        "provider genesyscloud": with_login,
        "provider genesyscloud.b": OWN_PROXY,
        "provider genesyscloud.c": Proxying.ENVIRONMENT,
    }
    assert [each.has_proxy_block for each in found.logins] == [True, True, False]
    assert "p" not in repr(with_login.password)


def test_variables_name_a_proxy_only_for_a_block_and_its_login_only_for_an_auth_block() -> None:
    named = {"PROTOCOL": "http", "HOST": "proxy.example", "PORT": "3128", "AUTH_USERNAME": "u", "AUTH_PASSWORD": "p"}
    environ = {**ENVIRON, **{f"GENESYSCLOUD_PROXY_{name}": value for name, value in named.items()}}
    found = look(block("") + block("proxy {}", alias="b") + block("proxy {\n    auth {}\n  }", alias="c"), environ)
    assert proxies(found) == {
        "provider genesyscloud": Proxying.ENVIRONMENT,
        "provider genesyscloud.b": OWN_PROXY,
        "provider genesyscloud.c": replace(OWN_PROXY, user="u", password=Secret("p")),
    }


def test_a_proxy_block_without_a_host_takes_the_environments_proxy_away() -> None:
    assert proxies(look(block("proxy {}"))) == {"provider genesyscloud": Proxying.DIRECT}


@pytest.mark.parametrize(("many", "proxy"), [("[]", Proxying.ENVIRONMENT), ("[1]", OWN_PROXY)])
def test_a_dynamic_block_counts_when_its_number_is_certain(many: str, proxy: object) -> None:
    content = PROXY.replace("proxy {", "content {", 1) % ""
    text = f'dynamic "proxy" {{\n    for_each = var.many\n    {content}\n  }}'
    found = look(f'variable "many" {{\n  default = {many}\n}}\n' + block(text))
    assert proxies(found) == {"provider genesyscloud": proxy}
    assert found.logins[0].has_proxy_block


def test_a_gateway_block_of_its_own_is_read_with_its_prefixes() -> None:
    params = "".join(
        f'    path_params {{\n      path_name  = "{name}"\n      path_value = "{value}"\n    }}\n'
        for name, value in (("api", "/a/"), ("login", "l"))
    )
    text = f'gateway {{\n    protocol = "https"\n    host = "gate.example"\n    port = "443"\n{params}  }}'
    gateway = look(block(text)).logins[0].gateway
    assert gateway is not None
    assert (gateway.api, gateway.login) == ("https://gate.example/a", "https://gate.example/l")
    assert not gateway.is_environments


def test_variables_of_a_gateway_do_nothing_without_a_block() -> None:
    environ = {**ENVIRON, "GENESYSCLOUD_GATEWAY_PROTOCOL": "https", "GENESYSCLOUD_GATEWAY_HOST": "gate.example"}
    found = look(block("") + block("gateway {}", alias="b"), environ)
    assert [each.gateway for each in found.logins] == [
        None,
        OwnGateway(api="https://gate.example", login="https://gate.example", is_environments=True),
    ]


@pytest.mark.parametrize("inner", ["oauthclient_id = var.unknown", 'oauthclient_secret = file("s")'])
def test_a_client_that_is_known_only_when_it_logs_in_is_learned(inner: str) -> None:
    found = look('variable "unknown" {}\n' + block(inner, alias="b"))
    assert [each.is_learned for each in found.logins] == [False, True]
    assert logins(found)["provider genesyscloud.b"] == ("", "", None)


def test_an_override_file_with_a_proxy_that_is_read_after_ours_leaves_the_configuration_alone() -> None:
    found = look({"main.tf": block(""), "z_override.tf": block("proxy {}")})
    assert "gateway or proxy block" in alone(found)["provider genesyscloud"]
