"""Where each provider configuration's way leads: its own region, never that of another one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.gateway.service import Terms
from interlock.genesys import gateway_bypasses, token_uses
from interlock.run.gateway_access import Need, ServerOrganisation, find_need, with_placeholder
from interlock.settings.values import Settings
from interlock.source.tree import Tool

pytestmark = pytest.mark.promise("P11")

REQUIRED = 'terraform {\n  required_providers {\n    genesyscloud = { source = "mypurecloud/genesyscloud" }\n  }\n}\n'
CLIENT = {"GENESYSCLOUD_OAUTHCLIENT_ID": "env", "GENESYSCLOUD_OAUTHCLIENT_SECRET": "s"}
HOME = {"INTERLOCK_UPSTREAM_API": "https://home.example", "INTERLOCK_UPSTREAM_LOGIN": "https://home.example"}
LONDON = "https://api.euw2.pure.cloud"


def ways(
    folder: Path, files: Mapping[str, str], environ: Mapping[str, str], tool: Tool = Tool.TERRAFORM
) -> tuple[dict[str, str], list[str]]:
    """Return the API address of each configuration, and the words about those that are left alone."""
    for name, text in {"versions.tf": REQUIRED, **files}.items():
        (folder / name).write_text(text)
    need = find_need(folder, Settings(home=folder), {**CLIENT, **environ}, tool=tool)
    assert isinstance(need, Need), need
    return {login.label: way.terms.api_url for way in need.ways for login in way.logins}, list(need.words)


def provider(region: str = "", alias: str = "") -> str:
    lines = [f'{name} = "{value}"' for name, value in (("alias", alias), ("aws_region", region)) if value]
    return 'provider "genesyscloud" {\n' + "".join(f"  {line}\n" for line in lines) + "}\n"


def test_a_configuration_without_a_region_never_takes_that_of_an_alias(tmp_path: Path) -> None:
    found, words = ways(tmp_path, {"main.tf": provider() + provider("eu-west-2", "b")}, {})
    assert found == {"provider genesyscloud.b": LONDON}
    assert ["no region is known" in each for each in words] == [True]


def test_a_set_upstream_never_stands_for_the_region_of_an_alias(tmp_path: Path) -> None:
    found, _ = ways(tmp_path, {"main.tf": provider() + provider("eu-west-2", "b")}, HOME)
    assert found == {"provider genesyscloud": "https://home.example", "provider genesyscloud.b": LONDON}


def test_the_case_of_a_region_does_not_matter(tmp_path: Path) -> None:
    environ = {**HOME, "GENESYSCLOUD_REGION": "eu-west-2"}
    found, _ = ways(tmp_path, {"main.tf": provider("EU-West-2") + provider("EU-CENTRAL-1", "b")}, environ)
    assert found == {
        "provider genesyscloud": "https://home.example",
        "provider genesyscloud.b": "https://api.mypurecloud.de",
    }


@pytest.mark.parametrize(("tool", "address"), [(Tool.TERRAFORM, LONDON), (Tool.TOFU, "https://api.mypurecloud.de")])
def test_only_files_that_the_program_reads_say_where_a_configuration_leads(
    tmp_path: Path, tool: Tool, address: str
) -> None:
    files = {"p.tf": provider("eu-west-2"), "p.tofu": provider("eu-central-1")}
    assert ways(tmp_path, files, {}, tool)[0] == {"provider genesyscloud": address}


def test_a_file_whose_name_begins_with_a_hash_is_read_as_terraform_reads_it(tmp_path: Path) -> None:
    assert ways(tmp_path, {"#p.tf": provider("eu-west-2")}, {})[0] == {"provider genesyscloud": LONDON}


def test_two_members_of_one_name_in_json_are_two_configurations(tmp_path: Path) -> None:
    texts = ('{"alias": "a", "aws_region": "eu-west-2"}', '{"aws_region": "eu-central-1"}')
    text = "{" + ", ".join(f'"provider": {{"genesyscloud": {each}}}' for each in texts) + "}"
    assert ways(tmp_path, {"p.tf.json": text}, {})[0] == {
        "provider genesyscloud": "https://api.mypurecloud.de",
        "provider genesyscloud.a": LONDON,
    }


REMOTE = 'module "x" {\n  source = "acme/queues/genesyscloud"\n}\n'


def test_modules_that_cannot_be_read_yet_come_with_a_word_where_there_is_a_login(tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text(REMOTE)
    need = find_need(tmp_path, Settings(home=tmp_path), CLIENT)
    assert isinstance(need, Need)
    assert ['module "x" bypasses the gateway' in words for words in need.words] == [True]
    assert not need.ways
    assert find_need(tmp_path, Settings(home=tmp_path), {}) == "the configuration does not use Genesys Cloud"


PROXY = 'proxy {\n    protocol = "http"\n    host = "%s"\n    port = "3128"\n  }'


def terms(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> dict[str, Terms]:
    (folder / "main.tf").write_text(REQUIRED + text)
    region = {"GENESYSCLOUD_REGION": "eu-west-2"}
    need = find_need(folder, Settings(home=folder), {**CLIENT, **region, **(environ or {})})
    assert isinstance(need, Need), need
    return {login.label: way.terms for way in need.ways for login in way.logins}


def test_aliases_with_other_proxies_have_ways_of_their_own(tmp_path: Path) -> None:
    blocks = [f'  alias = "{name}"\n  {PROXY % host}\n' for name, host in (("a", "one"), ("b", "two"), ("c", "one"))]
    found = terms(tmp_path, "".join(f'provider "genesyscloud" {{\n{each}}}\n' for each in blocks))
    assert found["provider genesyscloud.a"] is found["provider genesyscloud.c"]
    hosts = {label: getattr(each.proxy, "host", None) for label, each in found.items()}
    assert hosts == {
        "provider genesyscloud": None,
        "provider genesyscloud.a": "one",
        "provider genesyscloud.b": "two",
        "provider genesyscloud.c": "one",
    }


def gateway(protocol: str, host: str) -> str:
    return f'provider "genesyscloud" {{\n  gateway {{\n    protocol = "{protocol}"\n    host = "{host}"\n  }}\n}}\n'


def test_a_gateway_of_its_own_is_the_upstream_of_ours_whatever_stands_for_the_region(tmp_path: Path) -> None:
    found = terms(tmp_path, gateway("https", "gate.example"), HOME)["provider genesyscloud"]
    assert (found.api_url, found.login_url) == ("https://gate.example", "https://gate.example")


def test_a_plain_gateway_on_another_machine_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text(REQUIRED + gateway("http", "gate.example"))
    need = find_need(tmp_path, Settings(home=tmp_path), CLIENT)
    assert isinstance(need, Need)
    assert ["others could read along" in words for words in need.words] == [True]


def test_variables_of_a_gateway_without_a_block_lead_nowhere(tmp_path: Path) -> None:
    environ = {"GENESYSCLOUD_GATEWAY_PROTOCOL": "https", "GENESYSCLOUD_GATEWAY_HOST": "gate.example"}
    assert terms(tmp_path, provider(), environ)["provider genesyscloud"].api_url == LONDON


def test_a_client_that_is_not_known_yet_is_learned_and_terraform_keeps_the_real_secret(tmp_path: Path) -> None:
    text = 'variable "id" {}\nprovider "genesyscloud" {\n  oauthclient_id = var.id\n}\n'
    assert terms(tmp_path, text)["provider genesyscloud"].credentials is None
    need = find_need(tmp_path, Settings(home=tmp_path), {**CLIENT, "GENESYSCLOUD_REGION": "eu-west-2"})
    assert isinstance(need, Need)
    assert (need.is_whole, list(need.words)) == (False, [])


CONTACTS = 'resource "genesyscloud_outbound_contact_list" "c" {\n  %s = "contacts.csv"\n}\n'


@pytest.mark.parametrize(
    ("text", "past", "may_write"),
    [
        ('resource "genesyscloud_flow" "f" {}\n', (), False),
        ('data "genesyscloud_flow" "f" {}\n', ("data.genesyscloud_flow",), False),
        ('resource "genesyscloud_script" "s" {}\n', ("genesyscloud_script",), True),
        (CONTACTS % "name", (), False),
        (CONTACTS % "contacts_filepath", ("genesyscloud_outbound_contact_list.contacts_filepath",), True),
        (
            'resource "genesyscloud_integration_action" "a" {\n  function_config {}\n}\n',
            ("genesyscloud_integration_action.function_config",),
            True,
        ),
    ],
)
def test_what_asks_past_every_gateway_is_said_and_gets_a_token(
    tmp_path: Path, text: str, past: tuple[str, ...], may_write: bool
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "main.tf").write_text(REQUIRED + text)
    (tmp_path / "main.tf").write_text(REQUIRED + provider("eu-west-2") + 'module "m" {\n  source = "./inside"\n}\n')
    need = find_need(tmp_path, Settings(home=tmp_path), CLIENT)
    assert isinstance(need, Need)
    assert (need.past, need.may_write_past) == (past, may_write)
    assert [way.terms.lends_token for way in need.ways] == [bool(past)]
    assert [words.partition(" ")[0] for words in need.words] == list(past)
    none = find_need(tmp_path, Settings(home=tmp_path), {**CLIENT, "INTERLOCK_LEND_TOKEN": "0"})
    assert isinstance(none, Need)
    assert not any(way.terms.lends_token for way in none.ways)
    assert all("refused there" in words for words in none.words)


@pytest.mark.promise("P10")
@pytest.mark.parametrize("said", ["false", "no", "off", "00", "O"])
def test_a_refusal_to_lend_that_cannot_be_read_ends_the_run_and_lends_nothing(tmp_path: Path, said: str) -> None:
    (tmp_path / "main.tf").write_text(REQUIRED + provider("eu-west-2") + 'data "genesyscloud_flow" "f" {}\n')
    with pytest.raises(UsageError, match="INTERLOCK_LEND_TOKEN"):
        find_need(tmp_path, Settings(home=tmp_path), {**CLIENT, "INTERLOCK_LEND_TOKEN": said})
    need = find_need(tmp_path, Settings(home=tmp_path), {**CLIENT, "INTERLOCK_LEND_TOKEN": " 0\n"})
    assert isinstance(need, Need)
    assert not any(way.terms.lends_token for way in need.ways)


def test_a_token_for_modules_that_cannot_be_read_yet_is_said(tmp_path: Path) -> None:
    far = 'module "far" {\n  source = "git::https://git.example/far.git"\n}\n'
    _, words = ways(tmp_path, {"main.tf": provider("eu-west-2") + far}, {})
    assert [("far" in each, each.endswith("the provider gets an access token")) for each in words] == [(True, True)]
    _, words = ways(tmp_path, {"main.tf": provider("eu-west-2") + far}, {"INTERLOCK_LEND_TOKEN": "0"})
    assert words == []


FAR = ServerOrganisation(name="acme", region="eu-west-2", url="https://server.example")
OWN = 'provider "genesyscloud" {\n  alias = "own"\n  oauthclient_id = "i"\n  oauthclient_secret = "s"\n}\n'


def refused(folder: Path, text: str) -> tuple[str, ...]:
    """Return what a run at a server with the organisation's client is refused, before it plans."""
    inside = folder / "inside"
    inside.mkdir(exist_ok=True)
    (inside / "main.tf").write_text(REQUIRED + 'data "genesyscloud_flow" "g" {}\n')
    (folder / "main.tf").write_text(REQUIRED + text)
    need = find_need(folder, Settings(home=folder), with_placeholder({}, FAR), far=FAR)
    assert isinstance(need, Need), need
    return need.refused


