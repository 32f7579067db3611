{{/* A value in TOML. Helm's numbers are floating, TOML's and iceway's are not. */}}
{{- define "iceway.toml" -}}
{{- if kindIs "string" . -}}
{{ toJson . }}
{{- else if kindIs "bool" . -}}
{{ . }}
{{- else if kindIs "slice" . -}}
[{{ range $index, $item := . }}{{ if $index }}, {{ end }}{{ include "iceway.toml" $item }}{{ end }}]
{{- else -}}
{{ int64 . }}
{{- end -}}
{{- end -}}

{{/* iceway.toml: what `config` says and what follows from the other values. Secrets are only named, as files. */}}
{{- define "iceway.config" -}}
{{- $file := deepCopy .Values.config -}}
{{- $set := dict -}}
{{- $_ := set $set "auth.realm" (.Values.auth.realm | default (include "iceway.domain" .) | default "iceway") -}}
{{- $_ := set $set "auth.secret_file" "/etc/iceway/auth/secret" -}}
{{- $_ := set $set "relay.port_min" .Values.ports.relay.min -}}
{{- $_ := set $set "relay.port_max" .Values.ports.relay.max -}}
{{- /* What preStop waited for need not be waited for again, only to hand over what is left. */ -}}
{{- $after := ternary (sub (int .Values.drain.marginSeconds) 10) (int .Values.drain.timeoutSeconds) .Values.drain.preStop -}}
{{- $_ := set $set "runtime.drain_timeout" (printf "%ds" (int $after)) -}}
{{- if and (include "iceway.hasService" .) (not .Values.network.host) (not (hasKey (get $file "runtime" | default dict) "drain_redirect")) -}}
{{- /* Behind one Service for all nobody is reached alone. */ -}}
{{- $_ := set $set "runtime.drain_redirect" false -}}
{{- end -}}
{{- $_ := set $set "store.path" "/var/lib/iceway/iceway.redb" -}}
{{- $_ := set $set "http.control_socket" "/run/iceway/control.sock" -}}
{{- $_ := set $set "http.require_https" .Values.api.requireHttps -}}
{{- if .Values.api.key.generate -}}
{{- $_ := set $set "api.keys_file" "/etc/iceway/api-key/hashes" -}}
{{- end -}}
{{- range $name := list "udp" "tcp" "tls" -}}
{{- if not (index $.Values.ports $name) -}}
{{- $_ := set $set (printf "listen.%s" $name) list -}}
{{- end -}}
{{- end -}}
{{- if eq (include "iceway.publicAddress" .) "configured" -}}
{{- $_ := set $set "relay.external" .Values.network.publicAddress.addresses -}}
{{- end -}}
{{- if .Values.tls.enabled -}}
{{- $_ := set $set "tls.certificate" "/etc/iceway/tls/tls.crt" -}}
{{- $_ := set $set "tls.private_key" "/etc/iceway/tls/tls.key" -}}
{{- end -}}
{{- if include "iceway.hasRedis" . -}}
{{- $_ := set $set "redis.cluster_key_file" "/etc/iceway/cluster-key/key" -}}
{{- end -}}
{{- if and .Values.redis.url (not .Values.redis.existingSecret) -}}
{{- $_ := set $set "redis.url" .Values.redis.url -}}
{{- end -}}
{{- $uris := include "iceway.uris" . | trim -}}
{{- if .Values.uris -}}
{{- $_ := set $set "node.uris" .Values.uris -}}
{{- else if include "iceway.hasService" . -}}
{{- $_ := set $set "node.uris" (splitList "\n" $uris) -}}
{{- end -}}
{{- if and .Values.host (not (contains "$(" .Values.host)) -}}
{{- $_ := set $set "node.host" .Values.host -}}
{{- end -}}
{{- range $path, $from := .Values.secretFiles -}}
{{- $_ := set $set $path (printf "/etc/iceway/files/%s/%s" $path $from.key) -}}
{{- end -}}
{{- range $path, $value := $set -}}
{{- $parts := splitList "." $path -}}
{{- $section := get $file (first $parts) | default dict -}}
{{- $_ := set $section (last $parts) $value -}}
{{- $_ := set $file (first $parts) $section -}}
{{- end -}}
{{- range $name, $section := $file -}}
[{{ $name }}]
{{ range $key, $value := $section -}}
{{- if not (kindIs "invalid" $value) -}}
{{ $key }} = {{ include "iceway.toml" $value }}
{{ end -}}
{{- end }}
{{ end -}}
{{- end -}}
