# GitHub's workflow proves who it is by a token of its own, so there is no key that could leak.
resource "google_iam_workload_identity_pool" "github" {
  workload_identity_pool_id = var.name
  display_name              = "GitHub Actions"
}

locals {
  claims = {
    repository  = var.repository
    ref         = "refs/heads/${var.branch}"
    environment = var.environment
  }
}

resource "google_iam_workload_identity_pool_provider" "github" {
  # checkov:skip=CKV_GCP_125: it wants the claim sub, whose form a GitHub organisation may change; these three are the same anywhere
  workload_identity_pool_id          = google_iam_workload_identity_pool.github.workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  display_name                       = "GitHub Actions"
  attribute_condition                = join(" && ", [for claim, value in local.claims : "assertion.${claim} == '${value}'" if value != null])

  attribute_mapping = {
    "google.subject"       = "assertion.sub"
    "attribute.repository" = "assertion.repository"
  }

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account" "deployer" {
  account_id   = "${var.name}-cd"
  display_name = "What GitHub Actions deploys ${var.name} as"
}

resource "google_service_account_iam_member" "workflow" {
  service_account_id = google_service_account.deployer.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.github.name}/attribute.repository/${var.repository}"
}

# What `make deploy` takes: push images, replace the service, and let it run as its own account.
resource "google_artifact_registry_repository_iam_member" "push" {
  repository = var.registry
  location   = var.region
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.deployer.member
}

resource "google_project_iam_member" "deploy" {
  project = var.project
  role    = "roles/run.developer"
  member  = google_service_account.deployer.member
}

resource "google_service_account_iam_member" "runs_as" {
  service_account_id = var.runs_as
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.deployer.member
}

# So that its smoke test is let in.
resource "google_cloud_run_v2_service_iam_member" "try" {
  count = var.service == null ? 0 : 1

  name     = var.service
  location = var.region
  role     = "roles/run.invoker"
  member   = google_service_account.deployer.member
}
