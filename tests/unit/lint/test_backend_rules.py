from collections.abc import Callable

import pytest

Found = Callable[..., list[str]]
Fixed = Callable[..., dict[str, str]]

RESOURCE = 'resource "genesyscloud_user" "ada" {}\n'


def s3(*lines: str) -> str:
    whole = ('bucket = "b"', 'key    = "k"', *lines)
    return 'terraform {\n  backend "s3" {\n' + "".join(f"    {line}\n" for line in whole) + "  }\n}\n"


# backend-missing


def test_a_root_module_without_backend_is_found_at_its_terraform_block(found: Found) -> None:
    text = f'provider "x" {{}}\n\nterraform {{\n  required_version = ">= 1.10"\n}}\n{RESOURCE}'
    assert found(text, "backend-missing") == ["main.tf:3:1 backend-missing"]


def test_without_terraform_block_it_is_found_at_the_provider(found: Found) -> None:
    assert found(f'{RESOURCE}provider "x" {{}}\n', "backend-missing") == ["main.tf:2:1 backend-missing"]


@pytest.mark.parametrize(
    "texts",
    [
        {"main.tf": f'terraform {{\n  backend "http" {{}}\n}}\nprovider "x" {{}}\n{RESOURCE}'},
        {"main.tf": f'terraform {{\n  cloud {{}}\n}}\nprovider "x" {{}}\n{RESOURCE}'},
        {"main.tf": RESOURCE},
        {"main.tf": 'provider "x" {}\ndata "x_y" "z" {}\n'},
        {"modules/a/main.tf": f'provider "x" {{}}\n{RESOURCE}'},
        {"examples/a/main.tf": f'provider "x" {{}}\n{RESOURCE}'},
        {"main.tf": f'provider "x" {{}}\n{RESOURCE}', "terragrunt.hcl": "include {}\n"},
        {"main.tf": f'provider "x" {{}}\n{RESOURCE}', "broken.tf": "terraform {\n"},
        {
            "live/main.tf": 'terraform {\n  backend "http" {}\n}\nmodule "a" {\n  source = "../a"\n}\n',
            "a/main.tf": f'provider "x" {{}}\n{RESOURCE}',
        },
        {
            "main.tf": f'provider "x" {{}}\n{RESOURCE}',
            "backend_override.tf": 'terraform {\n  backend "http" {}\n}\n',
        },
    ],
    ids=["http", "cloud", "shared", "reads-only", "modules", "examples", "generated", "broken", "called", "override"],
)
def test_no_backend_is_missed_where_one_is_given_or_none_is_needed(found: Found, texts: dict[str, str]) -> None:
    assert found(texts, "backend-missing") == []


# backend-s3-no-lock


def test_an_s3_backend_without_lock_is_found_at_its_header(found: Found) -> None:
    assert found(s3(), "backend-s3-no-lock") == ["main.tf:2:3 backend-s3-no-lock"]
    assert found(s3("use_lockfile = false"), "backend-s3-no-lock") == ["main.tf:2:3 backend-s3-no-lock"]


@pytest.mark.parametrize(
    "text",
    [
        s3("use_lockfile = true"),
        s3('dynamodb_table = "t"'),
        'terraform {\n  backend "s3" {}\n}\n',
        'terraform {\n  backend "s3" {\n    bucket = "b"\n  }\n}\n',
        s3("use_lockfile = var.lock"),
        'terraform {\n  backend "gcs" {\n    bucket = "b"\n  }\n}\n',
    ],
    ids=["lockfile", "table", "partial", "half", "unknown", "other"],
)
def test_a_locked_or_partial_s3_backend_is_left_alone(found: Found, text: str) -> None:
    assert found(text, "backend-s3-no-lock") == []


def test_the_lock_is_added_under_the_last_argument_and_aligned(fixed: Fixed) -> None:
    head = 'terraform {\n  backend "s3" {\n    bucket       = "b"\n'
    text = head + '    key          = "k" # the key\n\n    # more\n  }\n}\n'
    assert fixed(text, "backend-s3-no-lock")["main.tf"] == text.replace(
        "# the key\n", "# the key\n    use_lockfile = true\n"
    )


