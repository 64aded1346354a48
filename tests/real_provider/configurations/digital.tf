resource "genesyscloud_webdeployments_configuration" "c" {
  name             = "V1 config"
  description      = "v1 d"
  languages        = ["en-us"]
  default_language = "en-us"
  messenger {
    enabled = true
    launcher_button {
      visibility = "OnDemand"
    }
    styles {
      primary_color = "#204080"
    }
  }
}
resource "genesyscloud_webdeployments_deployment" "d" {
  name            = "V1 deployment"
  description     = "v1 d"
  allowed_domains = ["example.com"]
  configuration {
    id      = genesyscloud_webdeployments_configuration.c.id
    version = genesyscloud_webdeployments_configuration.c.version
  }
}
resource "genesyscloud_journey_segment" "s" {
  display_name            = "V1 segment"
  color                   = "#804020"
  should_display_to_agent = false
  journey {
    patterns {
      criteria {
        key                = "page.hostname"
        values             = ["shop.example.com"]
        operator           = "equal"
        should_ignore_case = false
      }
      count        = 1
      stream_type  = "Web"
      session_type = "web"
      event_name   = "visited"
    }
  }
}
resource "genesyscloud_journey_outcome" "o" {
  is_active    = true
  display_name = "V1 outcome"
  description  = "v1 d"
  is_positive  = true
  journey {
    patterns {
      criteria {
        key                = "page.title"
        values             = ["Order"]
        operator           = "notEqual"
        should_ignore_case = true
      }
      count        = 1
      stream_type  = "Web"
      session_type = "web"
    }
  }
}
