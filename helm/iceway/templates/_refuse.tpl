{{/* What the schema cannot see, since several values contradict one another: all of it at once, with the reason. */}}
{{- define "iceway.refuse" -}}
{{- $faults := concat
      (include "iceway.refuse.pods" . | fromYamlArray)
      (include "iceway.refuse.network" . | fromYamlArray)
      (include "iceway.refuse.service" . | fromYamlArray)
      (include "iceway.refuse.tls" . | fromYamlArray)
      (include "iceway.refuse.config" . | fromYamlArray)
      (include "iceway.refuse.secrets" . | fromYamlArray) -}}
{{- if $faults -}}
{{- fail (printf "\n\nThese values cannot work:\n- %s\n" (join "\n- " $faults)) -}}
{{- end -}}
{{- end -}}

{{- define "iceway.refuse.pods" -}}
{{- $many := include "iceway.isMany" . -}}
{{- if and $many (not (include "iceway.hasRedis" .)) (not .Values.redis.independentNodes) }}
- "redis: several pods share secrets, revocations, limits and calls through Redis: name a Secret with its address in redis.existingSecret, or set redis.independentNodes if they shall know nothing of one another"
{{- end }}
{{- if and (eq .Values.api.requireHttps "always") (not .Values.tls.enabled) }}
- "api.requireHttps: without a certificate (tls.enabled) nobody could use the API"
{{- end }}
{{- if and .Values.redis.independentNodes (include "iceway.hasRedis" .) }}
- "redis.independentNodes: there is a Redis, so nodes are not independent: remove one of the two"
{{- end }}
{{- if eq .Values.kind "DaemonSet" }}
{{- if ne (int .Values.replicas) 1 }}
- "replicas: a DaemonSet has one pod for each node, not a number of them: choose nodes with nodeSelector, or kind: Deployment"
{{- end }}
{{- if .Values.autoscaling.enabled }}
- "autoscaling.enabled: a DaemonSet has one pod for each node and cannot be scaled: use kind: Deployment"
{{- end }}
{{- end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
- "autoscaling.minReplicas: more than autoscaling.maxReplicas"
{{- end }}
{{- if and .Values.persistence.enabled $many }}
- "persistence.enabled: one volume cannot be written by several pods; what they share is kept in Redis, so leave persistence out"
{{- end }}
{{- with .Values.podDisruptionBudget }}
{{- if and .enabled $many (eq $.Values.kind "Deployment") (not (kindIs "invalid" .minAvailable)) (not (kindIs "string" .minAvailable)) }}
{{- $pods := ternary $.Values.autoscaling.minReplicas $.Values.replicas $.Values.autoscaling.enabled }}
{{- if ge (int .minAvailable) (int $pods) }}
- {{ printf "podDisruptionBudget.minAvailable: with %d of %d pods no pod may ever be evicted, so nodes could not be drained" (int .minAvailable) (int $pods) | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "iceway.refuse.network" -}}
{{- $from := include "iceway.publicAddress" . -}}
{{- $public := .Values.network.publicAddress -}}
{{- $ports := .Values.ports -}}
{{- if not (or $ports.udp $ports.tcp (and .Values.tls.enabled $ports.tls)) }}
- "ports: no port for clients is left: set udp, tcp, or tls with tls.enabled"
{{- end }}
{{- if gt (int $ports.relay.min) (int $ports.relay.max) }}
- "ports.relay.min: above ports.relay.max"
{{- end }}
{{- if and $ports.udp (ge (int $ports.udp) (int $ports.relay.min)) (le (int $ports.udp) (int $ports.relay.max)) }}
- "ports.udp: lies in the relay range (ports.relay), where an allocation would need it"
{{- end }}
{{- if has (int $ports.http) (list (int $ports.tcp) (ternary (int $ports.tls) 0 .Values.tls.enabled)) }}
- "ports.http: clients of the relay have this port"
{{- end }}
{{- if .Values.network.host }}
{{- range $name := list "udp" "tcp" "tls" "http" }}
{{- $port := int (index $ports $name) }}
{{- if and $port (lt $port 1024) (not $.Values.network.allowPrivilegedPorts) (or (ne $name "tls") $.Values.tls.enabled) }}
- {{ printf "ports.%s: only root may bind port %d on a node, and iceway is not: lower net.ipv4.ip_unprivileged_port_start on the nodes and set network.allowPrivilegedPorts, or put a Service with this port in front" $name $port | quote }}
{{- end }}
{{- end }}
{{- if .Values.networkPolicy.enabled }}
- "networkPolicy.enabled: policies do not reach pods on the node's network (network.host), so it would protect nothing: use the firewall of the nodes"
{{- end }}
{{- if .Values.network.sysctls }}
- "network.sysctls: Kubernetes refuses them for pods on the node's network (network.host): set them on the nodes"
{{- end }}
{{- else if not $from }}
- "network.publicAddress.from: without network.host relay ports are on the pod's address, and no load balancer or NodePort carries them. Say own if peers reach pods at their addresses, configured if something in front maps an address to the pod one to one, or set network.host"
{{- else if eq $from "node" }}
- {{ printf "network.publicAddress.from: %s is an address of the node, but without network.host relay ports are on the pod's, and nothing forwards them: set network.host, or say own or configured" $from | quote }}
{{- end }}
{{- if and (eq $from "stun") (not .Values.network.host) }}
- "network.publicAddress.from: a STUN server sees a pod as an address of its node, but without network.host relay ports are on the pod's, and nothing forwards them: set network.host, or say own or configured"
{{- end }}
{{- if and (eq $from "node") (eq .Values.network.listenOn "all") (ne .Values.network.ipFamily "dual") }}
- "network.publicAddress.from: node is one address, and with network.listenOn: all relay sockets are on every address of the node: say stun or own, or configured with PUBLIC/PRIVATE pairs"
{{- end }}
{{- if and (eq $from "node") (eq .Values.network.ipFamily "dual") (semverCompare "<1.29.0-0" .Capabilities.KubeVersion.Version) }}
- {{ printf "network.ipFamily: dual takes both addresses of a node from status.hostIPs, which Kubernetes %s does not have: say stun, or configured with PUBLIC/PRIVATE pairs" .Capabilities.KubeVersion.Version | quote }}
{{- end }}
{{- range $name, $key := dict "stun" "stunServers" "hostname" "hostname" "interface" "interface" }}
{{- if and (eq $from $name) (not (index $public $key)) }}
- {{ printf "network.publicAddress.%s: empty, but from: %s needs it" $key $name | quote }}
{{- end }}
{{- if and (ne $from $name) (index $public $key) }}
- {{ printf "network.publicAddress.%s: only used with from: %s" $key $name | quote }}
{{- end }}
{{- end }}
{{- if and (eq $from "hostname") (include "iceway.isMany" .) (not (contains "$(NODE_NAME)" $public.hostname)) }}
- {{ printf "network.publicAddress.hostname: %s would be told by every pod, but leads to one: write a name for each node, with $(NODE_NAME)" $public.hostname | quote }}
{{- end }}
{{- if and (eq $from "configured") (not $public.addresses) }}
- "network.publicAddress.addresses: empty, but from: configured needs them"
{{- end }}
{{- if and (ne $from "configured") $public.addresses }}
- "network.publicAddress.addresses: only used with from: configured"
{{- end }}
{{- if and (eq $from "configured") (include "iceway.isMany" .) }}
{{- range $public.addresses }}
{{- if not (contains "/" .) }}
- {{ printf "network.publicAddress.addresses: %s would be told by every pod, but belongs to one: write PUBLIC/PRIVATE pairs, one for each node" . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (eq .Values.network.ipFamily "dual") (eq .Values.network.listenOn "podIP") }}
- "network.listenOn: podIP is one address of one family: ipFamily: dual needs all"
{{- end }}
{{- end -}}

{{- define "iceway.refuse.service" -}}
{{- $service := .Values.service -}}
{{- $tcp := or .Values.ports.tcp (and .Values.tls.enabled .Values.ports.tls) -}}
{{- if contains "$(" .Values.host }}
{{- if include "iceway.hasService" . }}
- "host: a name for each node ($(NODE_NAME)) and a Service in front of all of them exclude one another"
{{- end }}
{{- else if and .Values.host (include "iceway.isMany" .) (not (include "iceway.hasService" .)) (not .Values.uris) }}
- "host: every pod would say that it is the one of this name, so that none could be chosen: write $(NODE_NAME) into it, such as $(NODE_NAME).turn.example.org, leave it empty so that they are told by address, or set uris if the name stands for all of them"
{{- end }}
{{- if include "iceway.hasService" . }}
{{- if not (or .Values.uris .Values.host (and (or (not .Values.ports.udp) $service.udp.host) (or (not $tcp) $service.tcp.host))) }}
- "host: clients are told the name of the Service, not the addresses of pods behind it: set host, or service.udp.host and service.tcp.host"
{{- end }}
{{- if and (eq $service.type "LoadBalancer") (eq $service.layout "split") .Values.ports.udp $tcp (not .Values.uris) }}
{{- $same := eq (include "iceway.udpHost" .) (include "iceway.tcpHost" .) }}
{{- $sameIp := and $service.udp.loadBalancerIP (eq $service.udp.loadBalancerIP $service.tcp.loadBalancerIP) }}
{{- if and $same .Values.host (not (or $service.sharedAddress $sameIp)) }}
- "service.layout: two load balancers have two addresses, and one name for both sends half of the clients to the wrong one: set service.udp.host and service.tcp.host, or have them share an address (annotations and service.sharedAddress, or the same loadBalancerIP), or use layout: mixed if the cloud can"
{{- end }}
{{- end }}
{{- if and (eq $service.layout "mixed") (or $service.udp.host $service.tcp.host) }}
- "service.layout: mixed has one address for both protocols, so one name: use host instead of service.udp.host and service.tcp.host"
{{- end }}
{{- if eq $service.type "NodePort" }}
{{- range $name := list "udp" "tcp" "tls" }}
{{- if and (index $.Values.ports $name) (not (index $service.nodePorts $name)) (or (ne $name "tls") $.Values.tls.enabled) }}
- {{ printf "service.nodePorts.%s: clients are told this port, so it cannot be left to chance" $name | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.ingress.enabled (not (or .Values.ingress.host .Values.host)) }}
- "ingress.host: needed, since host is empty"
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) (contains "$(" .Values.host) }}
- "ingress.host: needed, since host differs from node to node"
{{- end }}
{{- end -}}

