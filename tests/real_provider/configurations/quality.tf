resource "genesyscloud_quality_forms_evaluation" "e" {
  name      = "V1 evaluation"
  published = true
  question_groups {
    name   = "Group 1"
    weight = 1
    questions {
      text = "v1 question"
      answer_options {
        text  = "Yes"
        value = 1
      }
      answer_options {
        text  = "No"
        value = 0
      }
    }
  }
}
resource "genesyscloud_quality_forms_survey" "s" {
  name     = "V1 survey"
  language = "en-US"
  header   = "v1 h"
  footer   = "f"
  question_groups {
    name       = "Group 1"
    na_enabled = false
    questions {
      text                    = "v1 recommend?"
      type                    = "multipleChoiceQuestion"
      na_enabled              = false
      max_response_characters = 100
      answer_options {
        text  = "Yes"
        value = 1
      }
      answer_options {
        text  = "No"
        value = 0
      }
    }
  }
}
resource "genesyscloud_recording_media_retention_policy" "p" {
  name        = "V1 policy"
  order       = 1
  description = "v1 d"
  enabled     = true
  media_policies {
    call_policy {
      actions {
        retain_recording = true
        delete_recording = false
        always_delete    = false
        retention_duration {
          delete_retention {
            days = 3
          }
        }
      }
      conditions {
        directions = ["INBOUND"]
      }
    }
  }
}
