{{- define "t.name" -}}
{{ .Chart.Name }}-{{ .Release.Name }}
{{- end -}}
{{- define "t.labels" -}}
app: {{ include "t.name" . }}
ver: {{ .Chart.Version | quote }}
{{- end -}}
{{- define "t.fail" }}{{ .Values.missing.deep }}{{ end -}}
{{- define "t.viaFail" }}{{ include "t.fail" . }}{{ end -}}
{{- define "t.req" }}{{ required "needed" .Values.missing }}{{ end -}}
{{- define "t.dot" }}[{{ . }}]{{ end -}}
