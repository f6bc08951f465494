locals {
  filled = {
    of_service = "monitored_resource=\"cloud_run_revision\", service_name=\"${var.service}\""
    min        = var.instances.min
    max        = var.instances.max
  }
  groups = yamldecode(templatefile("${path.module}/alerts.yaml", local.filled)).groups
  alerts = merge([for group in local.groups : { for rule in group.rules : rule.alert => merge(rule, { group = group.name }) }]...)
  panels = yamldecode(templatefile("${path.module}/panels.yaml", local.filled))
}

resource "google_monitoring_notification_channel" "email" {
  for_each = toset(var.emails)

  display_name = each.key
  type         = "email"
  labels       = { email_address = each.key }
}

# The one thing that only the log knows: calls to TorchServe that brought no answer.
resource "google_logging_metric" "model_server_trouble" {
  name        = "model_server_trouble"
  description = "Calls to TorchServe that brought no answer"
  filter      = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${var.service}\" AND jsonPayload.event=\"model_server_trouble\""

  label_extractors = { cause = "EXTRACT(jsonPayload.cause)" }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"

    labels {
      key        = "cause"
      value_type = "STRING"
    }
  }
}

resource "google_monitoring_alert_policy" "rule" {
  for_each = local.alerts

  display_name          = each.key
  combiner              = "OR"
  severity              = upper(each.value.labels.severity)
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.name]

  conditions {
    display_name = each.value.annotations.summary

    condition_prometheus_query_language {
      query                     = each.value.expr
      duration                  = "${60 * tonumber(trimsuffix(try(each.value.for, "0m"), "m"))}s"
      evaluation_interval       = "60s"
      rule_group                = each.value.group
      alert_rule                = each.key
      disable_metric_validation = true # a metric is only known once something was measured
    }
  }

  documentation {
    subject   = each.value.annotations.summary
    content   = "${each.value.annotations.description} See ${each.value.annotations.runbook}."
    mime_type = "text/markdown"
  }

  alert_strategy {
    auto_close = "3600s"
  }

  depends_on = [google_logging_metric.model_server_trouble]
}

resource "google_monitoring_dashboard" "service" {
  dashboard_json = jsonencode({
    displayName = var.service
    gridLayout = {
      columns = "2"
      widgets = [for panel in local.panels : {
        title = panel.title
        xyChart = {
          dataSets = [{
            plotType        = "LINE"
            timeSeriesQuery = { prometheusQuery = panel.expr, unitOverride = panel.unit }
          }]
        }
      }]
    }
  })
}
