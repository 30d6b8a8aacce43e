{{/*
The pod, of a Deployment and of a StatefulSet alike. Comes in: the root context. Goes out: a pod template. Never: a
privilege; what the restricted Pod Security Standard forbids comes from a user's values alone.
*/}}
{{- define "vpc-cni-exporter.probe" -}}
{{- $probe := .probe -}}
{{- if include "vpc-cni-exporter.wantsCertificates" .root }}
{{/* The kubelet has no certificate: all that it can see is that somebody listens. */}}
tcpSocket:
  port: metrics
{{- else }}
httpGet:
  path: {{ .path }}
  port: metrics
  {{- if include "vpc-cni-exporter.hasTls" .root }}
  scheme: HTTPS
  {{- end }}
{{- end }}
{{ omit $probe "enabled" | toYaml }}
{{- end }}

{{- define "vpc-cni-exporter.podAnnotations" -}}
{{- $annotations := dict -}}
{{- if .Values.prometheus.annotations -}}
{{- $annotations = dict
  "prometheus.io/scrape" "true"
  "prometheus.io/port" (include "vpc-cni-exporter.port" .)
  "prometheus.io/path" (include "vpc-cni-exporter.path" .)
  "prometheus.io/scheme" (ternary "https" "http" (ne (include "vpc-cni-exporter.hasTls" .) "")) -}}
{{- end -}}
{{- range $key, $value := .Values.podAnnotations -}}
{{- $_ := set $annotations $key (include "vpc-cni-exporter.scalar" $value) -}}
{{- end -}}
{{- with $annotations }}{{ toYaml . }}{{ end -}}
{{- end }}

{{- define "vpc-cni-exporter.args" -}}
{{- if .Values.sharding.enabled }}
- {{ printf "--shard.count=%s" (include "vpc-cni-exporter.shards" .) | quote }}
{{- end }}
{{- if and (include "vpc-cni-exporter.isElected" .) (not (include "vpc-cni-exporter.flag" (dict "root" . "section" "lead" "name" "name"))) }}
- {{ printf "--lead.name=%s" (include "vpc-cni-exporter.leaseName" .) | quote }}
{{- end }}
{{- if include "vpc-cni-exporter.hasWebConfig" . }}
- {{ printf "--web.config.file=/etc/vpc-cni-exporter/web/%s" .Values.webConfig.key | quote }}
{{- end }}
{{- include "vpc-cni-exporter.flags" (dict "root" . "config" .Values.config "path" list) }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{- define "vpc-cni-exporter.env" -}}
{{/* Whether a holder of the Lease lives is asked at its address; a shard's number is in the pod's name. */}}
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- range $name, $value := .Values.env }}
{{- if kindIs "map" $value }}
- name: {{ $name }}
  {{- toYaml $value | nindent 2 }}
{{- else if not (kindIs "invalid" $value) }}
- name: {{ $name }}
  value: {{ include "vpc-cni-exporter.scalar" $value | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "vpc-cni-exporter.volumeMounts" -}}
{{/* Whole folders: a file that is mounted alone never changes. */}}
{{- if include "vpc-cni-exporter.hasWebConfig" . }}
- name: web-config
  mountPath: /etc/vpc-cni-exporter/web
  readOnly: true
{{- end }}
{{- if .Values.webConfig.tlsSecret }}
- name: web-tls
  mountPath: /etc/vpc-cni-exporter/tls
  readOnly: true
{{- end }}
{{- with .Values.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "vpc-cni-exporter.volumes" -}}
{{- if include "vpc-cni-exporter.hasWebConfig" . }}
- name: web-config
  secret:
    secretName: {{ default (printf "%s-web" (include "vpc-cni-exporter.fullname" .)) .Values.webConfig.existingSecret }}
    defaultMode: 0440
{{- end }}
{{- with .Values.webConfig.tlsSecret }}
- name: web-tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .Values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Pods of one release spread over nodes and zones, as far as that is possible. */}}
{{- define "vpc-cni-exporter.topologySpreadConstraints" -}}
{{- $selector := dict "matchLabels" (include "vpc-cni-exporter.selectorLabels" . | fromYaml) -}}
{{- $constraints := .Values.topologySpreadConstraints -}}
{{- if and (not $constraints) (include "vpc-cni-exporter.isSeveral" .) -}}
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" -}}
{{- $constraints = append $constraints (dict "maxSkew" 1 "topologyKey" . "whenUnsatisfiable" "ScheduleAnyway") -}}
{{- end -}}
{{- end -}}
{{- range $constraints }}
{{- $about := dict }}
{{- if not (hasKey . "labelSelector") }}
{{- $_ := set $about "labelSelector" $selector }}
{{- end }}
- {{ merge $about . | toYaml | nindent 2 | trim }}
{{- end }}
{{- end }}

