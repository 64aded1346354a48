resource "genesyscloud_outbound_attempt_limit" "a" {
  name                     = "V1 limit"
  max_attempts_per_contact = 5
  max_attempts_per_number  = 5
  time_zone_id             = "Etc/GMT"
  reset_period             = "TODAY"
  recall_entries {
    busy {
      nbr_attempts             = 1
      minutes_between_attempts = 12
    }
  }
}
resource "genesyscloud_outbound_contact_list" "c" {
  name             = "V1 list"
  column_names     = ["First", "Cell", "Region"]
  attempt_limit_id = genesyscloud_outbound_attempt_limit.a.id
  phone_columns {
    column_name = "Cell"
    type        = "cell"
  }
}
resource "genesyscloud_outbound_callabletimeset" "t" {
  name = "V1 times"
  callable_times {
    time_slots {
      start_time = "07:00:00"
      stop_time  = "18:00:00"
      day        = 3
    }
    time_zone_id = "Europe/Berlin"
  }
}
resource "genesyscloud_outbound_callanalysisresponseset" "r" {
  name                   = "V1 responses"
  beep_detection_enabled = false
  responses {
    callable_person {
      name          = "transfer"
      reaction_type = "transfer"
    }
  }
}
resource "genesyscloud_outbound_dnclist" "d" {
  name            = "V1 dnc"
  dnc_source_type = "rds"
  contact_method  = "Phone"
  entries {
    expiration_date = "2030-01-01T00:00Z"
    phone_numbers   = ["+13175550101"]
  }
}
resource "genesyscloud_outbound_contactlistfilter" "f" {
  name            = "V1 filter"
  contact_list_id = genesyscloud_outbound_contact_list.c.id
  filter_type     = "AND"
  clauses {
    filter_type = "AND"
    predicates {
      column      = "Region"
      column_type = "alphabetic"
      operator    = "EQUALS"
      value       = "North"
    }
  }
}
resource "genesyscloud_outbound_ruleset" "rs" {
  name            = "V1 ruleset"
  contact_list_id = genesyscloud_outbound_contact_list.c.id
  rules {
    name     = "Skip north"
    order    = 0
    category = "DIALER_PRECALL"
    conditions {
      type           = "contactAttributeCondition"
      attribute_name = "Region"
      value          = "9"
      value_type     = "STRING"
      operator       = "EQUALS"
    }
    actions {
      type             = "Action"
      action_type_name = "DO_NOT_DIAL"
    }
  }
}
resource "genesyscloud_routing_queue" "oq" {
  name = "Outbound queue"
}
resource "genesyscloud_outbound_campaign" "c" {
  name                          = "V1 campaign"
  dialing_mode                  = "agentless"
  caller_name                   = "v1 caller"
  caller_address                = "+15035550199"
  outbound_line_count           = 2
  contact_list_id               = genesyscloud_outbound_contact_list.c.id
  call_analysis_response_set_id = genesyscloud_outbound_callanalysisresponseset.r.id
  callable_time_set_id          = genesyscloud_outbound_callabletimeset.t.id
  dnc_list_ids                  = [genesyscloud_outbound_dnclist.d.id]
  rule_set_ids                  = [genesyscloud_outbound_ruleset.rs.id]
  contact_list_filter_ids       = [genesyscloud_outbound_contactlistfilter.f.id]
  phone_columns {
    column_name = "Cell"
  }
}
resource "genesyscloud_outbound_sequence" "s" {
  name         = "V1 sequence"
  campaign_ids = [genesyscloud_outbound_campaign.c.id]
}
resource "genesyscloud_outbound_filespecificationtemplate" "t" {
  name                           = "V1 template"
  description                    = "v1 d"
  format                         = "Delimited"
  delimiter                      = "Comma"
  header                         = true
  number_of_header_lines_skipped = 0
  column_information {
    column_name   = "Address"
    column_number = 0
  }
}
resource "genesyscloud_outbound_contact_list_template" "t" {
  name         = "V1 clt"
  column_names = ["Cell", "Name"]
  phone_columns {
    column_name = "Cell"
    type        = "cell"
  }
}
