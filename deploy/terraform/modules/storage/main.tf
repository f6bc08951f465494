# Pictures and weights by DVC, and packed archives.
resource "google_storage_bucket" "data" {
  # checkov:skip=CKV_GCP_62: data access is for the project's audit log, not for a second bucket
  name                        = var.name
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  versioning {
    enabled = true
  }

  # What was overwritten or deleted can be had back for 30 days.
  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      days_since_noncurrent_time = 30
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }

    condition {
      age = 7
    }
  }
}

resource "google_storage_bucket_iam_member" "user" {
  for_each = toset(var.users)

  bucket = google_storage_bucket.data.name
  role   = "roles/storage.objectUser"
  member = each.key
}
