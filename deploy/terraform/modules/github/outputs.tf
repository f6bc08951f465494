output "provider" {
  description = "The full name of the provider that trusts GitHub's tokens."
  value       = google_iam_workload_identity_pool_provider.github.name
}

output "deployer" {
  description = "The address of the service account that deploys."
  value       = google_service_account.deployer.email
}
