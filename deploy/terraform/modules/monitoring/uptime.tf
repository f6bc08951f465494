# Google asks /health from outside: /healthz is a path that Cloud Run keeps for itself. Whatever the status, the body decides.
locals {
  host = "${var.service}-${var.project_number}.${var.region}.run.app"
  checks = {
    ModelNotLoaded = {
      field    = "model_loaded"
      wanted   = "true"
      period   = "60s"
      duration = "120s"
      severity = "CRITICAL"
      says     = "No inference can be served, or the service does not answer at all. See docs/INCIDENT_SCENARIO.md#worker-crash-loop."
    }
    DriftDetected = {
      field    = "drift_detected"
      wanted   = "false"
      period   = "300s"
      duration = "900s"
      severity = "WARNING"
      says     = "What an instance sees no longer looks like its own first traffic. If ModelNotLoaded fires as well, begin there. See docs/INCIDENT_SCENARIO.md#drift-alert."
    }
  }
}

resource "google_monitoring_uptime_check_config" "health" {
  for_each = local.checks

  display_name = each.key
  period       = each.value.period
  timeout      = "10s" # above the gateway's 5 s for an inference

  monitored_resource {
    type   = "uptime_url"
    labels = { project_id = var.project, host = local.host }
  }

  http_check {
    path         = "/health"
    port         = 443
    use_ssl      = true
    validate_ssl = true

    accepted_response_status_codes {
      status_class = "STATUS_CLASS_ANY"
    }

    service_agent_authentication {
      type = "OIDC_TOKEN"
    }
  }

  content_matchers {
    content = each.value.wanted
    matcher = "MATCHES_JSON_PATH"

    json_path_matcher {
      json_path    = "$.${each.value.field}"
      json_matcher = "EXACT_MATCH"
    }
  }

  lifecycle {
    create_before_destroy = true # Google removes none that an alert still names
  }
}

# As whom Google asks. The account is there once there is such a check.
resource "google_cloud_run_v2_service_iam_member" "uptime" {
  name     = var.service
  location = var.region
  role     = "roles/run.invoker"
  member   = "serviceAccount:service-${var.project_number}@gcp-sa-monitoring-notification.iam.gserviceaccount.com"

  depends_on = [google_monitoring_uptime_check_config.health]
}

resource "google_monitoring_alert_policy" "uptime" {
  for_each = local.checks

  display_name          = each.key
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.name]

  conditions {
    display_name = "At least two places see it"

    condition_threshold {
      filter          = "resource.type=\"uptime_url\" AND metric.type=\"monitoring.googleapis.com/uptime_check/check_passed\" AND metric.labels.check_id=\"${google_monitoring_uptime_check_config.health[each.key].uptime_check_id}\""
      comparison      = "COMPARISON_GT"
      threshold_value = 1
      duration        = each.value.duration

      aggregations {
        alignment_period     = "1200s"
        per_series_aligner   = "ALIGN_NEXT_OLDER"
        cross_series_reducer = "REDUCE_COUNT_FALSE"
        group_by_fields      = ["resource.label.host"]
      }
    }
  }

  documentation {
    content   = each.value.says
    mime_type = "text/markdown"
  }

  alert_strategy {
    auto_close = "3600s"
  }
}
