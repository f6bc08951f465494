terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }

  # The bucket is named by `terraform init -backend-config=bucket=...`: see docs/terraform.md.
  backend "gcs" {
    prefix = "product-photo-detector"
  }
}

provider "google" {
  project = var.project
  region  = var.region
}
