# interlock:ignore backend-missing: interlock apply keeps this state; plain Terraform would want a backend here
terraform {
  required_version = ">= 1.5"

  required_providers {
    genesyscloud = {
      source  = "mypurecloud/genesyscloud"
      version = "~> 1.77"
    }
  }
}

# Credentials, region and gateway come from the environment (GENESYSCLOUD_*), never from files.
provider "genesyscloud" {
  gateway {}
}
