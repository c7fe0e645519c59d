{{- define "portal.name" -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "portal.labels" -}}
{{ include "portal.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "portal.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "portal.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "portal.cudaImage" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- if .Values.image.cudaRepository }}{{ .Values.image.cudaRepository }}:{{ $tag }}{{ else }}{{ .Values.image.repository }}:{{ $tag }}-cuda{{ end }}
{{- end }}

{{- define "portal.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "portal.container" -}}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: { drop: [ALL] }
{{- end }}

{{- /* The environment of a container; `own` are the settings of its group. */}}
{{- define "portal.env" -}}
{{- $given := dict "MODE" "production" "BEHIND_PROXY" "true" "MODELS_DIR" "/models" "ALLOWED_HOSTS" (join "," .Values.hosts) -}}
{{- range $name := list "SECRET_KEY" "ENCRYPTION_KEYS" "API_TOKEN_PEPPERS" "DATABASE_URL" "REDIS_URL" }}
{{- $_ := set $given (printf "%s_FILE" $name) (printf "/run/secrets/portal/%s" (lower $name)) }}
{{- end }}
{{- range $name, $value := merge (dict) (.own | default dict) .Values.settings $given }}
- name: SPEECHPORTAL_{{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "portal.mounts" -}}
- { name: secrets, mountPath: /run/secrets/portal, readOnly: true }
- { name: data, mountPath: /data }
- { name: tmp, mountPath: /tmp }
- { name: models, mountPath: /models }
{{- end }}

{{- define "portal.volumes" -}}
- name: secrets
  secret: { secretName: {{ .Values.secretName | quote }}, defaultMode: 0440 }
- name: data
  emptyDir: { sizeLimit: {{ .scratch | default "2Gi" }} }
- name: tmp
  emptyDir: { sizeLimit: 2Gi }
- name: models
  {{- if or .Values.models.claim .Values.models.create }}
  persistentVolumeClaim: { claimName: {{ .Values.models.claim | default (printf "%s-models" (include "portal.name" .)) }} }
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}
