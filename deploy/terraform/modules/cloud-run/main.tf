resource "google_service_account" "runtime" {
  account_id   = var.account
  display_name = "What the service ${var.service} runs as"
}

# The secret alone. Its value is added by gcloud, so that Terraform's state never holds it.
resource "google_secret_manager_secret" "keys" {
  secret_id           = var.secret
  deletion_protection = true

  replication {
    auto {}
  }
}

# All that the service may do.
resource "google_secret_manager_secret_iam_member" "reader" {
  secret_id = google_secret_manager_secret.keys.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.runtime.member
}

resource "google_cloud_run_v2_service_iam_member" "invoker" {
  for_each = toset(var.invokers)

  name     = var.service
  location = var.region
  role     = "roles/run.invoker"
  member   = each.key
}
