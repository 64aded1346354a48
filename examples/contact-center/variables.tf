variable "greeting_round" {
  description = "Which round of greeting texts the queues carry. Raise it to make a change that is real but harmless."
  type        = number
  default     = 1

  validation {
    condition     = var.greeting_round >= 1 && floor(var.greeting_round) == var.greeting_round
    error_message = "The round is a whole number, 1 or more."
  }
}

variable "mail_domain" {
  description = "Mail domain of the agents."
  type        = string
  default     = "example.com"
}

variable "seasonal_skills" {
  description = "Skills that exist only for a while, such as a campaign's; each becomes a routing skill."
  type        = set(string)
  default     = []
}
