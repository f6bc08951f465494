variable "name" {
  description = "The bucket's name, one of its own in all of Google Cloud."
  type        = string
}

variable "region" {
  description = "The region of the objects."
  type        = string
}

variable "users" {
  description = "Who may read and write objects."
  type        = list(string)
}
