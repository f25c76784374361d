{{- define "projectsetup.labels" -}}
{{- $own := dict "app.kubernetes.io/part-of" "projectsetup" "app.kubernetes.io/instance" .Release.Name }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") }}
{{- merge dict (.Values.commonLabels | default dict) $own | toYaml }}
{{- end }}

{{- define "projectsetup.selector" -}}
app.kubernetes.io/name: projectsetup
app.kubernetes.io/component: operator
{{- end }}

{{/* The objects of a file in files/, for the release's namespace and with its labels. Arguments: root, file; optional:
without (list of KIND/NAME to leave out), labels (added to each object). The files come from manifests/ and crds/. */}}
{{- define "projectsetup.objects" -}}
{{- $root := .root }}
{{- $labels := merge dict (.labels | default dict) (include "projectsetup.labels" $root | fromYaml) }}
{{- $namespace := $root.Release.Namespace }}
{{- $text := $root.Files.Get (printf "files/%s" .file) }}
{{- $text = replace "namespace: projectsetup-system" (printf "namespace: %q" $namespace) $text }}
{{- $text = replace "projectsetup-system" $namespace $text }}
{{- $without := .without | default list }}
{{- range splitList "\n---\n" $text }}
{{- $object := fromYaml . }}
{{- $metadata := $object.metadata }}
{{- if not (has (printf "%s/%s" $object.kind $metadata.name) $without) }}
{{- $_ := set $metadata "labels" (merge dict $labels ($metadata.labels | default dict)) }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}
{{- end }}

{{/* The image of the operator. */}}
{{- define "projectsetup.image" -}}
{{- $default := ternary "codemyspec/projectsetup-toolchain" "codemyspec/projectsetup" (eq .Values.engine "local") }}
{{- $repository := .Values.image.repository | default $default }}
{{- with .Values.image.digest }}
{{- printf "%s@%s" $repository . }}
{{- else }}
{{- printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/* Binds a role to the operator. Arguments: root, name, role (default: name), kind of the role, namespace (of the
binding; none: the whole cluster). */}}
{{- define "projectsetup.binding" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "RoleBinding" "ClusterRoleBinding" (hasKey . "namespace") }}
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . | quote }}
  {{- end }}
  labels:
    {{- include "projectsetup.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind | default "ClusterRole" }}
  name: {{ .name }}
subjects:
- kind: ServiceAccount
  name: projectsetup-operator
  namespace: {{ .root.Release.Namespace | quote }}
{{ end }}
