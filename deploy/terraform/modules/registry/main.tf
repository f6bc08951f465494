resource "google_artifact_registry_repository" "images" {
  # checkov:skip=CKV_GCP_84: Google's own keys will do for images without secrets
  repository_id = var.name
  location      = var.region
  format        = "DOCKER"
  description   = "Images of gateway and TorchServe, pushed by make deploy"

  # What is both kept and deleted is kept, so ten can always be rolled back to.
  cleanup_policies {
    id     = "keep-last"
    action = "KEEP"

    most_recent_versions {
      keep_count = 10
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"

    condition {
      older_than = "2592000s" # 30 days
    }
  }
}