{{- define "iceway.refuse.tls" -}}
{{- $tls := .Values.tls -}}
{{- if $tls.enabled }}
{{- if and $tls.existingSecret $tls.certManager.enabled }}
- "tls: the certificate comes from existingSecret or from certManager, not from both"
{{- end }}
{{- if not (or $tls.existingSecret $tls.certManager.enabled) }}
- "tls.enabled: there is no certificate: set tls.existingSecret or tls.certManager.enabled"
{{- end }}
{{- if and $tls.certManager.enabled (not $tls.certManager.issuerRef.name) }}
- "tls.certManager.issuerRef.name: empty, so nobody would sign the certificate"
{{- end }}
{{- if and $tls.certManager.enabled (not (or $tls.certManager.dnsNames .Values.host .Values.service.tcp.host)) }}
- "tls.certManager.dnsNames: a certificate needs a name: set host or dnsNames"
{{- end }}
{{- else if or $tls.existingSecret $tls.certManager.enabled }}
- "tls.enabled: false, but a certificate is configured: set it to true"
{{- end }}
{{- end -}}

{{/* Keys of the configuration that follow from other values. */}}
{{- define "iceway.owned" -}}
listen.udp: ports.udp
listen.tcp: ports.tcp
listen.tls: ports.tls
http.listen: ports.http
relay.port_min: ports.relay.min
relay.port_max: ports.relay.max
relay.external: network.publicAddress
tls.certificate: tls.existingSecret or tls.certManager
tls.private_key: tls.existingSecret or tls.certManager
auth.realm: auth.realm
auth.secret: auth.existingSecret
auth.secret_file: auth.existingSecret
redis.url: redis.existingSecret or redis.url
redis.cluster_key_file: redis.clusterKey.existingSecret
node.id: the name of the pod, which it is
node.host: host
node.uris: uris
store.path: persistence
http.control_socket: extraVolumes, for another way to it
http.require_https: api.requireHttps
runtime.drain_timeout: drain.timeoutSeconds
{{- end -}}