def test_the_lock_is_not_added_for_a_terraform_that_cannot_have_it(fixed: Fixed) -> None:
    text = 'terraform {\n  required_version = "~> 1.9.0"\n' + s3().removeprefix("terraform {\n")
    assert fixed(text, "backend-s3-no-lock")["main.tf"] == text


def test_the_lock_is_not_added_to_a_block_on_one_line(fixed: Fixed) -> None:
    text = 'terraform {\n  backend "s3" { bucket = "b" }\n}\n'.replace("bucket", 'key = "k"\nbucket')
    assert "use_lockfile" not in fixed(text, "backend-s3-no-lock")["main.tf"]


def test_windows_line_ends_stay(fixed: Fixed) -> None:
    text = s3().replace("\n", "\r\n")
    after = fixed(text, "backend-s3-no-lock")["main.tf"]
    assert "use_lockfile = true\r\n" in after
    assert "\n" not in after.replace("\r\n", "")


# backend-s3-dynamodb-deprecated, backend-s3-unencrypted


def test_the_old_lock_table_is_found_at_its_argument(found: Found) -> None:
    assert found(s3('dynamodb_table = "t"'), "backend-s3-dynamodb-deprecated") == [
        "main.tf:5:5 backend-s3-dynamodb-deprecated"
    ]
    assert found(s3("use_lockfile = true"), "backend-s3-dynamodb-deprecated") == []


def test_an_unencrypted_s3_backend_is_found(found: Found) -> None:
    assert found(s3(), "backend-s3-unencrypted") == ["main.tf:2:3 backend-s3-unencrypted"]
    assert found(s3("encrypt = false"), "backend-s3-unencrypted") == ["main.tf:5:5 backend-s3-unencrypted"]


@pytest.mark.parametrize("line", ["encrypt = true", 'kms_key_id = "arn"', 'sse_customer_key = "x"', "encrypt = var.e"])
def test_an_encrypted_s3_backend_is_left_alone(found: Found, line: str) -> None:
    assert found(s3(line), "backend-s3-unencrypted") == []


def test_encryption_is_switched_on_where_it_was_off(fixed: Fixed) -> None:
    after = fixed(s3("encrypt = false # why"), "backend-s3-unencrypted")["main.tf"]
    assert after == s3("encrypt = true # why")


# backend-credentials-in-config


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("s3", 'secret_key = "wJalrXUtnFEMI/K7MDENG"'),
        ("azurerm", 'access_key = "c2VjcmV0LXZhbHVl"'),
        ("http", 'password = "h7Wq2Zk9"'),
        ("pg", 'conn_str = "postgres://me:h7Wq2Zk9@db/terraform"'),
        ("http", 'address = "https://ci:h7Wq2Zk9@example.net/x"'),
    ],
)
def test_a_secret_in_a_backend_block_is_found(found: Found, kind: str, line: str) -> None:
    text = f'terraform {{\n  backend "{kind}" {{\n    {line}\n  }}\n}}\n'
    assert found(text, "backend-credentials-in-config") == ["main.tf:3:5 backend-credentials-in-config"]


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("s3", 'secret_key = "<your-secret>"'),
        ("s3", "secret_key = var.secret"),
        ("s3", 'secret_key = ""'),
        ("s3", 'secret_key = "minio-secret"\n    endpoint = "http://localhost:9000"'),
        ("s3", 'secret_key = "minio-secret"\n    endpoints = { s3 = "http://127.0.0.1:9000" }'),
        ("pg", 'conn_str = "postgres://db/terraform"'),
        ("http", 'address = "https://example.net/a@b:c"'),
        ("http", 'username = "ci"'),
    ],
)
def test_places_for_secrets_and_emulators_are_left_alone(found: Found, kind: str, lines: str) -> None:
    text = f'terraform {{\n  backend "{kind}" {{\n    {lines}\n  }}\n}}\n'
    assert found(text, "backend-credentials-in-config") == []


