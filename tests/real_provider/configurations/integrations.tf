resource "genesyscloud_integration_credential" "c" {
  name                 = "V1 cred"
  credential_type_name = "basicAuth"
  fields = {
    userName = "robot"
    password = "not-a-real-secret"
  }
}
resource "genesyscloud_integration" "i" {
  intended_state   = "DISABLED"
  integration_type = "custom-rest-actions"
  config {
    name       = "V1 rest"
    notes      = "v1 notes"
    properties = jsonencode({})
    advanced   = jsonencode({})
    credentials = {
      basicAuth = genesyscloud_integration_credential.c.id
    }
  }
}
resource "genesyscloud_integration_action" "a" {
  name            = "V1 action"
  category        = "Status"
  integration_id  = genesyscloud_integration.i.id
  contract_input  = jsonencode({ type = "object", properties = { q = { type = "string" } } })
  contract_output = jsonencode({ type = "object", properties = { s = { type = "string" } } })
  config_request {
    request_url_template = "https://api.example.com/status"
    request_type         = "GET"
    request_template     = "$${input.rawRequest}"
    headers = {
      Cache-Control = "no-cache"
    }
  }
  config_response {
    success_template = "$${rawResult}"
  }
}
# Of credentials the provider exports only those that are named after an integration.
resource "genesyscloud_integration" "named" {
  intended_state   = "DISABLED"
  integration_type = "custom-rest-actions"
  config {
    name       = "V1 named"
    properties = jsonencode({})
    advanced   = jsonencode({})
  }
}
resource "genesyscloud_integration_credential" "named" {
  name                 = "Integration-${genesyscloud_integration.named.id}"
  credential_type_name = "basicAuth"
  fields = {
    userName = "robot"
    password = "not-a-real-secret"
  }
}
