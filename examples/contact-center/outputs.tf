output "queue_ids" {
  description = "Queue name to id."
  value       = { for queue in genesyscloud_routing_queue.this : queue.name => queue.id }
}

output "agent_count" {
  description = "Number of agents."
  value       = length(genesyscloud_user.agent)
}

output "greeting_round" {
  description = "The round that is live."
  value       = var.greeting_round
}
