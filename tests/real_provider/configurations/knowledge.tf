resource "genesyscloud_knowledge_knowledgebase" "k" {
  name          = "V1 base"
  description   = "v1 d"
  core_language = "en-US"
}
resource "genesyscloud_knowledge_category" "c" {
  knowledge_base_id = genesyscloud_knowledge_knowledgebase.k.id
  knowledge_category {
    name        = "V1 category"
    description = "v1 d"
  }
}
resource "genesyscloud_knowledge_label" "l" {
  knowledge_base_id = genesyscloud_knowledge_knowledgebase.k.id
  knowledge_label {
    name  = "V1 label"
    color = "#0F0F0F"
  }
}
resource "genesyscloud_responsemanagement_library" "l" {
  name = "V1 library"
}
resource "genesyscloud_responsemanagement_response" "r" {
  name             = "V1 response"
  library_ids      = [genesyscloud_responsemanagement_library.l.id]
  interaction_type = "chat"
  texts {
    content      = "v1 text"
    content_type = "text/plain"
  }
  substitutions {
    id            = "greeting"
    description   = "d"
    default_value = "v"
  }
}
