{{/* The template of pods, the same for Deployment and DaemonSet. */}}
{{- define "iceway.pod" -}}
metadata:
  labels:
    {{- include "iceway.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # What cannot be changed in a running process makes new pods.
    checksum/config: {{ include "iceway.config" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "iceway.serviceAccountName" . }}
  automountServiceAccountToken: false
  # A Service called iceway would give us ICEWAY_ variables, and unknown ones are errors.
  enableServiceLinks: false
  hostNetwork: {{ .Values.network.host }}
  dnsPolicy: {{ ternary "ClusterFirstWithHostNet" "ClusterFirst" .Values.network.host }}
  terminationGracePeriodSeconds: {{ add (int .Values.drain.timeoutSeconds) (int .Values.drain.marginSeconds) }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
    {{- with include "iceway.sysctls" . | fromYamlArray }}
    sysctls:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  containers:
    {{- include "iceway.container" . | nindent 4 }}
  volumes:
    {{- include "iceway.volumes" . | nindent 4 }}
  {{- include "iceway.placement" . | nindent 2 }}
{{- end -}}

{{- define "iceway.container" -}}
- name: iceway
  image: {{ include "iceway.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [iceway]
  args:
    - serve
    {{- range .Values.extraArgs }}
    - {{ . | quote }}
    {{- end }}
  env:
    {{- include "iceway.env" . | nindent 4 }}
  ports:
    {{- include "iceway.containerPorts" . | nindent 4 }}
  {{- if .Values.drain.preStop }}
  lifecycle:
    # Ends when the last call has, or when the time is over.
    preStop: {exec: {command: [iceway, drain, --wait, --timeout={{ int .Values.drain.timeoutSeconds }}s]}}
  {{- end }}
  startupProbe:
    httpGet: {path: /healthz, port: http}
    {{- toYaml .Values.probes.startup | nindent 4 }}
  livenessProbe:
    httpGet: {path: /healthz, port: http}
    {{- toYaml .Values.probes.liveness | nindent 4 }}
  readinessProbe:
    httpGet: {path: /readyz, port: http}
    {{- toYaml .Values.probes.readiness | nindent 4 }}
{{- with .Values.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
{{- end }}
  securityContext:
    {{- toYaml .Values.securityContext | nindent 4 }}
  volumeMounts:
    {{- include "iceway.mounts" . | nindent 4 }}
{{- end -}}

{{- define "iceway.env" -}}
# In the environment, so that commands in the container (kubectl exec, preStop) find it too.
- name: ICEWAY_CONFIG
  value: /etc/iceway/config/iceway.toml
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: ICEWAY_NODE_ID
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- range $name := list "udp" "tcp" "tls" }}
{{- $port := index $.Values.ports $name }}
{{- if and $port (or (ne $name "tls") (include "iceway.hasTls" $)) }}
- name: ICEWAY_LISTEN_{{ upper $name }}
  value: {{ printf "%s:%d" (include "iceway.listen" $) (int $port) | quote }}
{{- end }}
{{- end }}
- name: ICEWAY_HTTP_LISTEN
  value: {{ printf "%s:%d" (include "iceway.listenHttp" .) (int .Values.ports.http) | quote }}
{{- $from := include "iceway.publicAddress" . }}
{{- $public := .Values.network.publicAddress }}
{{- if and (eq $from "node") (eq .Values.network.ipFamily "dual") }}
# One address for each family; relay sockets are on those and on no other.
- name: POD_IPS
  valueFrom: {fieldRef: {fieldPath: status.podIPs}}
- name: ICEWAY_RELAY_ADDRESSES
  value: $(POD_IPS)
- name: HOST_IPS
  valueFrom: {fieldRef: {fieldPath: status.hostIPs}}
- name: ICEWAY_RELAY_EXTERNAL
  value: $(HOST_IPS)
{{- else if eq $from "node" }}
- name: HOST_IP
  valueFrom: {fieldRef: {fieldPath: status.hostIP}}
- name: ICEWAY_RELAY_EXTERNAL
  value: $(HOST_IP)
{{- end }}
{{- if or (contains "$(" .Values.host) (contains "$(" $public.hostname) }}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
{{- end }}
{{- if has $from (list "stun" "hostname" "interface") }}
- name: ICEWAY_RELAY_EXTERNAL
  value: {{ include "iceway.external" . | quote }}
{{- end }}
{{- if contains "$(" .Values.host }}
- name: ICEWAY_NODE_HOST
  value: {{ .Values.host | quote }}
{{- end }}
{{- with .Values.redis.existingSecret }}
- name: ICEWAY_REDIS_URL
  valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: {{ $.Values.redis.urlKey | quote }}}}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "iceway.containerPorts" -}}
{{- $host := .Values.network.host -}}
{{- $tcp := list -}}
{{- with .Values.ports.udp -}}
- {name: turn-udp, containerPort: {{ . }}, protocol: UDP{{ if $host }}, hostPort: {{ . }}{{ end }}}
{{ end -}}
{{- with .Values.ports.tcp -}}
{{- $tcp = append $tcp (int .) -}}
- {name: turn-tcp, containerPort: {{ . }}, protocol: TCP{{ if $host }}, hostPort: {{ . }}{{ end }}}
{{ end -}}
{{- if and (include "iceway.hasTls" .) .Values.ports.tls (not (has (int .Values.ports.tls) $tcp)) -}}
- {name: turn-tls, containerPort: {{ .Values.ports.tls }}, protocol: TCP{{ if $host }}, hostPort: {{ .Values.ports.tls }}{{ end }}}
{{ end -}}
- {name: http, containerPort: {{ .Values.ports.http }}, protocol: TCP{{ if $host }}, hostPort: {{ .Values.ports.http }}{{ end }}}
{{- end -}}

{{/* Whole volumes, no subPath: only these are brought up to date when the Secret changes. */}}
{{- define "iceway.mounts" -}}
- {name: config, mountPath: /etc/iceway/config, readOnly: true}
- {name: auth, mountPath: /etc/iceway/auth, readOnly: true}
- {name: state, mountPath: /var/lib/iceway}
- {name: control, mountPath: /run/iceway}
{{- if .Values.api.key.generate }}
- {name: api-key, mountPath: /etc/iceway/api-key, readOnly: true}
{{- end }}
{{- if .Values.tls.enabled }}
- {name: tls, mountPath: /etc/iceway/tls, readOnly: true}
{{- end }}
{{- if include "iceway.hasRedis" . }}
- {name: cluster-key, mountPath: /etc/iceway/cluster-key, readOnly: true}
{{- end }}
{{- range $path, $from := .Values.secretFiles }}
- {name: {{ $path | replace "." "-" | replace "_" "-" }}, mountPath: /etc/iceway/files/{{ $path }}, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "iceway.volumes" -}}
- name: config
  configMap: {name: {{ include "iceway.fullname" . }}}
