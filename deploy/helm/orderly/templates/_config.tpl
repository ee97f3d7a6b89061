{{/* The files of /etc/orderly/config. */}}
{{- define "orderly.config" -}}
{{- $auth := dict -}}
{{- with .Values.webhook.bearerToken -}}
{{- if .existingSecret -}}
{{- $_ := set $auth "bearerTokenFile" (printf "/etc/orderly/webhook/bearer/%s" .key) -}}
{{- end -}}
{{- end -}}
{{- with .Values.webhook.basic -}}
{{- if .existingSecret -}}
{{- $_ := set $auth "basic" (dict "username" .username "passwordFile" (printf "/etc/orderly/webhook/basic/%s" .key)) -}}
{{- end -}}
{{- end -}}
{{- with .Values.webhook.mutualTls -}}
{{- if .existingSecret -}}
{{- $_ := set $auth "mutualTls" (dict "clientCaFile" (printf "/etc/orderly/webhook/clients/%s" .key)) -}}
{{- end -}}
{{- end -}}
{{- $config := deepCopy .Values.config -}}
{{- $_ := set $config "listen" ":8080" -}}
{{- $_ := set $config "admin" (dict "listen" ":9090") -}}
{{- if include "orderly.policyFiles" . -}}
{{- $_ := set $config "policies" (list "/etc/orderly/policies") -}}
{{- end -}}
{{- if ne .Values.policies.resources "none" -}}
{{- $_ := set $config "policyResources" .Values.policies.resources -}}
{{- end -}}
{{- $_ := set $config "journal" (dict "path" "/var/lib/orderly/orderly.db") -}}
{{- $_ := set $config "webhook" (dict "auth" $auth) -}}
{{- $_ := set $config "kubernetes" (dict "kubeconfig" "/etc/orderly/config/kubeconfig" "readContext" "reader" "writeContext" "writer") -}}
{{- if .Values.tls.existingSecret -}}
{{- $_ := set $config "tls" (dict "certFile" "/etc/orderly/tls/tls.crt" "keyFile" "/etc/orderly/tls/tls.key") -}}
{{- end -}}
orderly.yaml: |
  {{- toYaml $config | nindent 2 }}
# Both tokens are files, which are read again as they change.
kubeconfig: |
  apiVersion: v1
  kind: Config
  clusters:
    - name: cluster
      cluster:
        server: https://kubernetes.default.svc
        certificate-authority: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
  users:
    - name: reader
      user: {tokenFile: /etc/orderly/reader/token}
    - name: writer
      user: {tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token}
  contexts:
    - name: reader
      context: {cluster: cluster, user: reader}
    - name: writer
      context: {cluster: cluster, user: writer}
  current-context: reader
{{- end -}}
