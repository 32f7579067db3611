{{/* Everything is named after the release. Pod names are node ids, which have at most 64 characters. */}}
{{- define "iceway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains "iceway" .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-iceway" (.Release.Name | trunc 33 | trimSuffix "-") }}
{{- end -}}
{{- end -}}

{{- define "iceway.selector" -}}
app.kubernetes.io/name: iceway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "iceway.labels" -}}
{{ include "iceway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "iceway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "iceway.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{- define "iceway.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Names of Secrets: those that exist, else those that are made. */}}
{{- define "iceway.authSecret" -}}
{{ .Values.auth.existingSecret | default (printf "%s-auth" (include "iceway.fullname" .)) }}
{{- end -}}

{{- define "iceway.clusterKeySecret" -}}
{{ .Values.redis.clusterKey.existingSecret | default (printf "%s-cluster-key" (include "iceway.fullname" .)) }}
{{- end -}}

{{- define "iceway.apiKeySecret" -}}
{{ include "iceway.fullname" . }}-api-key
{{- end -}}

{{- define "iceway.tlsSecret" -}}
{{ .Values.tls.existingSecret | default (printf "%s-tls" (include "iceway.fullname" .)) }}
{{- end -}}

{{- define "iceway.claim" -}}
{{ .Values.persistence.existingClaim | default (include "iceway.fullname" .) }}
{{- end -}}

{{/* Answers with "true" or with nothing. */}}
{{- define "iceway.hasRedis" -}}
{{- if or .Values.redis.url .Values.redis.existingSecret }}true{{ end -}}
{{- end -}}

{{- define "iceway.hasTls" -}}
{{- if and .Values.tls.enabled (or .Values.ports.tls .Values.ports.tcp) }}true{{ end -}}
{{- end -}}

{{- define "iceway.hasService" -}}
{{- if ne .Values.service.type "None" }}true{{ end -}}
{{- end -}}

{{/* Whether there may ever be more than one pod. */}}
{{- define "iceway.isMany" -}}
{{- if eq .Values.kind "DaemonSet" -}}
true
{{- else if .Values.autoscaling.enabled -}}
{{- if gt (int .Values.autoscaling.maxReplicas) 1 }}true{{ end -}}
{{- else if gt (int .Values.replicas) 1 -}}
true
{{- end -}}
{{- end -}}

{{/* `host` without the part that differs from node to node. */}}
{{- define "iceway.domain" -}}
{{ .Values.host | replace "$(NODE_NAME)" "" | trimPrefix "." | trimPrefix "-" }}
{{- end -}}

{{- define "iceway.udpHost" -}}
{{ .Values.service.udp.host | default .Values.host }}
{{- end -}}

{{- define "iceway.tcpHost" -}}
{{ .Values.service.tcp.host | default .Values.host }}
{{- end -}}

{{/* Where addresses are looked for that are not known beforehand. */}}
{{- define "iceway.external" -}}
{{- $public := .Values.network.publicAddress -}}
{{- $from := include "iceway.publicAddress" . -}}
{{- if eq $from "stun" -}}
{{- $servers := list -}}
{{- range $public.stunServers }}{{ $servers = append $servers (printf "stun:%s" .) }}{{ end -}}
{{ join "," $servers }}
{{- else if eq $from "hostname" -}}
dns:{{ $public.hostname }}
{{- else if eq $from "interface" -}}
interface:{{ $public.interface }}
{{- end -}}
{{- end -}}

{{/* Where the public address is known from: node, configured, own, stun, hostname or interface. */}}
{{- define "iceway.publicAddress" -}}
{{- .Values.network.publicAddress.from | default (ternary "node" "" .Values.network.host) -}}
{{- end -}}

{{/* The address that pods are told to listen on, with a place for the port: "$(POD_IP):%d". */}}
{{- define "iceway.listen" -}}
{{- $family := .Values.network.ipFamily -}}
{{- if eq .Values.network.listenOn "podIP" -}}
{{ ternary "[$(POD_IP)]" "$(POD_IP)" (eq $family "IPv6") }}
{{- else if eq $family "dual" -}}
{{- else -}}
{{ ternary "[::]" "0.0.0.0" (eq $family "IPv6") }}
{{- end -}}
{{- end -}}

{{/* On the node's network only its one address, so that the API is not on every other one; else all. */}}
{{- define "iceway.listenHttp" -}}
{{- $family := .Values.network.ipFamily -}}
{{- if and .Values.network.host (ne $family "dual") -}}
{{ ternary "[$(POD_IP)]" "$(POD_IP)" (eq $family "IPv6") }}
{{- else -}}
{{ ternary "0.0.0.0" "[::]" (eq $family "IPv4") }}
{{- end -}}
{{- end -}}

{{/* The port clients use: argument is a list of the root and udp, tcp or tls. Nothing if there is none. */}}
{{- define "iceway.clientPort" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $port := index $root.Values.ports $name -}}
{{- if and $port (or (ne $name "tls") (include "iceway.hasTls" $root)) -}}
{{- if eq $root.Values.service.type "NodePort" -}}
{{ int (index $root.Values.service.nodePorts $name) }}
{{- else if include "iceway.hasService" $root -}}
{{ int (index $root.Values.service.ports $name | default $port) }}
{{- else -}}
{{ int $port }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* URIs for clients, one a line; nothing where nodes name their own addresses. */}}
{{- define "iceway.uris" -}}
{{- if .Values.uris -}}
{{ join "\n" .Values.uris }}
{{- else if include "iceway.udpHost" . -}}
{{- with include "iceway.clientPort" (list . "udp") }}
stun:{{ include "iceway.udpHost" $ }}:{{ . }}
turn:{{ include "iceway.udpHost" $ }}:{{ . }}?transport=udp
{{- end }}
{{- with include "iceway.clientPort" (list . "tcp") }}
turn:{{ include "iceway.tcpHost" $ }}:{{ . }}?transport=tcp
{{- end }}
{{- with include "iceway.clientPort" (list . "tls") }}
turns:{{ include "iceway.tcpHost" $ }}:{{ . }}?transport=tcp
{{- end }}
{{- end -}}
{{- end -}}
