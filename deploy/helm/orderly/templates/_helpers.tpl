{{/* What everything is called: the release, with `orderly` in it. */}}
{{- define "orderly.name" -}}
{{- if contains "orderly" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-orderly" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The labels by which pods are found: they never change. */}}
{{- define "orderly.selector" -}}
app.kubernetes.io/name: orderly
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "orderly.labels" -}}
{{ include "orderly.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "orderly.metadata" -}}
name: {{ include "orderly.name" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "orderly.labels" . | nindent 2 }}
{{- end -}}

{{/* Whether the chart has policies of its own to mount. */}}
{{- define "orderly.ownPolicies" -}}
{{- if or .Values.policies.shipped .Values.policies.inline }}yes{{ end -}}
{{- end -}}

{{/* Whether there are policies to mount, whoever keeps them. */}}
{{- define "orderly.policyFiles" -}}
{{- if or (include "orderly.ownPolicies" .) .Values.policies.existingConfigMap }}yes{{ end -}}
{{- end -}}

{{/* The custom resources that are policies, by the name that the API has for them: a JSON list. */}}
{{- define "orderly.policyResources" -}}
{{- $kinds := dict "none" (list) "namespaced" (list "remediationpolicies") "cluster" (list "clusterremediationpolicies") -}}
{{- $_ := set $kinds "all" (concat $kinds.cluster $kinds.namespaced) -}}
{{- get $kinds .Values.policies.resources | toJson -}}
{{- end -}}

{{/* Combinations that would be refused later, or worse, not be noticed. */}}
{{- define "orderly.check" -}}
{{- $webhook := .Values.webhook -}}
{{- if not (or $webhook.bearerToken.existingSecret $webhook.basic.existingSecret $webhook.mutualTls.existingSecret) -}}
{{- fail (printf "\n\nWho may send alerts? Make a token, and give the same one to Alertmanager:\n\n  kubectl -n %[1]s create secret generic orderly-webhook --from-literal=token=\"$(openssl rand -hex 32)\"\n\nand name it: --set webhook.bearerToken.existingSecret=orderly-webhook\n(other ways: webhook.basic, webhook.mutualTls)\n" .Release.Namespace) -}}
{{- end -}}
{{- if and $webhook.mutualTls.existingSecret (not .Values.tls.existingSecret) -}}
{{- fail "\n\nwebhook.mutualTls needs TLS: set tls.existingSecret\n" -}}
{{- end -}}
{{- range $key := list "listen" "admin" "policies" "policyResources" "journal" "webhook" "insecureWebhook" "tls" "kubernetes" -}}
{{- if hasKey $.Values.config $key -}}
{{- fail (printf "\n\nconfig.%s is set by the chart; values of its own do that: webhook, tls, policies, journal\n" $key) -}}
{{- end -}}
{{- end -}}
{{- $policies := .Values.policies -}}
{{- if not (or (include "orderly.policyFiles" .) (ne $policies.resources "none")) -}}
{{- fail "\n\nThere is no policy: set policies.shipped, policies.inline, policies.existingConfigMap or policies.resources\n" -}}
{{- end -}}
{{- if and .Values.rbac.create (not .Values.rbac.generated) (or $policies.inline $policies.existingConfigMap) -}}
{{- fail "\n\nThe rights for your own policies are not known here. Print them, for all policies together, and give them:\n\n  orderly rbac POLICIES... --format json > rbac.json\n\nwith --set-file rbac.generated=rbac.json, or set rbac.create=false and apply them yourself\n" -}}
{{- end -}}
{{- range $name, $mode := $policies.modes -}}
{{- if not (and $policies.shipped ($.Files.Get (printf "files/policies/%s.yaml" $name))) -}}
{{- fail (printf "\n\npolicies.modes.%s: no such policy is shipped\n" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
