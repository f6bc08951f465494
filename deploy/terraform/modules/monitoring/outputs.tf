output "url" {
  description = "The service's address."
  value       = "https://${local.host}"
}
