{{ .Values.str }}
plain
{{- "trim" -}} x
{{ "a" -}}   b   {{- "c" }}
{{/* comment */}}x{{- /* c2 */ -}} y
{{ if .Values.yes_ }}A{{ else }}B{{ end }}
{{ if .Values.no_ }}A{{ else if eq .Values.int 42.0 }}C{{ else }}B{{ end }}
{{ if and .Values.yes_ .Values.str }}x{{ end }}{{ if or .Values.no_ .Values.empty }}y{{ end }}
{{ and 1 0 }} {{ or 0 "x" }} {{ and "a" "b" "c" }} {{ or "" 0 nil }} {{ not 1 }} {{ not "" }}
{{ with .Values.map }}{{ .a }}{{ end }}{{ with .Values.nothing }}x{{ else }}none{{ end }}
{{ with .Values.nothing }}x{{ else with .Values.str }}{{ . }}{{ end }}
{{ range .Values.list }}{{ . }},{{ end }}
{{ range $i, $v := .Values.list }}{{ $i }}={{ $v }} {{ end }}
{{ range $k, $v := .Values.map }}{{ $k }}={{ $v }} {{ end }}
{{ range .Values.emptyList }}x{{ else }}empty{{ end }}
{{ range .Values.nothing }}x{{ else }}nil{{ end }}
{{ range 3 }}{{ . }}{{ end }}
{{ range $i := 3 }}{{ $i }}{{ end }}
{{ range $i, $x := 3 }}{{ $i }}{{ end }}
{{ range 0 }}x{{ else }}zero{{ end }}
{{ range .Values.int }}{{ end }}
{{ range .Values.str }}{{ end }}
{{ range .Values.list }}{{ if eq . "b" }}{{ continue }}{{ end }}{{ . }}{{ end }}
{{ range .Values.list }}{{ if eq . "b" }}{{ break }}{{ end }}{{ . }}{{ end }}
{{ range $i, $v := .Values.list }}{{ range $j, $w := $.Values.nums }}{{ if gt $w 2.0 }}{{ continue }}{{ end }}{{ $i }}{{ $j }} {{ end }}{{ end }}
{{ $x := 1 }}{{ $x }}{{ $x = 2 }}{{ $x }}
{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}
{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}
{{ $x := 1 }}{{ range .Values.list }}{{ $x = add $x 1 }}{{ end }}{{ $x }}
{{ $x, $y := 1 }}
{{ range $a, $b, $c := .Values.list }}{{ end }}
{{ template "t.dot" 5 }}{{ template "t.dot" }}{{ template "t.dot" .Values.map }}
{{ block "blk" .Values.str }}<{{ . }}>{{ end }}
{{ define "loc" }}L{{ . }}{{ end }}{{ template "loc" 1 }}{{ include "loc" 2 }}
{{ define "dup" }}a{{ end }}{{ define "dup" }}b{{ end }}
{{ include "t.labels" . | nindent 2 }}
{{ .Values.missing }}|{{ .Values.missing | quote }}|{{ .Values.nested.one.two.three }}
{{ .Values.missing.deep }}
{{ (.Values.missing).deep }}
{{ (.Values.missing).deep.er }}
{{ ((.Values.missing).deep).er | default "d" }}
{{ $m := .Values.missing }}{{ $m.foo }}
{{ .Values.str.foo }}
{{ .Values.int.foo }}
{{ .Values.list.foo }}
{{ $s := "x" }}{{ $s.foo }}
{{ range .Values.list }}{{ .foo }}{{ end }}
{{ range .Values.mixed }}{{ . }};{{ end }}
{{ range .Values.mixed }}{{ printf "%T" . }} {{ end }}
{{ .nope }}{{ .Release.Nope }}{{ .Chart.Nope }}
{{ .Release.Name.foo }}
{{ .Capabilities.KubeVersion }} {{ .Capabilities.KubeVersion.Version }} {{ .Capabilities.KubeVersion.Major }} {{ .Capabilities.KubeVersion.Minor }} {{ .Capabilities.KubeVersion.GitVersion }}
{{ .Capabilities.Nope }}
{{ .Capabilities.KubeVersion.Nope }}
{{ .Capabilities.APIVersions.Has "apps/v1" }} {{ .Capabilities.APIVersions.Has "nope/v1" }}
{{ .Capabilities.APIVersions.Has }}
{{ .Capabilities.HelmVersion.Version }} {{ .Capabilities.HelmVersion.GoVersion }}
{{ .Capabilities | toJson | trunc 90 }}
{{ .Release.Revision }} {{ .Release.IsUpgrade }} {{ .Release.IsInstall }} {{ .Release.Service }} {{ .Release.Namespace }}
{{ .Chart.Name }} {{ .Chart.Version }} {{ .Chart.AppVersion }} {{ .Chart.IsRoot }} {{ .Chart.Type }}
{{ .Template.Name }} {{ .Template.BasePath }}
{{ toYaml .Chart }}
{{ .Files.Get "data.txt" }}|{{ .Files.Get "nope" }}|{{ .Files.GetBytes "data.txt" }}
{{ .Files.Lines "data.txt" }}{{ range .Files.Lines "data.txt" }}[{{ . }}]{{ end }}
{{ range $p, $b := .Files.Glob "conf/*" }}{{ $p }}:{{ $b | toString }} {{ end }}
{{ (.Files.Glob "conf/*").AsConfig }}
{{ (.Files.Glob "conf/*").AsSecrets }}
{{ (.Files.Glob "nope/*").AsConfig }}|{{ (.Files.Glob "**").AsConfig }}
{{ range $p, $b := .Files }}{{ $p }} {{ end }}{{ len .Files }}
{{ .Files.Get 3 }}
{{ .Values.AsMap.str }} {{ .Values | typeOf }} {{ .Values.AsMap | typeOf }}
{{ print 1 2 "a" "b" 3 nil true 1.5 }} {{ println "x" 1 }}
{{ printf "%d %s %v %q %5d|%-5d|%05d %x %X %o %b %c %U" 1 "s" .Values.map "q" 2 3 4 255 255 8 5 65 0x1F600 }}
{{ printf "%f %.2f %e %g %8.3f|%-8.1f|%+d %t" 1.5 2.345 12345.678 1e10 3.14159 2.5 7 true }}
{{ printf "%s" 1 }} {{ printf "%d" "x" }} {{ printf "%d" }} {{ printf "x" 1 2 }} {{ printf "%!" }} {{ printf "%z" 1 }}
{{ printf "%v %+v %#v %T" .Values.list .Values.map .Values.map .Values.map }}
{{ printf "%v %s %d" nil nil nil }}
{{ printf "%[2]d %[1]d" 1 2 }} {{ printf "%*d" 5 42 }} {{ printf "%6.2f|%-10s|%10s" 3.14159 "ab" "cd" }}
{{ printf "%x %X % x %#x" "hello" "hi" "abc" "abc" }} {{ printf "%q %#q %+q" "a\"b" "raw" "é" }}
{{ printf "%5t|%v|%s" true .Values.float .Values.int }} {{ printf "%d" .Values.int }} {{ printf "%d" (int .Values.int) }}
{{ printf "%s" .Values.list }} {{ printf "%d" .Values.nums }} {{ printf "%q" .Values.list }}
{{ printf "%%|%c|%q|%U" 'x' 'y' 'z' }} {{ 'a' }} {{ 0x10 }} {{ 0b11 }} {{ 0o17 }} {{ 1_000 }} {{ 1e3 }} {{ 1.5e-7 }} {{ 017 }}
{{ .Values.big }} {{ .Values.million }} {{ .Values.float }} {{ .Values.octal }} {{ .Values.date }} {{ .Values.neg }}
{{ .Values.map }} {{ .Values.list }} {{ .Values.mixed }} {{ .Values.nested }}
{{ eq 1 1 }} {{ eq "a" "b" "a" }} {{ ne 1 2 }} {{ lt 1 2 }} {{ le 2 2 }} {{ gt "b" "a" }} {{ ge 1.5 1.5 }}
{{ eq 1 1.0 }}
{{ eq .Values.int 42 }}
{{ lt 1 "a" }}
{{ eq .Values.list .Values.list }}
{{ eq .Values.map .Values.map }}
{{ eq nil nil }} {{ eq .Values.nothing nil }} {{ eq "a" nil }}
{{ lt nil 1 }}
{{ eq 1 }}
{{ len .Values.list }} {{ len .Values.str }} {{ len .Values.map }} {{ len .Values.unicode }}
{{ len .Values.int }}
{{ len nil }}
{{ len .Values.missing }}
{{ index .Values.list 1 }} {{ index .Values.map "a" }} {{ index .Values "nested" "one" "two" "three" }} {{ index .Values.mixed 5 "k" }} {{ index "abc" 1 }}
{{ index .Values.list 9 }}
{{ index .Values.list 3 }}
{{ index .Values.list "a" }}
{{ index .Values.map 1 }}
{{ index .Values.missing "a" }}
{{ index .Values "a" "b" }}
{{ index .Values.int 1 }}
{{ index nil 1 }}
{{ index .Values.map "zz" }}|{{ index .Values.map nil }}
{{ html "<a href='x'>&\"" }} {{ js "it's \"x\" <b>" }} {{ urlquery "a b&c=d/é" }}
{{ "piped" | printf "%s-%s" "x" }} {{ 3 | add 4 | mul 2 }}
{{ upper 3 }}
{{ upper .Values.int }}
{{ .Values.int | upper }}
{{ upper .Values.missing }}
{{ .Values.missing | upper }}
{{ upper nil }}
{{ upper }}
{{ upper "a" "b" }}
{{ trunc "a" "b" }}
{{ trunc .Values.int "b" }}
{{ trunc 1.5 "b" }}
{{ ternary 1 2 "x" }}
{{ repeat 3 }}
{{ set 1 "a" 2 }}
{{ set .Values.list "a" 2 }}
{{ nope }}
{{ "a" | 3 }}
{{ 3 "a" }}
{{ .Values.str "x" }}
{{ .Values.str | .Values.str }}
{{ nil }}
{{ nil | quote }}
{{ $undefined }}
{{ if }}x{{ end }}
{{ if true }}
{{ end }}
{{ else }}
{{ range }}{{ end }}
{{ break }}
{{ template }}
{{ template "nope" . }}
{{ template "a" "b" "c" }}
{{ include "nope" . }}
{{ include "t.viaFail" . }}
{{ include "t.req" . }}
{{ template "t.viaFail" . }}
{{ include "t.dot" }}
{{ include "t.dot" 1 2 }}
{{ include 3 . }}
{{ "unterminated }}
{{ `raw
string` }}
{{ 'ab' }}
{{ "\q" }}
{{ "esc\t\"\n\x41\u00e9" }}
{{ ( }}
{{ (1 }}
{{ ) }}
{{ 1 + 2 }}
{{ a.b }}
{{ .Values..str }}
{{ .Values.str. }}
{{ .Values.a-b }}
{{ .1 }}
{{ 1.2.3 }}
{{ 08 }}
{{ 0x }}
{{ 99999999999999999999 }}
{{ 9223372036854775808 }}
{{ 1i }}
{{ "a" := "b" }}
{{ $x := }}
{{ $x = 1 }}
{{ @ }}
{{ # }}
{{ /* unclosed
{{ "{{" }} }} {{ "}}" }}
{{define "x"}}
{{define x}}{{end}}
{{define "x"}}{{else}}{{end}}
{{with}}{{end}}
{{if true}}{{else}}{{else}}{{end}}
{{if true}}{{else if}}{{end}}
{{ (index .Values.list 0) }} {{ (list 1 2 3 | first) }} {{ (dict "a" (dict "b" 1)).a.b }}
{{ (dict "a" 1).b }}|{{ (dict "a" 1).b.c }}
{{ (print "a").foo }}
{{ true.foo }}
{{ "x".foo }}
{{ $.Values.str }} {{ $ | len }} {{ with 1 }}{{ $.Release.Name }}{{ end }}
{{ call .Values.str }}
{{ call nil }}
{{ .Values.str | len | add 1 }} {{ len "é" }} {{ "é" | trunc 1 | len }}
{{ range $i, $e := until 3 }}{{ if $i }},{{ end }}{{ $e }}{{ end }}
{{- range $k, $v := .Values.nested }}
{{ $k }}:
  {{- toYaml $v | nindent 2 }}
{{- end }}
{{ range .Values.objs }}{{ .name }}={{ .value }};{{ end }}
{{ range $o := .Values.objs }}{{ $o.name }}{{ $.Release.Name }}{{ end }}
{{ with $x := .Values.str }}{{ $x }}{{ . }}{{ end }}
{{ if $x := .Values.str }}{{ $x }}{{ end }}
{{ range $i, $e := .Values.nothing }}x{{ else }}{{ . | typeOf }}{{ end }}
{{ $x := dict }}{{ range .Values.list }}{{ $_ := set $x . . }}{{ end }}{{ $x }}
{{ $d := dict "a" 1 }}{{ $e := $d }}{{ $_ := set $e "b" 2 }}{{ $d }}
{{ $_ := set .Values "new" "v" }}{{ .Values.new }} {{ $.Values.new }}
{{ tpl .Values.tplstr . }} {{ tpl "{{ .x }}" (dict "x" 1) }} {{ tpl "plain" . }} {{ tpl "" . }}
{{ tpl "{{ define \"in\" }}I{{ . }}{{ end }}{{ include \"in\" 3 }}" . }}
{{ tpl "{{ include \"t.name\" . }}" . }} {{ tpl "{{ tpl .Values.tplstr . }}" . }}
{{ tpl "{{ .Values.missing.deep }}" . }}
{{ tpl "{{ nope }}" . }}
{{ tpl "{{" . }}
{{ tpl "{{ fail \"inner\" }}" . }}
{{ tpl "{{ .x.y }}" (dict) }}
{{ tpl 3 . }}
{{ tpl "{{ . }}" nil }}|{{ tpl "{{ .a }}" nil }}|{{ tpl "a{{ .missing }}b" (dict) }}
{{ required "msg" .Values.str }} {{ required "msg" 0 }} {{ required "msg" false }}
{{ required "need it" .Values.missing }}
{{ required "need: it" .Values.empty }}
{{ required "need\nlines" .Values.empty }}
{{ fail "boom" }}
{{ fail "multi\nline" }}
{{ fail (printf "x %d" 1) | quote }}
{{ lookup "v1" "Pod" "ns" "x" }} {{ (lookup "v1" "Pod" "ns" "x").metadata }} {{ len (lookup "v1" "Pod" "ns" "") }}
{{ lookup "v1" }}
{{ toYaml .Values.map }} {{ toYaml .Values.list }} {{ toYaml .Values.str }} {{ toYaml nil }} {{ toYaml 1 }} {{ toYaml 1.5 }} {{ toYaml true }}
{{ toYaml .Values }}
{{ toYaml .Release }}
{{ .Values.big | toYaml }} {{ .Values.big | toJson }} {{ .Values.big | toString }} {{ .Values.big | int64 }} {{ .Values.big | quote }} {{ .Values.million | int }}
{{ toYaml .Subcharts }} {{ .Subcharts.x }}