{{- define "iceway.refuse.config" -}}
{{- $owned := include "iceway.owned" . | fromYaml -}}
{{- range $section, $keys := .Values.config }}
{{- range $key, $value := $keys }}
{{- $path := printf "%s.%s" $section $key }}
{{- with get $owned $path }}
- {{ printf "config.%s: follows from another value: use %s" $path . | quote }}
{{- end }}
{{- if hasKey $.Values.secretFiles $path }}
- {{ printf "config.%s: secretFiles has it too: remove one of them" $path | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- range $path, $from := .Values.secretFiles }}
{{- with get $owned $path }}
- {{ printf "secretFiles.%s: follows from another value: use %s" $path . | quote }}
{{- end }}
{{- end }}
{{- range .Values.extraArgs }}
{{- $flag := regexReplaceAll "^--([a-z0-9-]+).*" . "${1}" }}
{{- $argument := . }}
{{- range $path, $value := $owned }}
{{- if eq $flag ($path | replace "." "-" | replace "_" "-") }}
- {{ printf "extraArgs: %s would win over what Services, probes and Secrets were made for: use %s" $argument $value | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "iceway.refuse.secrets" -}}
{{- if and .Values.api.key.generate (or (hasKey .Values.secretFiles "api.keys_file") (hasKey (get .Values.config "api" | default dict) "keys_file")) }}
- "api.key.generate: the server reads one file of keys: set it to false where api.keys_file is your own"
{{- end }}
{{- if and .Values.redis.url .Values.redis.existingSecret }}
- "redis: the address comes from url or from existingSecret, not from both"
{{- end }}
{{- if regexMatch "://[^/]*@" .Values.redis.url }}
- "redis.url: has a user or password, and would stand in a ConfigMap: put the whole address into a Secret (redis.existingSecret)"
{{- end }}
{{- range .Values.extraEnv }}
{{- if and (hasKey . "value") (has .name (list "ICEWAY_AUTH_SECRET" "ICEWAY_REDIS_URL")) }}
- {{ printf "extraEnv: the value of %s is a secret, and pods can be read by many: use auth.existingSecret, redis.existingSecret or valueFrom" .name | quote }}
{{- end }}
{{- end }}
{{- end -}}
