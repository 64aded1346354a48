terraform {
  required_version = ">= 1.5"

  required_providers {
    genesyscloud = {
      source  = "mypurecloud/genesyscloud"
      version = ">= 1.77.0"
    }
  }
}

# Credentials, region and gateway come from the environment (GENESYSCLOUD_*), never from files.
provider "genesyscloud" {
  gateway {}
}
