"""The configurations that guides for this provider commonly show, described and written anew."""

from collections.abc import Callable

BACKEND_GUIDE = """\
terraform {
  backend "s3" {
    bucket         = "company-terraform-state"
    key            = "genesys-cloud/terraform.tfstate"
    region         = "us-east-1"
    dynamodb_table = "terraform-state-lock"
  }
}

resource "aws_s3_bucket" "terraform_state" {
  bucket = "company-terraform-state"
}

resource "aws_dynamodb_table" "terraform_locks" {
  name           = "terraform-state-lock"
  billing_mode   = "PROVISIONED"
  read_capacity  = 5
  write_capacity = 5
  hash_key       = "LockID"

  attribute {
    name = "LockID"
    type = "S"
  }

  ttl {
    attribute_name = "ExpirationTime"
    enabled        = true
  }
}
"""

PROVIDER_GUIDE = """\
terraform {
  backend "http" {}
  required_providers {
    genesyscloud = {
      source  = "hashicorp/genesyscloud"
      version = "~> 1.10"
    }
  }
}

provider "genesyscloud" {
  oauthclient_id     = var.client_id
  oauthclient_secret = var.client_secret
  refresh_token      = var.refresh_token
  base_url           = "https://api.mypurecloud.com"

  concurrency        = 5
  retry_max_attempts = 10
  retry_sleep_ms     = 1000
}
"""


def test_the_guide_with_a_dynamodb_table_and_ttl(found: Callable[..., list[str]]) -> None:
    assert found(BACKEND_GUIDE) == [
        "main.tf:2:3 backend-s3-unencrypted",
        "main.tf:6:5 backend-s3-dynamodb-deprecated",
        "main.tf:10:1 state-bucket-unversioned",
        "main.tf:16:3 lock-table-provisioned",
        "main.tf:26:3 lock-table-ttl",
    ]


def test_the_guide_with_invented_provider_arguments(found: Callable[..., list[str]]) -> None:
    assert found(PROVIDER_GUIDE) == [
        "main.tf:5:17 provider-source",
        "main.tf:14:3 provider-unknown-argument",
        "main.tf:15:3 provider-unknown-argument",
        "main.tf:17:3 provider-unknown-argument",
        "main.tf:18:3 provider-unknown-argument",
        "main.tf:19:3 provider-unknown-argument",
    ]


def test_fix_leaves_of_the_backend_guide_what_only_people_can_decide(
    found: Callable[..., list[str]], fixed: Callable[..., dict[str, str]]
) -> None:
    names = ("backend-s3-unencrypted", "lock-table-provisioned", "lock-table-ttl")
    after = fixed(BACKEND_GUIDE, *names)
    assert found(after) == [
        "main.tf:6:5 backend-s3-dynamodb-deprecated",
        "main.tf:11:1 state-bucket-unversioned",
    ]
    assert after["main.tf"] == BACKEND_GUIDE.replace(
        '    dynamodb_table = "terraform-state-lock"\n',
        '    dynamodb_table = "terraform-state-lock"\n    encrypt        = true\n',
    ).replace('"PROVISIONED"', '"PAY_PER_REQUEST"').replace("  read_capacity  = 5\n  write_capacity = 5\n", "").replace(
        '\n  ttl {\n    attribute_name = "ExpirationTime"\n    enabled        = true\n  }\n', ""
    )


def test_fix_takes_the_invented_arguments_away(fixed: Callable[..., dict[str, str]]) -> None:
    after = fixed(PROVIDER_GUIDE, "provider-source", "provider-unknown-argument")["main.tf"]
    assert '"mypurecloud/genesyscloud"' in after
    assert after.endswith("  oauthclient_id     = var.client_id\n  oauthclient_secret = var.client_secret\n\n}\n")


# Public blueprints, described: what their root modules have in common, written anew.
# GenesysCloudBlueprints ani-blacklist, negative-sentiment-callback, switch-voice-to-web-messaging (read 2026-11-24):
# one folder `terraform/` with a provider file that names the right source, gives no version and switches debugging on,
# a main file that calls local modules for queues, flows and data actions, and no backend.

BLUEPRINT = {
    "terraform/provider.tf": """\
terraform {
  required_version = ">= 1.0.0"
  required_providers {
    genesyscloud = {
      source = "mypurecloud/genesyscloud"
    }
  }
}

provider "genesyscloud" {
  sdk_debug = true
}
""",
    "terraform/main.tf": """\
module "queue" {
  source = "./modules/queue"
  name   = "Callback"
}

module "flow" {
  source     = "./modules/flow"
  queue_name = module.queue.name
}
""",
    "terraform/modules/queue/main.tf": """\
terraform {
  required_providers {
    genesyscloud = {
      source = "mypurecloud/genesyscloud"
    }
  }
}

variable "name" {
  type = string
}

resource "genesyscloud_routing_queue" "queue" {
  name = var.name
}

output "name" {
  value = genesyscloud_routing_queue.queue.name
}
""",
    "terraform/modules/flow/main.tf": """\
terraform {
  required_providers {
    genesyscloud = {
      source = "mypurecloud/genesyscloud"
    }
  }
}

variable "queue_name" {
  type = string
}

resource "genesyscloud_flow" "flow" {
  filepath          = "${path.module}/flow.yaml"
  file_content_hash = filesha256("${path.module}/flow.yaml")
  substitutions = {
    queue_name = var.queue_name
  }
}
""",
}


def test_what_public_blueprints_have_in_common(found: Callable[..., list[str]]) -> None:
    assert found(BLUEPRINT) == [
        "terraform/modules/queue/main.tf:13:1 force-deleted",
        "terraform/provider.tf:1:1 backend-missing",
        "terraform/provider.tf:4:5 provider-version",
        "terraform/provider.tf:11:3 provider-sdk-debug",
    ]


def test_a_careful_repository_has_no_findings(found: Callable[..., list[str]]) -> None:
    careful = {
        **BLUEPRINT,
        "terraform/provider.tf": BLUEPRINT["terraform/provider.tf"]
        .replace("terraform {\n", 'terraform {\n  backend "http" {}\n', 1)
        .replace('genesyscloud"\n    }', 'genesyscloud"\n      version = "~> 1.84"\n    }')
        .replace("  sdk_debug = true\n", ""),
        "terraform/modules/queue/main.tf": BLUEPRINT["terraform/modules/queue/main.tf"].replace(
            "  name = var.name\n", "  name = var.name\n\n  lifecycle {\n    prevent_destroy = true\n  }\n"
        ),
        "bootstrap/main.tf": """\
terraform {
  backend "s3" {
    bucket       = "acme-terraform-state"
    key          = "bootstrap.tfstate"
    region       = "eu-central-1"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = "eu-central-1"
}

resource "aws_s3_bucket" "state" {
  bucket = "acme-terraform-state"
}

resource "aws_s3_bucket_versioning" "state" {
  bucket = aws_s3_bucket.state.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_public_access_block" "state" {
  bucket                  = aws_s3_bucket.state.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}
""",
    }
    assert found(careful) == []
