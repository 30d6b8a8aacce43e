{{/*
Names, labels and what other templates ask of the values. Comes in: the root context. Goes out: text. Never: an
object.
*/}}

{{- define "vpc-cni-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "vpc-cni-exporter.fullname" -}}
{{- $name := include "vpc-cni-exporter.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "vpc-cni-exporter.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end }}

{{/* What the pods are found by. A Deployment's can never be changed. */}}
{{- define "vpc-cni-exporter.selectorLabels" -}}
{{- if .Values.selectorLabels -}}
{{ toYaml .Values.selectorLabels }}
{{- else -}}
app.kubernetes.io/name: {{ include "vpc-cni-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- end }}

{{- define "vpc-cni-exporter.labels" -}}
{{- $labels := dict
  "app.kubernetes.io/name" (include "vpc-cni-exporter.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/version" (include "vpc-cni-exporter.version" . | trunc 63 | trimAll "-._")
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{ toYaml (merge (dict) $labels .Values.commonLabels) }}
{{- end }}

{{/* Of every object: name, namespace, labels. Comes in: root, and name or labels of its own. */}}
{{- define "vpc-cni-exporter.metadata" -}}
name: {{ default (include "vpc-cni-exporter.fullname" .root) .name }}
namespace: {{ default (include "vpc-cni-exporter.namespace" .root) .namespace }}
labels:
  {{- merge (dict) (default dict .labels) (include "vpc-cni-exporter.labels" .root | fromYaml) | toYaml | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "vpc-cni-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "vpc-cni-exporter.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "vpc-cni-exporter.version" -}}
{{- default .Chart.AppVersion .Values.image.version -}}
{{- end }}

{{- define "vpc-cni-exporter.image" -}}
{{- with .Values.global.imageRegistry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- .Values.image.repository }}:{{ include "vpc-cni-exporter.version" . -}}
{{- with .Values.image.digest }}@{{ . }}{{ end -}}
{{- end }}

{{/* A number that YAML has read as a fraction is written as it stood there. */}}
{{- define "vpc-cni-exporter.scalar" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) -}}{{ int64 . }}{{- else -}}{{ . }}{{- end -}}
{{- end }}

{{/* A flag of the service: what config says, or nothing. Comes in: root, section, name. */}}
{{- define "vpc-cni-exporter.flag" -}}
{{- $value := index (default dict (index (default dict .root.Values.config) .section)) .name -}}
{{- if not (kindIs "invalid" $value) -}}
{{- if and (kindIs "bool" $value) (has (printf "%s.%s" .section .name) (list "discover.kubernetes" "lead.election")) -}}
{{/* YAML reads on and off as true and false. */}}
{{- ternary "on" "off" $value -}}
{{- else -}}
{{- include "vpc-cni-exporter.scalar" $value -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* --name=value of all of config. A list is a flag that is repeated. Comes in: root, config, and the path to it. */}}
{{- define "vpc-cni-exporter.flags" -}}
{{- range $name, $value := .config }}
{{- $path := append $.path $name }}
{{- if kindIs "map" $value }}
{{- include "vpc-cni-exporter.flags" (dict "root" $.root "config" $value "path" $path) }}
{{- else if kindIs "slice" $value }}
{{- range $value }}
- {{ printf "--%s=%s" (join "." $path) (include "vpc-cni-exporter.scalar" .) | quote }}
{{- end }}
{{- else }}
{{- $text := include "vpc-cni-exporter.scalar" $value }}
{{- if eq (len $path) 2 }}
{{- $text = include "vpc-cni-exporter.flag" (dict "root" $.root "section" (first $path) "name" $name) }}
{{- end }}
{{- if and (not (kindIs "invalid" $value)) (ne $text "") }}
- {{ printf "--%s=%s" (join "." $path) $text | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* ------------------------------------------------------------------ what else follows from values: "true" or "" */}}

{{/* Whether a Lease decides who serves. */}}
{{- define "vpc-cni-exporter.isElected" -}}
{{- if ne (include "vpc-cni-exporter.flag" (dict "root" . "section" "lead" "name" "election")) "off" -}}true{{- end -}}
{{- end }}

{{/* Whether the API server is asked for pods. */}}
{{- define "vpc-cni-exporter.isDiscovering" -}}
{{- if ne (include "vpc-cni-exporter.flag" (dict "root" . "section" "discover" "name" "kubernetes")) "off" -}}true{{- end -}}
{{- end }}

{{- define "vpc-cni-exporter.readsNodes" -}}
{{- if ne (include "vpc-cni-exporter.flag" (dict "root" . "section" "discover" "name" "nodes")) "false" -}}
{{- include "vpc-cni-exporter.isDiscovering" . -}}
{{- end -}}
{{- end }}

{{- define "vpc-cni-exporter.usesProxy" -}}
{{- if eq (include "vpc-cni-exporter.flag" (dict "root" . "section" "discover" "name" "route")) "proxy" -}}
{{- include "vpc-cni-exporter.isDiscovering" . -}}
{{- end -}}
{{- end }}

{{/* As the service reads the helper's switches. */}}
{{- define "vpc-cni-exporter.servesData" -}}
{{- if not (has (toString (index (default dict .Values.env) "USE_PROMETHEUS") | lower) (list "false" "no" "0")) -}}true{{- end -}}
{{- end }}

{{- define "vpc-cni-exporter.mirrors" -}}
{{- $to := or (index (default dict (index (default dict .Values.config) "mirror")) "to") (index (default dict .Values.env) "VPCCNI_MIRROR_TO") -}}
{{- if or $to (has (toString (index (default dict .Values.env) "USE_CLOUDWATCH") | lower) (list "true" "yes" "1")) -}}true{{- end -}}
{{- end }}

{{/* Whether each pod has to be found, and not any one of them. */}}
{{- define "vpc-cni-exporter.isSeveral" -}}
{{- if or .Values.sharding.enabled (gt (int .Values.replicas) 1) -}}true{{- end -}}
{{- end }}

{{- define "vpc-cni-exporter.hasWebConfig" -}}
{{- if or .Values.webConfig.existingSecret .Values.webConfig.content -}}true{{- end -}}
{{- end }}

{{- define "vpc-cni-exporter.hasTls" -}}
{{- if kindIs "bool" .Values.webConfig.tls -}}
{{- if .Values.webConfig.tls -}}true{{- end -}}
{{- else if .Values.webConfig.content.tls_server_config -}}true{{- end -}}
{{- end }}

{{/* Whether nobody connects without a certificate, not even the kubelet. */}}
{{- define "vpc-cni-exporter.wantsCertificates" -}}
{{- if kindIs "bool" .Values.webConfig.clientCertificates -}}
{{- if .Values.webConfig.clientCertificates -}}true{{- end -}}
{{- else -}}
{{- $kind := toString (index (default dict .Values.webConfig.content.tls_server_config) "client_auth_type") -}}
{{- if has $kind (list "RequireAnyClientCert" "RequireAndVerifyClientCert") -}}true{{- end -}}
{{- end -}}
{{- end }}

{{/* ------------------------------------------------------------------ figures and names that follow from values */}}

{{- define "vpc-cni-exporter.shards" -}}
{{- ternary (int .Values.sharding.shards) 1 .Values.sharding.enabled -}}
{{- end }}

{{/*
Another number of shards is a StatefulSet of another name: the new one is made whole before Helm takes the old one
away. Its pods stand by until the last of the old ones has given back its Lease, so nothing is counted twice, and
what is missing is missing for seconds; rolled pod by pod it would take minutes. Short, as pods and revisions have
longer names.
*/}}
{{- define "vpc-cni-exporter.statefulSetName" -}}
{{- printf "%s-of-%s" (include "vpc-cni-exporter.fullname" . | trunc 40 | trimSuffix "-") (include "vpc-cni-exporter.shards" .) -}}
{{- end }}

{{- define "vpc-cni-exporter.podsServiceName" -}}
{{- printf "%s-pods" (include "vpc-cni-exporter.fullname" . | trunc 58 | trimSuffix "-") -}}
{{- end }}

{{/* --lead.name: of each release its own, so that two in a namespace do not wait for each other. */}}
{{- define "vpc-cni-exporter.leaseName" -}}
{{- $own := include "vpc-cni-exporter.fullname" . | replace "." "-" | trunc 59 | trimSuffix "-" -}}
{{- default $own (include "vpc-cni-exporter.flag" (dict "root" . "section" "lead" "name" "name")) -}}
{{- end }}

{{- define "vpc-cni-exporter.port" -}}
{{- $address := include "vpc-cni-exporter.flag" (dict "root" . "section" "web" "name" "listen-address") -}}
{{- default "61681" (regexFind "[0-9]+$" $address) -}}
{{- end }}

{{- define "vpc-cni-exporter.path" -}}
{{- default "/metrics" (include "vpc-cni-exporter.flag" (dict "root" . "section" "web" "name" "telemetry-path")) -}}
{{- end }}

{{/* How often nodes are scraped, in the service's order: flag, the helper's variable, default. */}}
{{- define "vpc-cni-exporter.interval" -}}
{{- $flag := include "vpc-cni-exporter.flag" (dict "root" . "section" "scrape" "name" "interval") -}}
{{- $helper := include "vpc-cni-exporter.scalar" (default "" (index (default dict .Values.env) "METRIC_UPDATE_INTERVAL")) -}}
{{- coalesce $flag (ternary (printf "%ss" $helper) "" (ne $helper "")) "30s" -}}
{{- end }}

{{/* The same in whole seconds, 1 at least. */}}
{{- define "vpc-cni-exporter.intervalSeconds" -}}
{{- $units := dict "h" 3600 "m" 60 "s" 1 "ms" 0 -}}
{{- $seconds := 0 -}}
{{- range regexFindAll "[0-9]+(h|ms|m|s)" (include "vpc-cni-exporter.interval" .) -1 -}}
{{- $seconds = add $seconds (mul (regexFind "[0-9]+" .) (index $units (regexFind "[a-z]+" .))) -}}
{{- end -}}
{{- max 1 $seconds -}}
{{- end }}

{{/* A list of pull secrets: names, or objects with a name, as either is usual. */}}
{{- define "vpc-cni-exporter.imagePullSecrets" -}}
{{- range concat .Values.imagePullSecrets .Values.global.imagePullSecrets }}
{{- if kindIs "string" . }}
- name: {{ . }}
{{- else }}
- {{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}
