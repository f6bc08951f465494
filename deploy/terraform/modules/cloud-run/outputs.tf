output "account" {
  description = "The full name of the service account as which the service runs."
  value       = google_service_account.runtime.name
}

output "secret" {
  description = "The secret's name."
  value       = google_secret_manager_secret.keys.secret_id
}
