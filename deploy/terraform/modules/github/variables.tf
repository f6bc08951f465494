variable "name" {
  description = "What pool and deployer are named after."
  type        = string
}

variable "project" {
  description = "The project that is deployed to."
  type        = string
}

variable "region" {
  description = "The region of registry and service."
  type        = string
}

variable "registry" {
  description = "The repository of images that the deployer may push to."
  type        = string
}

variable "runs_as" {
  description = "The full name of the service account that the deployer may give to the service."
  type        = string
}

variable "service" {
  description = "The service that the deployer may call, to try it; null as long as there is none."
  type        = string
}

variable "repository" {
  description = "OWNER/NAME of the repository on GitHub."
  type        = string
}

variable "branch" {
  description = "The only branch that may deploy."
  type        = string
}

variable "environment" {
  description = "The only GitHub environment that may deploy; null asks for none."
  type        = string
}
