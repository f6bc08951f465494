output "name" {
  description = "The repository's name."
  value       = google_artifact_registry_repository.images.repository_id
}
