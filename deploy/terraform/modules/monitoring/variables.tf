variable "project" {
  description = "The service's project."
  type        = string
}

variable "project_number" {
  description = "The project's number, which is part of the service's address and of Google's own accounts."
  type        = string
}

variable "region" {
  description = "The service's region."
  type        = string
}

variable "service" {
  description = "The service's name."
  type        = string
}

variable "instances" {
  description = "The fewest and the most instances."
  type        = object({ min = number, max = number })
}

variable "emails" {
  description = "Addresses that alerts are sent to."
  type        = list(string)
}
