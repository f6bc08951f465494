variable "name" {
  description = "The repository's name."
  type        = string
}

variable "region" {
  description = "The region of the images."
  type        = string
}
