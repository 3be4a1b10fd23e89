{{/* Name of the Cluster, and of what is made for it. */}}
{{- define "barnabas.cluster" -}}
{{- default .Release.Name .Values.name -}}
{{- end -}}

{{- define "barnabas.labels" -}}
app.kubernetes.io/part-of: barnabas
app.kubernetes.io/instance: {{ include "barnabas.cluster" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}
