output "url" {
  description = "The bucket's address."
  value       = "gs://${google_storage_bucket.data.name}"
}
