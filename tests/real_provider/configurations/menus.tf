resource "genesyscloud_architect_user_prompt" "p" {
  name        = "Greeting_prompt"
  description = "v1 d"
  resources {
    language   = "en-us"
    tts_string = "v1 hello"
    text       = "v1 hello"
  }
}
resource "genesyscloud_architect_emergencygroup" "e" {
  name        = "V1 Emergency"
  description = "v1 d"
  enabled     = false
}
resource "genesyscloud_flow_outcome" "o" {
  name        = "V1 outcome"
  description = "v1 d"
}
resource "genesyscloud_flow_milestone" "m" {
  name        = "V1 milestone"
  description = "v1 d"
}