def test_no_message_shows_the_secret() -> None:
    from interlock.lint.catalogue import find_rule
    from interlock.lint.engine import Request, lint
    from interlock.source.tree import MemoryTree

    rule = find_rule("backend-credentials-in-config")
    assert rule is not None
    text = 'terraform {\n  backend "http" {\n    password = "h7Wq2Zk9"\n  }\n}\n'
    (item,) = lint(MemoryTree({"main.tf": text}), Request(rules=(rule,))).findings
    assert "h7Wq2Zk9" not in item.finding.message + item.finding.fix


# backend-key-shared


def test_the_second_root_with_a_key_is_found_at_the_key(found: Found) -> None:
    texts = {"a/main.tf": s3(), "b/main.tf": "# x\n" + s3()}
    assert found(texts, "backend-key-shared") == ["b/main.tf:5:5 backend-key-shared"]


@pytest.mark.parametrize(
    "other",
    [
        s3().replace('"k"', '"k2"'),
        s3().replace('"b"', '"b2"'),
        s3('workspace_key_prefix = "p"'),
        s3().replace('"k"', "var.key"),
        'terraform {\n  backend "s3" {\n    bucket = "b"\n  }\n}\n',
    ],
    ids=["key", "bucket", "prefix", "unknown", "partial"],
)
def test_states_that_differ_or_may_differ_are_left_alone(found: Found, other: str) -> None:
    assert found({"a/main.tf": s3(), "b/main.tf": other}, "backend-key-shared") == []


def test_other_backends_are_compared_by_what_names_their_state(found: Found) -> None:
    http = 'terraform {\n  backend "http" {\n    address = "https://example.net/x"\n  }\n}\n'
    gcs = 'terraform {\n  backend "gcs" {\n    bucket = "b"\n    prefix = "p"\n  }\n}\n'
    texts = {"a/a.tf": http, "b/b.tf": http, "c/c.tf": gcs, "d/d.tf": gcs, "e/e.tf": gcs.replace('"p"', '"q"')}
    assert found(texts, "backend-key-shared") == [
        "b/b.tf:3:5 backend-key-shared",
        "d/d.tf:3:5 backend-key-shared",
    ]


# lock-table-*


def table(*lines: str, name: str = "terraform-locks", label: str = "t") -> str:
    head = f'resource "aws_dynamodb_table" "{label}" {{\n  name = "{name}"\n'
    return head + "".join(f"  {line}\n" for line in lines) + "}\n"


KEY = 'attribute {\n    name = "LockID"\n    type = "S"\n  }'


def test_a_lock_table_with_another_key_is_found_at_the_key(found: Found) -> None:
    assert found(table('hash_key = "LockId"'), "lock-table-key") == ["main.tf:3:3 lock-table-key"]
    number = table('hash_key = "LockID"', KEY.replace('"S"', '"N"'))
    assert found(number, "lock-table-key") == ["main.tf:6:5 lock-table-key"]
    sort = table('hash_key = "LockID"', 'range_key = "x"')
    assert found(sort, "lock-table-key") == ["main.tf:4:3 lock-table-key"]


def test_a_table_that_a_backend_names_is_a_lock_table_whatever_its_name(found: Found) -> None:
    backend = s3('dynamodb_table = "mutex"')
    assert found(backend + table('hash_key = "id"', name="mutex"), "lock-table-key") == ["main.tf:10:3 lock-table-key"]
    assert found(table('hash_key = "id"', name="mutex"), "lock-table-key") == []


@pytest.mark.parametrize("name", ["platform-lock", "agent-state-locks", "orders", "blocklist-terraform"])
def test_tables_for_other_things_are_left_alone(found: Found, name: str) -> None:
    names = ("lock-table-key", "lock-table-provisioned", "lock-table-ttl")
    assert found(table('hash_key = "id"', "ttl {\n    enabled = true\n  }", name=name), *names) == []


@pytest.mark.parametrize("name", ["terraform-locks", "TerraformStateLock", "tf_lock", "acme.tflock", "tfstate-lock"])
def test_names_that_say_lock_and_terraform_are_lock_tables(found: Found, name: str) -> None:
    assert found(table('hash_key = "id"', name=name), "lock-table-key") == ["main.tf:3:3 lock-table-key"]


def test_the_key_and_its_attribute_are_renamed_together(fixed: Fixed) -> None:
    text = table('hash_key = "id"', KEY.replace("LockID", "id"))
    assert fixed(text, "lock-table-key")["main.tf"] == table('hash_key = "LockID"', KEY)


