resource "genesyscloud_auth_division" "d" {
  name        = "V1 division"
  description = "v1 d"
}
resource "genesyscloud_routing_language" "l" {
  name = "Klingon"
}
resource "genesyscloud_routing_skill" "b" {
  name = "Fractions"
}
resource "genesyscloud_user" "b" {
  email       = "base@example.com"
  name        = "V1 base user"
  division_id = genesyscloud_auth_division.d.id
  routing_skills {
    skill_id    = genesyscloud_routing_skill.b.id
    proficiency = 2.5
  }
  routing_languages {
    language_id = genesyscloud_routing_language.l.id
    proficiency = 3
  }
}
resource "genesyscloud_architect_schedules" "s" {
  name        = "V1 schedule"
  description = "v1 d"
  start       = "2026-08-04T08:00:00.000000"
  end         = "2026-08-04T17:00:00.000000"
  rrule       = "FREQ=DAILY;INTERVAL=1"
}
resource "genesyscloud_architect_schedulegroups" "g" {
  name              = "V1 schedule group"
  description       = "v1 d"
  time_zone         = "Europe/Berlin"
  open_schedules_id = [genesyscloud_architect_schedules.s.id]
}
resource "genesyscloud_architect_datatable" "t" {
  name        = "V1 table"
  description = "v1 d"
  properties {
    name = "key"
    type = "string"
  }
  properties {
    name  = "rate"
    type  = "number"
    title = "Rate"
  }
}
resource "genesyscloud_architect_datatable_row" "r" {
  datatable_id = genesyscloud_architect_datatable.t.id
  key_value    = "standard"
  properties_json = jsonencode({
    rate = 1.5
  })
}
resource "genesyscloud_architect_ivr" "i" {
  name              = "V1 ivr"
  description       = "v1 d"
  schedule_group_id = genesyscloud_architect_schedulegroups.g.id
}
resource "genesyscloud_group" "b" {
  name        = "V1 base group"
  description = "v1 d"
  owner_ids   = [genesyscloud_user.b.id]
  member_ids  = [genesyscloud_user.b.id]
}
resource "genesyscloud_routing_queue" "b" {
  name        = "V1 base queue"
  description = "v1 d"
  division_id = genesyscloud_auth_division.d.id
  members {
    user_id  = genesyscloud_user.b.id
    ring_num = 1
  }
}
