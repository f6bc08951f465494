output "registry" {
  description = "Where `make deploy` pushes images."
  value       = "${var.region}-docker.pkg.dev/${var.project}/${module.registry.name}"
}

output "data_bucket" {
  description = "The bucket as a DVC remote."
  value       = module.storage.url
}

output "secret" {
  description = "The secret to which the file of API keys is added."
  value       = module.cloud_run.secret
}

output "service_url" {
  description = "The service's address, once it is deployed."
  value       = one(module.monitoring[*].url)
}

output "github_variables" {
  description = "The variables that the deploying workflow reads."
  value = var.github_repository == null ? null : {
    WORKLOAD_IDENTITY_PROVIDER = module.github[0].provider
    DEPLOYER_SERVICE_ACCOUNT   = module.github[0].deployer
    PROJECT                    = var.project
    REGION                     = var.region
  }
}
