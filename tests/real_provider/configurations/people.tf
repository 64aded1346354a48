resource "genesyscloud_auth_role" "r" {
  name        = "V1 Role"
  description = "v1 d"
  permissions = ["group_creation"]
  permission_policies {
    domain      = "directory"
    entity_name = "user"
    action_set  = ["add", "edit"]
  }
}
resource "genesyscloud_user" "u" {
  email = "one@example.com"
  name  = "V1 User"
}
resource "genesyscloud_user_roles" "ur" {
  user_id = genesyscloud_user.u.id
  roles {
    role_id = genesyscloud_auth_role.r.id
  }
}
resource "genesyscloud_group" "g" {
  name      = "V1 Group"
  owner_ids = [genesyscloud_user.u.id]
}
resource "genesyscloud_group_roles" "gr" {
  group_id = genesyscloud_group.g.id
  roles {
    role_id = genesyscloud_auth_role.r.id
  }
}
resource "genesyscloud_location" "l" {
  name  = "V1 Location"
  notes = "v1 n"
  address {
    street1  = "1 Harbour Street"
    city     = "Portland"
    state    = "OR"
    country  = "US"
    zip_code = "97204"
  }
  emergency_number {
    number = "+15035550100"
    type   = "default"
  }
}
resource "genesyscloud_team" "t" {
  name        = "V1 Team"
  description = "v1 d"
  division_id = data.genesyscloud_auth_division_home.home.id
  member_ids  = [genesyscloud_user.u.id]
}
data "genesyscloud_auth_division_home" "home" {}
resource "genesyscloud_oauth_client" "c" {
  name                          = "V1 Client"
  description                   = "v1 d"
  access_token_validity_seconds = 600
  authorized_grant_type         = "CLIENT-CREDENTIALS"
  state                         = "active"
  roles {
    role_id     = genesyscloud_auth_role.r.id
    division_id = data.genesyscloud_auth_division_home.home.id
  }
}
