locals {
  skills = {
    billing  = "Billing"
    cards    = "Cards"
    loans    = "Loans"
    orders   = "Orders"
    returns  = "Returns"
    disputes = "Disputes"
  }

  languages = {
    english = "English - Written"
    spanish = "Spanish - Spoken"
  }
}

resource "genesyscloud_routing_skill" "this" {
  for_each = local.skills

  name = each.value
}

resource "genesyscloud_routing_skill" "seasonal" {
  for_each = var.seasonal_skills

  name = "Seasonal ${each.value}"
}

resource "genesyscloud_routing_language" "this" {
  for_each = local.languages

  name = each.value
}
