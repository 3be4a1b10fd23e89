{{/* The one name of everything here: two operators in one namespace would share their authority. */}}
{{- define "operator.name" -}}
barnabas-operator
{{- end }}

{{- define "operator.selector" -}}
app.kubernetes.io/name: barnabas-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "operator.labels" -}}
{{ include "operator.selector" . }}
app.kubernetes.io/part-of: barnabas
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "operator.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "operator.name" .) .Values.serviceAccount.name }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end -}}
{{- end }}

{{/* Cluster-scoped, so that two releases in two namespaces do not take each other's. */}}
{{- define "operator.clusterRole" -}}
{{ include "operator.name" . }}-{{ .Release.Namespace }}
{{- end }}

{{/* "Cluster" for all namespaces; nothing, and with it Role and RoleBinding, for one. */}}
{{- define "operator.scope" -}}
{{- if not .Values.watchNamespace }}Cluster{{ end -}}
{{- end }}

{{- define "operator.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end }}

{{- define "operator.brokerImage" -}}
{{ .Values.brokerImage.repository }}:{{ default .Chart.AppVersion .Values.brokerImage.tag }}
{{- end }}

{{- define "operator.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "operator.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
