locals {
  # login = [name, title, division, skills with proficiency, languages]
  agents = {
    "ana.silva"     = { name = "Ana Silva", division = "retail", skills = { orders = 5, returns = 4 }, languages = ["spanish"] }
    "ben.okafor"    = { name = "Ben Okafor", division = "retail", skills = { orders = 4 }, languages = ["english"] }
    "chloe.martin"  = { name = "Chloe Martin", division = "retail", skills = { returns = 5 }, languages = ["english"] }
    "dario.rossi"   = { name = "Dario Rossi", division = "retail", skills = { orders = 3, returns = 3 }, languages = [] }
    "emi.tanaka"    = { name = "Emi Tanaka", division = "retail", skills = { orders = 5, billing = 2 }, languages = ["english"] }
    "farid.haddad"  = { name = "Farid Haddad", division = "retail", skills = { returns = 2 }, languages = [] }
    "grace.lee"     = { name = "Grace Lee", division = "banking", skills = { cards = 5, disputes = 4 }, languages = ["english"] }
    "hugo.lopez"    = { name = "Hugo Lopez", division = "banking", skills = { cards = 4 }, languages = ["spanish"] }
    "ines.dubois"   = { name = "Ines Dubois", division = "banking", skills = { loans = 5, billing = 3 }, languages = [] }
    "jonas.berg"    = { name = "Jonas Berg", division = "banking", skills = { loans = 4 }, languages = ["english"] }
    "kemal.yildiz"  = { name = "Kemal Yildiz", division = "banking", skills = { disputes = 5 }, languages = [] }
    "lena.novakova" = { name = "Lena Novakova", division = "banking", skills = { cards = 3, loans = 3 }, languages = ["english", "spanish"] }
  }

  divisions = {
    retail  = genesyscloud_auth_division.retail.id
    banking = genesyscloud_auth_division.banking.id
  }
}

resource "genesyscloud_user" "agent" {
  for_each = local.agents

  email       = "${each.key}@${var.mail_domain}"
  name        = each.value.name
  title       = "Agent"
  department  = title(each.value.division)
  division_id = local.divisions[each.value.division]

  dynamic "routing_skills" {
    for_each = each.value.skills

    content {
      skill_id    = genesyscloud_routing_skill.this[routing_skills.key].id
      proficiency = routing_skills.value
    }
  }

  dynamic "routing_languages" {
    for_each = toset(each.value.languages)

    content {
      language_id = genesyscloud_routing_language.this[routing_languages.value].id
      proficiency = 4
    }
  }
}

resource "genesyscloud_group" "supervisors" {
  name        = "Supervisors"
  description = "May listen in and change queues"
  visibility  = "members"

  member_ids = [
    genesyscloud_user.agent["ana.silva"].id,
    genesyscloud_user.agent["grace.lee"].id,
  ]
}