- name: auth
  secret: {secretName: {{ include "iceway.authSecret" . }}, defaultMode: 0440, items: [{key: {{ .Values.auth.secretKey | quote }}, path: secret}]}
- name: state
  {{- if .Values.persistence.enabled }}
  persistentVolumeClaim: {claimName: {{ include "iceway.claim" . }}}
  {{- else }}
  emptyDir: {sizeLimit: {{ .Values.persistence.emptyDirSizeLimit }}}
  {{- end }}
- name: control
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- if .Values.api.key.generate }}
- name: api-key
  # The key itself is not for the server.
  secret: {secretName: {{ include "iceway.apiKeySecret" . }}, defaultMode: 0440, items: [{key: hashes, path: hashes}]}
{{- end }}
{{- if .Values.tls.enabled }}
- name: tls
  secret: {secretName: {{ include "iceway.tlsSecret" . }}, defaultMode: 0440}
{{- end }}
{{- if include "iceway.hasRedis" . }}
- name: cluster-key
  secret: {secretName: {{ include "iceway.clusterKeySecret" . }}, defaultMode: 0440, items: [{key: {{ .Values.redis.clusterKey.key | quote }}, path: key}]}
{{- end }}
{{- range $path, $from := .Values.secretFiles }}
- name: {{ $path | replace "." "-" | replace "_" "-" }}
  secret: {secretName: {{ $from.secret | quote }}, defaultMode: 0440, items: [{key: {{ $from.key | quote }}, path: {{ $from.key | quote }}}]}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* In a network of its own the pod may bind every port without being root. */}}
{{- define "iceway.sysctls" -}}
{{- $sysctls := .Values.network.sysctls -}}
{{- $low := false -}}
{{- range list .Values.ports.udp .Values.ports.tcp .Values.ports.tls .Values.ports.http -}}
{{- if and . (lt (int .) 1024) -}}{{- $low = true -}}{{- end -}}
{{- end -}}
{{- if and $low (not .Values.network.host) -}}
{{- $sysctls = append $sysctls (dict "name" "net.ipv4.ip_unprivileged_port_start" "value" "0") -}}
{{- end -}}
{{- toYaml $sysctls -}}
{{- end -}}

{{- define "iceway.placement" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if eq .Values.kind "Deployment" }}
{{- if .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml .Values.topologySpreadConstraints | nindent 2 }}
{{- else if and .Values.spread (include "iceway.isMany" .) }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "iceway.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}