@pytest.mark.promise("P8")
@pytest.mark.parametrize("use", token_uses())
def test_each_row_of_the_table_that_a_plan_asks_for_is_refused_at_a_server_before_it(tmp_path: Path, use: str) -> None:
    kind = use.removeprefix("data.").partition(".")[0]
    block = "data" if use.startswith("data.") else "resource"
    reads = block == "data" or any(use in each.uses and each.reads for each in gateway_bypasses())
    address = f"{'data.' if block == 'data' else ''}{kind}.a"
    assert refused(tmp_path, f'{block} "{kind}" "a" {{}}\n') == ((address,) if reads else ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('data "genesyscloud_flow" "f" {\n  count = 0\n}\n', ()),
        ('data "genesyscloud_flow" "f" {\n  for_each = toset(["a"])\n}\n', ("data.genesyscloud_flow.f",)),
        (OWN + 'data "genesyscloud_flow" "f" {\n  provider = genesyscloud.own\n}\n', ()),
        (OWN + 'data "genesyscloud_flow" "f" {}\n', ("data.genesyscloud_flow.f",)),
        ('module "m" {\n  source = "./inside"\n}\n', ("module.m.data.genesyscloud_flow.g",)),
        ('module "m" {\n  source = "./inside"\n  count = 0\n}\nresource "genesyscloud_group" "g" {}\n', ()),
        (
            OWN + 'module "m" {\n  source = "./inside"\n  providers = {\n    genesyscloud = genesyscloud.own\n  }\n}\n',
            (),
        ),
    ],
)
def test_only_what_asks_with_the_servers_client_is_refused(
    tmp_path: Path, text: str, expected: tuple[str, ...]
) -> None:
    assert refused(tmp_path, text) == expected