def test_a_provisioned_lock_table_is_found_where_it_says_so(found: Found) -> None:
    assert found(table('billing_mode = "PROVISIONED"'), "lock-table-provisioned") == [
        "main.tf:3:3 lock-table-provisioned"
    ]
    assert found(table("write_capacity = 1"), "lock-table-provisioned") == ["main.tf:3:3 lock-table-provisioned"]
    assert found(table('hash_key = "LockID"'), "lock-table-provisioned") == ["main.tf:1:1 lock-table-provisioned"]


@pytest.mark.parametrize("line", ['billing_mode = "PAY_PER_REQUEST"', "billing_mode = var.mode"])
def test_a_table_on_demand_or_of_unknown_mode_is_left_alone(found: Found, line: str) -> None:
    assert found(table(line), "lock-table-provisioned") == []


def test_a_default_that_is_provisioned_is_seen_through_a_variable(found: Found) -> None:
    text = table("billing_mode = var.mode") + 'variable "mode" {\n  default = "PROVISIONED"\n}\n'
    assert found(text, "lock-table-provisioned") == ["main.tf:3:3 lock-table-provisioned"]


def test_an_enabled_ttl_is_found_at_its_block(found: Found) -> None:
    text = table('hash_key = "LockID"', 'ttl {\n    attribute_name = "Expires"\n    enabled = true\n  }')
    assert found(text, "lock-table-ttl") == ["main.tf:4:3 lock-table-ttl"]
    assert found(text.replace("true", "false"), "lock-table-ttl") == []
    assert found(text.replace("true", "var.x"), "lock-table-ttl") == []


def test_the_ttl_goes_with_its_comment_and_the_rest_stays(fixed: Fixed) -> None:
    text = table("# a", "ttl {\n    enabled = true\n  } # never worked", "# b")
    assert fixed(text, "lock-table-ttl")["main.tf"] == table("# a", "# b")


def test_what_a_caller_sets_counts_and_not_the_default(found: Found) -> None:
    child = table("billing_mode = var.mode") + 'variable "mode" {\n  default = "PROVISIONED"\n}\n'
    call = 'module "m" {\n  source = "./m"\n  mode   = %s\n}\n'
    for value in ('"PAY_PER_REQUEST"', "var.x"):
        assert found({"main.tf": call % value, "m/main.tf": child}, "lock-table-provisioned") == []
    assert found({"main.tf": call % '"PROVISIONED"', "m/main.tf": child}, "lock-table-provisioned") == [
        "m/main.tf:3:3 lock-table-provisioned"
    ]


# state-bucket-*


BUCKET = 'resource "aws_s3_bucket" "s" {\n  bucket = "acme-terraform-state"\n}\n'


def versioning(bucket: str, status: str = '"Enabled"') -> str:
    return (
        f'resource "aws_s3_bucket_versioning" "v" {{\n  bucket = {bucket}\n'
        f"  versioning_configuration {{\n    status = {status}\n  }}\n}}\n"
    )


@pytest.mark.parametrize(
    "more",
    [
        "",
        versioning("aws_s3_bucket.s.id", '"Suspended"'),
        versioning("aws_s3_bucket.other.id"),
    ],
    ids=["none", "suspended", "of-another"],
)
def test_a_state_bucket_without_versions_is_found_at_its_header(found: Found, more: str) -> None:
    assert found(BUCKET + more, "state-bucket-unversioned") == ["main.tf:1:1 state-bucket-unversioned"]


@pytest.mark.parametrize(
    "text",
    [
        BUCKET + versioning("aws_s3_bucket.s.id"),
        BUCKET + versioning("aws_s3_bucket.s.bucket"),
        BUCKET + versioning('"acme-terraform-state"'),
        BUCKET + versioning("aws_s3_bucket.s.id", "var.status"),
        BUCKET + versioning("each.value"),
        BUCKET.replace("}", "  versioning {\n    enabled = true\n  }\n}"),
        BUCKET.replace("acme-terraform-state", "acme-recordings"),
        BUCKET.replace("acme-terraform-state", "application-state"),
    ],
    ids=["id", "bucket", "name", "unknown", "unclear", "inline", "other", "no-terraform"],
)
def test_versioned_unclear_and_other_buckets_are_left_alone(found: Found, text: str) -> None:
    assert found(text, "state-bucket-unversioned") == []


