resource "genesyscloud_routing_skill" "s" {
  name = "Claims"
}
resource "genesyscloud_routing_skill_group" "sg" {
  name        = "V1 SG"
  description = "v1 d"
  skill_conditions = jsonencode([{
    routingSkillConditions  = [{ routingSkill = "Claims", comparator = "GreaterThan", proficiency = 2, childConditions = [{ routingSkillConditions = [], languageSkillConditions = [], operation = "And" }] }]
    languageSkillConditions = []
    operation               = "And"
  }])
  depends_on = [genesyscloud_routing_skill.s]
}
resource "genesyscloud_routing_utilization_label" "l" {
  name = "V1 Label"
}
resource "genesyscloud_routing_email_domain" "d" {
  domain_id = "interlock-demo"
  subdomain = true
}
resource "genesyscloud_routing_queue" "q" {
  name = "V1 Queue"
}
resource "genesyscloud_routing_email_route" "r" {
  domain_id  = genesyscloud_routing_email_domain.d.id
  pattern    = "support"
  from_name  = "V1 Support"
  from_email = "support@interlock-demo.example.com"
  queue_id   = genesyscloud_routing_queue.q.id
  priority   = 3
}
resource "genesyscloud_routing_wrapupcode" "w" {
  name = "V1 code"
}
