output "service" {
  description = "The service's name; repository, bucket, pool and deployer are named after it."
  value       = local.manifest.metadata.name
}

output "account" {
  description = "The service account as which it runs, without the domain."
  value       = split("@", local.revision.spec.serviceAccountName)[0]
}

output "secret" {
  description = "The secret that is mounted as the file of API keys."
  value       = one([for volume in local.revision.spec.volumes : volume.secret.secretName if can(volume.secret)])
}

output "instances" {
  description = "The fewest and the most instances, as min and max."
  value       = local.scale
}