def test_a_bucket_that_a_backend_names_is_a_state_bucket(found: Found) -> None:
    text = s3() + 'resource "aws_s3_bucket" "x" {\n  bucket = "b"\n}\n'
    assert found(text, "state-bucket-unversioned") == ["main.tf:7:1 state-bucket-unversioned"]


def test_a_public_acl_is_found_where_it_stands(found: Found) -> None:
    inline = BUCKET.replace("}", '  acl = "public-read"\n}')
    assert found(inline, "state-bucket-public") == ["main.tf:3:3 state-bucket-public"]
    apart = 'resource "aws_s3_bucket_acl" "a" {\n  bucket = aws_s3_bucket.s.id\n  acl    = "public-read"\n}\n'
    assert found(BUCKET + apart, "state-bucket-public") == ["main.tf:6:3 state-bucket-public"]
    assert found(BUCKET + apart.replace("public-read", "private"), "state-bucket-public") == []


def test_each_open_switch_is_found(found: Found, fixed: Fixed) -> None:
    block = (
        'resource "aws_s3_bucket_public_access_block" "p" {\n  bucket = aws_s3_bucket.s.id\n'
        "  block_public_acls = false\n  block_public_policy = true\n  ignore_public_acls = false\n}\n"
    )
    assert found(BUCKET + block, "state-bucket-public") == [
        "main.tf:6:3 state-bucket-public",
        "main.tf:8:3 state-bucket-public",
    ]
    assert fixed(BUCKET + block, "state-bucket-public")["main.tf"] == BUCKET + block.replace("false", "true")


TABLE = 'resource "aws_dynamodb_table" "t" {{\n  name = "{name}"\n  hash_key = "{key}"\n}}\n'


@pytest.mark.parametrize(
    ("texts", "fires"),
    [
        ({"main.tf": TABLE.format(name="acme-locks", key="id")}, False),
        ({"main.tf": TABLE.format(name="acme-locks", key="LockId")}, True),
        ({"main.tf": TABLE.format(name="acmetfstatelocks", key="id")}, True),
        ({"main.tf": TABLE.format(name="terraform-state", key="id")}, True),
        ({"main.tf": TABLE.format(name="acme-locks", key="id") + 'resource "aws_s3_bucket" "tfstate" {}\n'}, True),
        (
            {
                "main.tf": TABLE.format(name="acme-locks", key="id"),
                ".gitlab-ci.yml": "a: {script: [terraform init -backend-config=dynamodb_table=acme-locks]}\n",
            },
            True,
        ),
        ({"main.tf": TABLE.format(name="shedlock", key="id")}, False),
    ],
)
def test_a_lock_table_is_known_without_a_backend_that_names_it(
    found: Found, texts: dict[str, str], fires: bool
) -> None:
    assert bool(found(texts, "lock-table-key")) is fires


@pytest.mark.parametrize("hole", ["$application_name", "{{ name }}", "__NAME__", "<name>"])
def test_a_template_of_a_backend_shares_no_state(found: Found, hole: str) -> None:
    backend = 'terraform {{\n  backend "s3" {{\n    bucket = "b"\n    key = "{key}"\n  }}\n}}\n'
    texts = {f"{name}/main.tf": backend.format(key=hole) for name in ("a", "b")}
    assert found(texts, "backend-key-shared") == []
    assert found({path: backend.format(key="k") for path in texts}, "backend-key-shared") != []


@pytest.mark.parametrize(
    "more", ['resource "aws_s3_bucket" "tfstate" {}\n', 'provider "tfe" {\n  organization = "acme"\n}\n']
)
def test_what_makes_the_store_or_manages_hcp_need_not_have_a_backend(found: Found, more: str) -> None:
    bare = 'provider "aws" {}\nresource "aws_s3_bucket" "x" {}\n'
    assert found(bare, "backend-missing") != []
    assert found(bare + more, "backend-missing") == []
