# Everything around the Cloud Run service. The service itself is made by `make deploy` from
# deploy/cloud-run/service.yaml, which is also where all names come from.
module "manifest" {
  source = "./modules/manifest"
}

data "google_project" "this" {}

resource "google_project_service" "api" {
  for_each = toset([
    "artifactregistry.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "storage.googleapis.com",
    "sts.googleapis.com",
  ])

  service            = each.key
  disable_on_destroy = false # others in the project may use it
}

module "registry" {
  source = "./modules/registry"

  name   = module.manifest.service
  region = var.region

  depends_on = [google_project_service.api]
}

module "storage" {
  source = "./modules/storage"

  name   = "${var.project}-${module.manifest.service}"
  region = var.region
  users  = var.data_users

  depends_on = [google_project_service.api]
}

module "cloud_run" {
  source = "./modules/cloud-run"

  service  = module.manifest.service
  account  = module.manifest.account
  secret   = module.manifest.secret
  region   = var.region
  invokers = var.service_deployed ? var.invokers : []

  depends_on = [google_project_service.api]
}

module "monitoring" {
  source = "./modules/monitoring"
  count  = var.service_deployed ? 1 : 0

  project        = var.project
  project_number = data.google_project.this.number
  region         = var.region
  service        = module.manifest.service
  instances      = module.manifest.instances
  emails         = var.alert_emails

  depends_on = [google_project_service.api]
}

module "github" {
  source = "./modules/github"
  count  = var.github_repository == null ? 0 : 1

  name        = module.manifest.service
  project     = var.project
  region      = var.region
  registry    = module.registry.name
  runs_as     = module.cloud_run.account
  service     = var.service_deployed ? module.manifest.service : null
  repository  = var.github_repository
  branch      = var.github_branch
  environment = var.github_environment

  depends_on = [google_project_service.api]
}
