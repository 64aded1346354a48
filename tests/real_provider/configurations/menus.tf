resource "genesyscloud_architect_user_prompt" "p" {
  name        = "Greeting_prompt"
  description = "v1 d"
  resources {
    language   = "en-us"
    tts_string = "v1 hello"
    text       = "v1 hello"
  }
}
resource "genesyscloud_architect_user_prompt" "sound" {
  name        = "Sound_prompt"
  description = "v1 d"
  resources {
    language          = "en-us"
    text              = "v1 hello"
    filename          = "${path.module}/hello.wav"
    file_content_hash = filesha256("${path.module}/hello.wav")
  }
  resources {
    language   = "de-de"
    tts_string = "v1 hallo"
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
