{{/*
What the schema cannot say. Comes in: the root context. Goes out: nothing, or an end that names the key, its value
and what is allowed. Never: a value that is quietly replaced.
*/}}
{{- define "vpc-cni-exporter.validate" -}}
{{- $own := dict
  "shard.index" "set sharding.shards: a pod's number is its shard"
  "shard.count" "set sharding.shards"
  "web.config.file" "set webConfig" -}}
{{- range $flag, $instead := $own -}}
{{- $parts := splitList "." $flag -}}
{{- $section := default dict (index (default dict $.Values.config) (first $parts)) -}}
{{- if hasKey $section (index $parts 1) -}}
{{- fail (printf "config.%s is not for config: %s" $flag $instead) -}}
{{- end -}}
{{- end -}}

{{/* Of these the chart makes rights, ports, monitors or names, so it must know them. */}}
{{- $known := list "discover.kubernetes" "discover.namespace" "discover.nodes" "discover.route" "lead.election"
  "lead.name" "lead.namespace" "scrape.interval" "shard.count" "shard.index" "web.config.file"
  "web.listen-address" "web.telemetry-path" -}}
{{- $names := keys (default dict .Values.env) -}}
{{- range .Values.extraEnv -}}{{- $names = append $names .name -}}{{- end -}}
{{- range $flag := $known -}}
{{- $instead := default (printf "set config.%s" $flag) (get $own $flag) -}}
{{- $variable := printf "VPCCNI_%s" (regexReplaceAll "[.-]" $flag "_" | upper) -}}
{{- if has $variable $names -}}
{{- fail (printf "%s in env or extraEnv: the chart has to know of it, so %s" $variable $instead) -}}
{{- end -}}
{{- range $.Values.extraArgs -}}
{{- if or (eq . (printf "--%s" $flag)) (hasPrefix (printf "--%s=" $flag) .) -}}
{{- fail (printf "extraArgs: %s: the chart has to know of it, so %s" . $instead) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if and .Values.sharding.enabled (gt (int .Values.replicas) 1) -}}
{{- fail (printf "replicas=%v with sharding.enabled: 1 is allowed, as each shard is one pod; set sharding.shards" .Values.replicas) -}}
{{- end -}}
{{- if and (include "vpc-cni-exporter.isSeveral" .) (not (include "vpc-cni-exporter.isElected" .)) -}}
{{- fail "config.lead.election=off with several pods: they would serve the same nodes twice; auto or on is allowed, or replicas=1 without sharding" -}}
{{- end -}}
{{- if and .Values.webConfig.existingSecret .Values.webConfig.content -}}
{{- fail "webConfig.existingSecret and webConfig.content: one of them is allowed" -}}
{{- end -}}
{{- if and (or .Values.webConfig.tls .Values.webConfig.clientCertificates .Values.webConfig.tlsSecret) (not (include "vpc-cni-exporter.hasWebConfig" .)) -}}
{{- fail "webConfig.tls, .clientCertificates and .tlsSecret need webConfig.existingSecret or webConfig.content, which says what they are for" -}}
{{- end -}}
{{- $strategy := toString (index (default dict .Values.updateStrategy) "type") -}}
{{- if and .Values.sharding.enabled (eq $strategy "Recreate") -}}
{{- fail "updateStrategy.type=Recreate with sharding.enabled: RollingUpdate or OnDelete is allowed, or none" -}}
{{- end -}}
{{- if and (eq $strategy "RollingUpdate") (not .Values.sharding.enabled) (not (include "vpc-cni-exporter.isElected" .)) -}}
{{- fail "updateStrategy.type=RollingUpdate with config.lead.election=off: two pods would serve during a rollout; Recreate is allowed" -}}
{{- end -}}
{{- end }}
