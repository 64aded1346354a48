resource "genesyscloud_auth_division" "retail" {
  name        = "Retail"
  description = "Shops and online orders"
}

resource "genesyscloud_auth_division" "banking" {
  name        = "Banking"
  description = "Accounts, cards and loans"
}
