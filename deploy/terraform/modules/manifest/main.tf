# What deploy/cloud-run/service.yaml says, so that no name or number is written twice. It needs no provider.
locals {
  manifest = yamldecode(file("${path.module}/../../../cloud-run/service.yaml"))
  revision = local.manifest.spec.template
  scale    = { for bound in ["min", "max"] : bound => tonumber(local.revision.metadata.annotations["autoscaling.knative.dev/${bound}Scale"]) }
}
