variable "service" {
  description = "The service's name."
  type        = string
}

variable "account" {
  description = "The service account as which it runs, without the domain."
  type        = string
}

variable "secret" {
  description = "The secret that holds the file of API keys."
  type        = string
}

variable "region" {
  description = "The service's region."
  type        = string
}

variable "invokers" {
  description = "Who may call the service, which must be there if anybody may."
  type        = list(string)
}
