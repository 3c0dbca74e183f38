{{- define "waystation.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "waystation.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "waystation.labels" -}}
{{ include "waystation.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "waystation.account" -}}
{{- .Values.serviceAccount.name | default (ternary (include "waystation.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- /* The table [storage] as JSON: what is empty is left to its default. */}}
{{- define "waystation.storage" -}}
{{- $table := dict }}
{{- range $key, $value := .Values.storage }}
{{- if $value }}{{ $_ := set $table $key $value }}{{ end }}
{{- end }}
{{- toJson $table }}
{{- end }}
