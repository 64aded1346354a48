locals {
  wrapup_codes = {
    resolved  = "Resolved"
    callback  = "Callback agreed"
    escalated = "Escalated"
    fraud     = "Fraud suspected"
  }

  queues = {
    orders = {
      name     = "Orders"
      division = "retail"
      members  = ["ana.silva", "ben.okafor", "emi.tanaka"]
      codes    = ["resolved", "callback"]
    }
    returns = {
      name     = "Returns"
      division = "retail"
      members  = ["chloe.martin", "dario.rossi", "farid.haddad"]
      codes    = ["resolved", "escalated"]
    }
    cards = {
      name     = "Cards"
      division = "banking"
      members  = ["grace.lee", "hugo.lopez", "kemal.yildiz"]
      codes    = ["resolved", "escalated", "fraud"]
    }
    loans = {
      name     = "Loans"
      division = "banking"
      members  = ["ines.dubois", "jonas.berg", "lena.novakova"]
      codes    = ["resolved", "callback"]
    }
  }
}

resource "genesyscloud_routing_wrapupcode" "this" {
  for_each = local.wrapup_codes

  name = each.value
}

resource "genesyscloud_routing_queue" "this" {
  for_each = local.queues

  name                    = each.value.name
  description             = "${each.value.name}, greeting round ${var.greeting_round}"
  division_id             = local.divisions[each.value.division]
  acw_wrapup_prompt       = "MANDATORY_TIMEOUT"
  acw_timeout_ms          = 120000
  skill_evaluation_method = "BEST"
  wrapup_codes            = [for code in each.value.codes : genesyscloud_routing_wrapupcode.this[code].id]

  media_settings_call {
    alerting_timeout_sec      = 20
    service_level_percentage  = 0.8
    service_level_duration_ms = 20000
  }

  dynamic "members" {
    for_each = toset(each.value.members)

    content {
      user_id  = genesyscloud_user.agent[members.value].id
      ring_num = 1
    }
  }
}
