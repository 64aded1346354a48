resource "genesyscloud_task_management_workbin" "w" {
  name        = "V1 workbin"
  description = "v1 d"
}
resource "genesyscloud_task_management_workitem_schema" "s" {
  name        = "V1 schema"
  description = "v1 d"
  enabled     = true
  properties = jsonencode({
    custom_text = {
      allOf       = [{ "$ref" = "#/definitions/text" }]
      title       = "custom"
      description = "d"
      minLength   = 0
      maxLength   = 100
    }
  })
}
resource "genesyscloud_task_management_worktype" "t" {
  name               = "V1 worktype"
  description        = "v1 d"
  default_workbin_id = genesyscloud_task_management_workbin.w.id
  schema_id          = genesyscloud_task_management_workitem_schema.s.id
  schema_version     = 1
  default_priority   = 100
  assignment_enabled = true
}
resource "genesyscloud_task_management_worktype_status" "s" {
  worktype_id = genesyscloud_task_management_worktype.t.id
  name        = "V1 status"
  category    = "Open"
  description = "v1 d"
}