{{- define "vpc-cni-exporter.podTemplate" -}}
metadata:
  {{- with include "vpc-cni-exporter.podAnnotations" . }}
  annotations:
    {{- . | nindent 4 }}
  {{- end }}
  labels:
    {{- /* Not the chart's version: a new chart alone makes no new pods. */}}
    {{- $own := include "vpc-cni-exporter.selectorLabels" . | fromYaml }}
    {{- if .Values.sharding.enabled }}
    {{- $_ := set $own "vpc-cni-exporter/shards" (include "vpc-cni-exporter.shards" .) }}
    {{- end }}
    {{- merge $own .Values.podLabels (omit (include "vpc-cni-exporter.labels" . | fromYaml) "helm.sh/chart" "app.kubernetes.io/managed-by") | toYaml | nindent 4 }}
spec:
  serviceAccountName: {{ include "vpc-cni-exporter.serviceAccountName" . }}
  automountServiceAccountToken: {{ .Values.automountServiceAccountToken }}
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with include "vpc-cni-exporter.imagePullSecrets" . }}
  imagePullSecrets:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with .Values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if kindIs "bool" .Values.hostUsers }}
  hostUsers: {{ .Values.hostUsers }}
  {{- end }}
  {{- if .Values.hostNetwork }}
  hostNetwork: true
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with default (ternary "ClusterFirstWithHostNet" "" .Values.hostNetwork) .Values.dnsPolicy }}
  dnsPolicy: {{ . }}
  {{- end }}
  {{- with .Values.dnsConfig }}
  dnsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.initContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: vpc-cni-exporter
      image: {{ include "vpc-cni-exporter.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      {{- with include "vpc-cni-exporter.args" . }}
      args:
        {{- . | trim | nindent 8 }}
      {{- end }}
      env:
        {{- include "vpc-cni-exporter.env" . | trim | nindent 8 }}
      ports:
        - name: metrics
          containerPort: {{ include "vpc-cni-exporter.port" . }}
          protocol: TCP
      {{- if .Values.startupProbe.enabled }}
      startupProbe:
        {{- include "vpc-cni-exporter.probe" (dict "root" . "probe" .Values.startupProbe "path" "/livez") | trim | nindent 8 }}
      {{- end }}
      {{- if .Values.livenessProbe.enabled }}
      livenessProbe:
        {{- include "vpc-cni-exporter.probe" (dict "root" . "probe" .Values.livenessProbe "path" "/livez") | trim | nindent 8 }}
      {{- end }}
      {{- if .Values.readinessProbe.enabled }}
      readinessProbe:
        {{- include "vpc-cni-exporter.probe" (dict "root" . "probe" .Values.readinessProbe "path" "/readyz") | trim | nindent 8 }}
      {{- end }}
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.containerSecurityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with include "vpc-cni-exporter.volumeMounts" . | trim }}
      volumeMounts:
        {{- . | nindent 8 }}
      {{- end }}
    {{- with .Values.sidecars }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with include "vpc-cni-exporter.volumes" . | trim }}
  volumes:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "vpc-cni-exporter.topologySpreadConstraints" . | trim }}
  topologySpreadConstraints:
    {{- . | nindent 4 }}
  {{- end }}
{{- end }}
