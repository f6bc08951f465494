variable "project" {
  description = "The Google Cloud project; `make deploy` calls it PROJECT."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project's id, such as my-project."
  }
}

variable "region" {
  description = "The region of service, images and data; `make deploy` calls it REGION."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region, such as europe-west1."
  }
}

variable "service_deployed" {
  description = "Whether `make deploy` has made the service: only then can callers be let in and can it be watched."
  type        = bool
  default     = false
}

variable "invokers" {
  description = "Who may call the service, such as user:ann@example.com; allUsers opens it, and the API keys decide."
  type        = list(string)
  default     = []
}

variable "data_users" {
  description = "Who may read and write the bucket of pictures and archives, such as group:training@example.com."
  type        = list(string)
  default     = []
}

variable "alert_emails" {
  description = "Addresses that alerts are sent to; without one they are only shown in the console."
  type        = list(string)
  default     = []
}

variable "github_repository" {
  description = "OWNER/NAME of the GitHub repository whose workflow may deploy; null makes no deployer."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null || can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "OWNER/NAME, without a host."
  }
}

variable "github_branch" {
  description = "The only branch whose workflow may deploy."
  type        = string
  default     = "main"

  validation {
    condition     = can(regex("^[A-Za-z0-9._/-]+$", var.github_branch))
    error_message = "A branch's name, such as main."
  }
}

variable "github_environment" {
  description = "The GitHub environment that the workflow's job must run in; null asks for none."
  type        = string
  default     = "production"

  validation {
    condition     = var.github_environment == null || can(regex("^[A-Za-z0-9._-]+$", var.github_environment))
    error_message = "An environment's name, such as production."
  }
}
