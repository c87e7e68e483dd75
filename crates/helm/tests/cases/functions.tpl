{{ abbrev 5 "hello world" }} {{ abbrev 3 "hello" }} {{ abbrev 50 "hi" }} {{ abbrevboth 5 10 "1234 5678 9123" }} {{ abbrevboth 1 8 "abcdefghijkl" }} {{ abbrevboth 4 9 "héllo wörld" }}
{{ trunc 3 "hello" }} {{ trunc -3 "hello" }} {{ trunc 0 "x" }} {{ trunc -9 "hello" }} {{ trunc 63 "x" | trimSuffix "-" }}
{{ trim "  a b \n" }}| {{ upper "aé" }} {{ lower "AÉ" }} {{ title "hello wORLD foo-bar it's" }} {{ untitle "Hello World" }}
{{ substr 0 3 "hello" }} {{ substr 2 -1 "hello" }} {{ substr -1 3 "hello" }} {{ substr 1 99 "hello" }}
{{ substr 9 10 "hello" }}
{{ substr 4 2 "hello" }}
{{ repeat 3 "ab" }}|{{ repeat 0 "x" }}
{{ repeat -1 "x" }}
{{ trimAll "$" "$5.00$" }} {{ trimall "ab" "abcba" }} {{ trimSuffix "-" "x--" }} {{ trimPrefix "-" "--x" }} {{ nospace " a b\tc " }}
{{ initials "First Try here" }} {{ swapcase "This Is A.Test" }} {{ snakecase "FirstName" }} {{ camelcase "http_server" }} {{ kebabcase "FirstName" }}
{{ range list "HTTPServer" "someHTTPServer" "foo_bar-baz" "FOO_BAR" "a1b2" "Foo2Bar" "foo bar" "_foo" "foo__bar" "HTTP2Server" "IDs" "x" "" "aB" "ABc" "héLLo" "foo.bar" "NASA2020Mission" "FirstName1" "a-b_c" "GetID3" "1stPlace" }}{{ snakecase . }},{{ kebabcase . }},{{ camelcase . }};{{ end }}
{{ wrap 5 "a b c d e f g" }}|{{ wrap 10 "hello world foobar" }}|{{ wrapWith 5 "\t" "Hello World" }}|{{ wrapWith 3 "-" "abcdefgh" }}|{{ wrap 80 "x" }}|{{ wrap 3 "abcdef gh" }}
{{ contains "b" "abc" }} {{ hasPrefix "a" "abc" }} {{ hasSuffix "c" "abc" }} {{ contains "" "" }}
{{ quote "a" 1 nil true 1.5 "x\"y" }} {{ squote "a" 1 nil "it's" }} {{ quote nil }}| {{ quote .Values.list }} {{ quote .Values.map }} {{ quote "é\n\t\\" }}
{{ cat "a" 1 nil "b" true }}| {{ indent 4 "a\nb" }} {{ nindent 2 "a\n\nb" }} {{ indent 0 "x" }}
{{ indent -1 "x" }}
{{ replace " " "-" "a b c" }} {{ replace "" "x" "ab" }} {{ plural "one" "many" 1 }} {{ plural "one" "many" 2 }} {{ plural "one" "many" 0 }}
{{ sha1sum "a" }} {{ sha256sum "a" }} {{ sha512sum "a" | trunc 20 }} {{ adler32sum "hello" }}
{{ toString 1 }} {{ toString .Values.list }} {{ toString nil }} {{ toString true }} {{ toString 1.5 }} {{ toString .Values.map }} {{ toString 1e10 }}
{{ atoi "12" }} {{ atoi "x" }} {{ atoi "012" }} {{ int "12" }} {{ int "0x10" }} {{ int "1.0" }} {{ int "1.5" }} {{ int 3.9 }} {{ int true }} {{ int nil }} {{ int "010" }} {{ int "08" }} {{ int -3.9 }}
{{ int64 "99" }} {{ int64 .Values.big }} {{ float64 "1.5" }} {{ float64 "x" }} {{ float64 3 }} {{ float64 true }} {{ int .Values.list }} {{ int "12abc" }} {{ float64 "1e3" }} {{ int "1e3" }} {{ int " 5" }}
{{ toDecimal "777" }} {{ toDecimal 777 }} {{ toDecimal "8" }} {{ seq 5 }}|{{ seq 2 5 }}|{{ seq 5 2 }}|{{ seq 0 2 6 }}|{{ seq -3 }}|{{ seq 0 }}|{{ seq }}|{{ seq 5 1 1 }}|{{ seq 1 2 3 4 }}|{{ seq 5 -1 1 }}
{{ until 3 }} {{ until -3 }} {{ until 0 }} {{ untilStep 0 10 3 }} {{ untilStep 5 0 -2 }} {{ untilStep 0 5 -1 }} {{ untilStep 0 5 0 }}
{{ split "," "a,b,c" }} {{ (split "," "a,b,c")._1 }} {{ (split "," "a")._5 }}| {{ splitList "," "a,b" }} {{ splitn "," 2 "a,b,c" }} {{ splitList "" "abc" }} {{ split "," "" }} {{ splitList "," "" | len }}
{{ toStrings (list 1 "a" true nil 1.5) }} {{ toStrings "x" }} {{ toStrings nil }} {{ toStrings .Values.map }} {{ join "-" (list 1 2 nil "a") }} {{ join "," "abc" }} {{ join "," nil }}| {{ join "," .Values.nums }} {{ sortAlpha (list "b" "a" 3 1) }} {{ sortAlpha "x" }}
{{ add 1 2 3 }} {{ add "1" 2.7 nil true }} {{ add }} {{ sub 5 3 }} {{ mul 2 3 4 }} {{ div 7 2 }} {{ div -7 2 }} {{ mod 7 3 }} {{ mod -7 3 }} {{ add1 5 }} {{ max 1 5 3 }} {{ min 4 2 8 }} {{ biggest 1 2 }} {{ add .Values.int 1 }} {{ add 9223372036854775807 1 }}
{{ div 1 0 }}
{{ mod 1 0 }}
{{ sub 1 }}
{{ addf 0.1 0.2 }} {{ addf 1 2 }} {{ subf 1 0.9 }} {{ mulf 1.1 1.1 }} {{ divf 1 3 }} {{ divf 10 4 2 }} {{ add1f 1.5 }} {{ addf 1e20 1 }} {{ mulf 3 0.1 }} {{ subf 0.3 0.1 0.1 }} {{ addf "1.5" 2 }} {{ divf 2 3 }} {{ divf -1 6 }} {{ mulf 1e200 1e200 }}
{{ divf 1 0 }}
{{ maxf 1.5 2 }} {{ minf 1.5 2 }} {{ ceil 1.2 }} {{ floor 1.8 }} {{ floor -1.2 }} {{ round 1.2345 2 }} {{ round 1.235 2 }} {{ round 5 0 }} {{ round -1.5 0 }} {{ round 2.5 0 }} {{ round 1.26 1 0.7 }} {{ ceil "1.1" }} {{ floor 123456789.5 }} {{ round 123.5555 3 0.5 }} {{ round "1.255" 2 }}
{{ default "d" "" }} {{ default "d" "v" }} {{ default "d" 0 }} {{ default "d" nil }} {{ default "d" }} {{ default "d" false }} {{ default 5 .Values.zero }} {{ .Values.missing | default "x" | quote }} {{ default "d" (list) }} {{ default "d" dict }} {{ default "d" 0.0 }}
{{ empty "" }} {{ empty 0 }} {{ empty nil }} {{ empty .Values.emptyList }} {{ empty .Values.map }} {{ empty false }} {{ empty 1 }} {{ empty .Release }} {{ empty .Chart }} {{ empty .Capabilities }} {{ empty now }}
{{ coalesce "" nil 0 "x" }} {{ coalesce }} {{ coalesce nil }}| {{ all 1 "a" true }} {{ all 1 "" }} {{ any "" 0 1 }} {{ any }} {{ all }} {{ ternary "a" "b" true }} {{ true | ternary 1 2 }} {{ .Values.yes_ | ternary "y" "n" }}
{{ compact (list 1 "" nil 0 "a" false) }} {{ mustCompact (list 1 0) }} {{ uniq (list 1 1 "a" "a" 2 1.0) }} {{ without (list 1 2 3 2) 2 }} {{ without (list "a" "b") "a" "b" }} {{ has 1 (list 1 2) }} {{ has "a" .Values.list }} {{ has 4 (list 1) }} {{ has 1 nil }} {{ has 3.0 .Values.nums }} {{ has 3 .Values.nums }}
{{ first (list 1 2) }} {{ last (list 1 2) }} {{ rest (list 1 2 3) }} {{ initial (list 1 2 3) }} {{ first (list) }}| {{ rest (list) }} {{ initial (list) }} {{ reverse (list 1 2 3) }} {{ first .Values.list }} {{ last .Values.emptyList }}
{{ first "abc" }}
{{ first nil }}
{{ rest 5 }}
{{ reverse "x" }}
{{ uniq 1 }}
{{ has 1 "x" }}
{{ append 1 2 }}
{{ without "x" "y" }}
{{ concat 1 }}
{{ compact "x" }}
{{ append (list 1) 2 }} {{ prepend (list 1) 0 }} {{ push (list 1) 2 }} {{ mustAppend (list 1) nil }} {{ append .Values.list "z" }} {{ .Values.list }} {{ concat (list 1) (list 2 3) (list) }} {{ concat }} {{ concat .Values.list (splitList "," "x,y") }} {{ append (splitList "," "a") "b" | typeOf }}
{{ slice (list 1 2 3) 1 }} {{ slice (list 1 2 3) 1 2 }} {{ slice (list 1 2 3) }} {{ slice (list) 0 }} {{ slice .Values.list 0 2 }} {{ slice (splitList "," "a,b") 1 | typeOf }}
{{ slice (list 1 2 3) 5 }}
{{ slice "abc" 1 }}
{{ chunk 2 (list 1 2 3) }} {{ chunk 5 (list 1) }} {{ range chunk 2 .Values.list }}{{ . }}{{ end }} {{ chunk 2 (list) }} {{ mustChunk 1 (list 1) }}
{{ chunk 0 (list 1) }}
{{ chunk 2 "x" }}
{{ list }} {{ tuple 1 "a" nil }} {{ list 1 (list 2) (dict "a" 1) }} {{ list nil | toJson }} {{ typeOf (list) }}
{{ dict }} {{ dict "a" 1 "b" }} {{ dict 1 2 }} {{ dict "a" nil | toJson }} {{ dict "x" (list 1) | toYaml }} {{ dict true 1 1.5 2 nil 3 }}
{{ get (dict "a" 1) "a" }} {{ get (dict) "x" }}| {{ hasKey (dict "a" nil) "a" }} {{ hasKey .Values "nope" }} {{ set (dict) "a" 1 }} {{ unset (dict "a" 1 "b" 2) "a" }} {{ pluck "a" (dict "a" 1) (dict "b" 2) (dict "a" 3) }} {{ pick (dict "a" 1 "b" 2) "a" "z" }} {{ omit (dict "a" 1 "b" 2) "a" "z" }} {{ keys (dict "b" 1 "a" 2) | sortAlpha }} {{ values (dict "a" 1) }} {{ keys (dict "a" 1) (dict "b" 2) | sortAlpha }}
{{ merge (dict "a" 1) (dict "a" 2 "b" 3) }} {{ mergeOverwrite (dict "a" 1) (dict "a" 2 "b" 3) }} {{ merge (dict "a" (dict "x" 1)) (dict "a" (dict "x" 2 "y" 3)) }} {{ merge (dict "a" "") (dict "a" "x") }} {{ merge (dict "a" false) (dict "a" true) }} {{ merge (dict "a" nil) (dict "a" 1) }} {{ mergeOverwrite (dict "a" 1) (dict "a" "") }} {{ mergeOverwrite (dict "a" 1) (dict "a" nil) }} {{ mergeOverwrite (dict "a" (dict "x" 1)) (dict "a" 5) }} {{ merge (dict "a" 5) (dict "a" (dict "x" 1)) }} {{ mergeOverwrite (dict "a" (list 1)) (dict "a" (list 2 3)) }} {{ merge (dict) .Values.map }} {{ mustMerge (dict "a" 0) (dict "a" 3) }} {{ mergeOverwrite (dict "a" 5) (dict "a" (dict "x" 1)) }} {{ mergeOverwrite (dict "a" (dict "x" 1)) (dict "a" (dict)) }}
{{ $a := dict "x" (dict "y" 1) }}{{ $b := merge (dict) $a }}{{ $_ := set $b.x "z" 2 }}{{ $a }}
{{ $a := dict "x" (dict "y" 1) }}{{ $b := deepCopy $a }}{{ $_ := set $b.x "z" 2 }}{{ $a }} {{ $b }} {{ mustDeepCopy (list 1 (list 2)) }} {{ deepCopy 5 }}
{{ deepCopy nil }}
{{ dig "a" "b" "def" (dict "a" (dict "b" 1)) }} {{ dig "a" "z" "def" (dict "a" (dict "b" 1)) }} {{ dig "x" "y" "def" (dict) }} {{ dig "a" "def" (dict "a" nil) }} {{ dig "nested" "one" "d" .Values.AsMap }}
{{ dig "a" "b" "def" (dict "a" 1) }}
{{ dig "a" }}
{{ dig "a" "b" }}
{{ dig "a" "b" "c" nil }}
{{ typeOf 1 }} {{ typeOf "a" }} {{ typeOf nil }} {{ typeOf .Values.int }} {{ typeOf (list) }} {{ typeOf (dict) }} {{ typeOf (add 1 2) }} {{ typeOf true }} {{ typeOf (splitList "," "a") }} {{ kindOf 1 }} {{ kindOf .Values }} {{ kindOf .Values.list }} {{ kindOf nil }} {{ kindOf .Values.int }} {{ kindOf .Capabilities }} {{ kindOf now }} {{ kindIs "map" .Values }} {{ kindIs "invalid" nil }} {{ typeIs "string" "a" }} {{ typeIsLike "common.Capabilities" .Capabilities }} {{ typeIsLike "*common.Capabilities" .Capabilities }} {{ typeIs "[]interface {}" .Values.list }}
{{ deepEqual (list 1) (list 1) }} {{ deepEqual 1 1.0 }} {{ deepEqual nil nil }} {{ deepEqual (dict "a" 1) (dict "a" 1) }} {{ deepEqual .Values.map .Values.map }} {{ deepEqual (list "a") (splitList "," "a") }}
{{ base "a/b.c" }} {{ dir "a/b.c" }} {{ clean "a//b/../c" }} {{ ext "a.b.c" }} {{ isAbs "/a" }} {{ osBase "/x/y" }} {{ osDir "/x/y" }} {{ osClean "./a" }} {{ osExt "x.y" }} {{ osIsAbs "a" }} {{ base "" }} {{ dir "" }} {{ clean "" }} {{ base "/" }} {{ dir "/a" }} {{ base "a/" }} {{ ext "a/.b" }} {{ clean "../../a" }} {{ clean "/../a" }}
{{ b64enc "hello" }} {{ b64dec "aGVsbG8=" }} {{ b64dec "x" }}| {{ b32enc "hello" }} {{ b32dec "NBSWY3DP" }} {{ b64dec "/////w==" | b64enc }} {{ b64dec "////" | len }} {{ b32dec "x" }} {{ b64enc "" }} {{ b64dec "aGVsbG8" }} {{ b64dec "aGV\nsbG8=" }} {{ b64dec "a=b=" }} {{ b64dec "!!!!" }} {{ b64dec "aGVsbG8=x" }} {{ b64dec "/////w==" | quote }} {{ b64dec "/////w==" | sha256sum }}
{{ semver "1.2.3-beta.1+b" }} {{ (semver "1.2.3").Major }} {{ (semver "1.2.3").Minor }} {{ (semver "v1.2").Patch }} {{ (semver "1.2.3-a+b").Prerelease }} {{ (semver "1.2.3-a+b").Metadata }} {{ (semver "v1.2").Original }} {{ (semver "1.2.3").IncMinor }} {{ (semver "1.2.3").IncMajor }} {{ (semver "1.2.3-x").IncPatch }} {{ (semver "1.2.3").Compare (semver "1.2.4") }} {{ (semver "1.2.3").LessThan (semver "1.2.4") }} {{ (semver "1.2.3").Equal (semver "1.2.3") }} {{ semver "1.2.3" | toJson }}
{{ semver "x" }}
{{ semver "1.2.3.4" }}
{{ semver "" }}
{{ semver "01.2.3" }}
{{ semver "1.2.3-01" }}
{{ range list "^1.2.3" "~1.2.3" ">=1.0.0" "1.x" "*" "1.2.x" ">1.2" "<=1.2" "<1.3.0-0" "!=1.2.3" ">=1.2.0, <2.0.0" "1.2 - 1.4" "^0.2" "~1" "^1" "=1.2.3" ">1.2.3 || <1.0.0" "1" ">= 1.2" "~> 1.2" "^1.x" ">=1.2.3-0" "<1.2.3" "1.2.3" "1.2" "!=1.2" "^0.0.3" "~0.0" ">=1.2 <2" "" "^2 || ^1" }}{{ semverCompare . "1.2.3" }}{{ semverCompare . "1.3.0" }}{{ semverCompare . "2.0.0" }}{{ semverCompare . "0.2.5" }}{{ semverCompare . "1.2.3-beta.1" }}{{ semverCompare . "v1.36.0-gke.1" }} {{ end }}
{{ semverCompare "x" "1.2.3" }}
{{ semverCompare ">=1.0" "x" }}
{{ semverCompare ">=1.0 foo" "1.0.0" }}
{{ semverCompare ">>1.0" "1.0.0" }}
{{ regexMatch "^a.*z$" "abcz" }} {{ regexFind "[0-9]+" "ab12cd34" }} {{ regexFindAll "[0-9]" "1a2b3" -1 }} {{ regexFindAll "[0-9]" "1a2b3" 2 }} {{ regexReplaceAll "a(x*)b" "-ab-axxb-" "${1}W" }} {{ regexReplaceAll "a(x*)b" "-ab-axxb-" "$1W" }} {{ regexReplaceAllLiteral "a(x*)b" "-ab-axxb-" "${1}" }} {{ regexSplit "z+" "pizza" -1 }} {{ regexSplit "z" "pizza" 2 }} {{ regexQuoteMeta "1.2*3[a]" }} {{ regexSplit "" "abc" -1 }} {{ regexSplit "x" "" -1 }} {{ regexSplit "a*" "baaac" -1 }}
{{ regexMatch "[" "a" }}
{{ regexFind "[" "a" }}
{{ mustRegexFind "(" "a" }}
{{ mustRegexMatch "(?=a)" "a" }}
{{ regexReplaceAll "*" "a" "b" }}
{{ mustRegexReplaceAll "a)" "a" "b" }}
{{ mustRegexMatch "a**" "a" }}
{{ mustRegexMatch "\\8" "a" }}
{{ mustRegexMatch "[z-a]" "a" }}
{{ mustRegexMatch "a{1001}" "a" }}
{{ mustRegexMatch "x{2,1}" "a" }}
{{ mustRegexMatch "(?P<n>a)(?P<n>b)" "a" }}
{{ mustRegexMatch "\\" "a" }}
{{ mustRegexMatch "[[:foo:]]" "a" }}
{{ mustRegexMatch "\\p{Foo}" "a" }}
{{ regexFindAll "a*" "baaac" -1 }} {{ regexReplaceAll "a*" "baaac" "X" }} {{ regexFind "\\bfoo\\b" "a foo b" }} {{ regexMatch "\\d+" "٣" }} {{ regexMatch "\\w" "é" }} {{ regexMatch "(?i)ABC" "abc" }} {{ regexFind "(?s)a.b" "a\nb" }} {{ regexFind "(?m)^b$" "a\nb\nc" }} {{ regexMatch "^\\Qa.b\\E$" "a.b" }} {{ regexFind "[[:alpha:]]+" "12ab" }} {{ regexFind "[^\\s]+" " ab c" }} {{ regexFind "[\\w-]+" "ab-c d" }} {{ regexReplaceAll "(?P<x>a)" "a" "<${x}>" }} {{ regexFind "a|ab" "ab" }} {{ regexFind "\\pL+" "1héé" }} {{ regexMatch "^[a-z&&[^b]]$" "b" }} {{ regexFind "a{,2}" "aaa" }} {{ regexMatch "^[]a]+$" "]a" }}
{{ urlParse .Values.url | toJson }} {{ urlParse "http://h" | toJson }} {{ urlParse "mailto:a@b" | toJson }} {{ urlParse "/p/a?x=1#f" | toJson }} {{ urlParse "" | toJson }} {{ urlParse "//h/p" | toJson }} {{ urlParse "http://[::1]:80/x" | toJson }} {{ urlParse "http://a/b%20c d" | toJson }}
{{ urlParse "http://a b" }}
{{ urlParse "http://h:port" }}
{{ urlParse ":x" }}
{{ urlParse "http://%zz" }}
{{ urlParse "a:b:c" | toJson }} {{ urlParse "1:2" }}
{{ urlJoin (dict "scheme" "http" "host" "h:80" "path" "/a b" "query" "x=1" "fragment" "f" "userinfo" "u:p") }} {{ urlJoin (urlParse .Values.url) }} {{ urlJoin (dict "path" "x") }} {{ urlJoin (dict "host" "h") }} {{ urlJoin (dict "scheme" "mailto" "opaque" "a@b") }} {{ urlJoin (dict "host" "h" "path" "p") }}
{{ urlJoin (dict "host" 1) }}
{{ date "2006-01-02" 0 }} {{ date "Mon Jan _2 15:04:05.000 2006 MST -0700" 1000000000 }} {{ dateInZone "2006-01-02T15:04:05Z07:00" (toDate "2006-01-02" "2020-03-04") "UTC" }} {{ dateInZone "15:04 MST" 0 "America/New_York" }} {{ htmlDate 0 }} {{ htmlDateInZone 86400 "Asia/Tokyo" }} {{ date "3:04PM Monday January 2 06" 1600000000 }} {{ date "02/01/06 .000000 002 __2" 1600000000 }} {{ dateInZone "2006" 0 "Nope/Zone" }}
{{ toDate "2006-01-02" "2017-12-31" }} {{ toDate "2006-01-02" "x" }} {{ (toDate "2006-01-02" "2017-12-31").Unix }} {{ unixEpoch (toDate "2006-01-02" "2017-12-31") }} {{ dateModify "+1h" (toDate "2006-01-02" "2017-12-31") }} {{ date_modify "-1.5h" (toDate "2006-01-02" "2017-12-31") }} {{ dateModify "x" (toDate "2006-01-02" "2017-12-31") }} {{ (toDate "2006-01-02" "2017-12-31").Format "Jan 2" }} {{ (toDate "2006-01-02" "2017-12-31").Year }} {{ (toDate "2006-01-02" "2017-12-31").Month }} {{ (toDate "2006-01-02" "2017-12-31").Weekday }} {{ toDate "2006-01-02" "2017-12-31" | toJson }} {{ toDate "2006-01-02T15:04:05Z07:00" "2020-01-02T03:04:05+02:00" }} {{ (toDate "2006-01-02" "2017-12-31").AddDate 0 2 0 }} {{ (toDate "2006-01-02" "2017-12-31").YearDay }}
{{ mustToDate "2006-01-02" "x" }}
{{ mustToDate "2006-01-02" "2017-13-31" }}
{{ mustToDate "2006-01-02" "2017-02-30" }}
{{ mustDateModify "x" (toDate "2006-01-02" "2017-12-31") }}
{{ duration 95 }} {{ duration "3661" }} {{ duration (int64 95) }} {{ durationRound "2h10m5s" }} {{ durationRound "2400h10m5s" }} {{ durationRound 5 }} {{ durationRound "26h" }} {{ durationRound "x" }} {{ durationRound "90s" }} {{ durationRound "1s" }}
{{ date "2006" "x" | len }} {{ now | date "2006" | len }} {{ ago 0 | len | gt 5 }}
{{ toJson .Values.map }} {{ toJson "a<b>&c\u2028" }} {{ toRawJson "a<b>&c" }} {{ toPrettyJson .Values.map }} {{ toPrettyJson (list) }} {{ toPrettyJson (dict) }} {{ toJson nil }} {{ toJson 1.0 }} {{ toJson 1e21 }} {{ toJson 1e-7 }} {{ toJson .Values.big }} {{ toJson (list 1 "a" nil) }} {{ mustToJson 1 }} {{ mustToPrettyJson (list 1) }} {{ mustToRawJson "<" }} {{ toJson "é\t\u0001\"" }}
{{ fromJson "{\"a\":1}" }} {{ fromJson "[1]" }} {{ fromJson "x" }} {{ (fromJson "{\"a\":{\"b\":[1,2]}}").a.b }} {{ fromJson "" }} {{ fromJson "null" }} {{ fromJsonArray "[1,\"a\"]" }} {{ fromJsonArray "{}" }} {{ fromJsonArray "x" }} {{ mustFromJson "[1]" }} {{ mustFromJson "1" }} {{ fromJson "{\"a\":}" }} {{ fromJson "{a:1}" }} {{ fromJson "{\"a\":1,}" }} {{ fromJson "{\"a\" 1}" }} {{ fromJson "tru" }} {{ fromJson "{\"a\":01}" }} {{ fromJson "\"x" }} {{ fromJson "{} x" }} {{ fromJson "1e999" }} {{ fromJson "[1 2]" }} {{ fromJson "-" }} {{ fromJson "\"\\q\"" }} {{ fromJson "é" }}
{{ mustFromJson "{" }}
{{ mustFromJson "" }}
{{ mustToJson (dict "a" (divf 1 3)) }}
{{ fromYaml "a: 1\nb: [x, y]" }} {{ fromYaml "- 1" }} {{ fromYaml ": :" }} {{ fromYamlArray "- 1\n- a" }} {{ fromYamlArray "a: 1" }} {{ fromYaml "" }} {{ fromYaml "a: b: c" }} {{ (fromYaml "a: 0x10").a }} {{ fromYaml "a: *x" }} {{ fromYaml "\"a" }} {{ fromYamlArray "" }} {{ fromYaml "1" }} {{ fromYaml "a: &x 1\nb: *x" }} {{ fromYaml "a: 1\na: 2" }} {{ fromYaml "a: 1\n---\nb: 2" }}
{{ toToml .Values.map }} {{ toToml (dict "a" 1 "b" 1.5 "c" "x" "d" (list 1 2) "e" true "f" (dict "g" (dict "h" 1)) "i" (list (dict "j" 1) (dict "k" 2)) "l" nil) }} {{ toToml (dict "a b" 1 "é" "x\ny\"" "e" (list) "f" (dict)) }} {{ toToml "x" }} {{ toToml (list 1) }} {{ toToml (dict "a" 1.0) }} {{ toToml (dict "a" (dict "b" 1) "c" (dict "d" 2)) }} {{ toToml (dict "mixed" (list 1 "a" (dict "x" 1))) }} {{ toToml (dict "n" (list (list 1) (list "a"))) }}
{{ fromToml "a = 1\nb = \"x\"\n[c]\nd = [1, 2]\n[[e]]\nf = 1.5" }} {{ (fromToml "a = 1").a | typeOf }} {{ (fromToml "a = 1979-05-27T07:32:00Z").a }}
{{ fromToml "a = " }}
{{ toYamlPretty .Values.objs }} {{ toYamlPretty .Values.map }} {{ toYamlPretty (dict "a" (list 1 (list 2) (dict "b" (list 3)))) }} {{ mustToYaml .Values.map }}
{{ toYaml (dict "a" (list (dict "x" 1 "y" 2) (list 1 2)) "b" "multi\nline" "c" "yes" "d" 1e6 "e" 0.1 "f" "" "g" nil) }}
{{ toYaml (dict "t" (now | date "2006" | len) "s" (semver "1.2.3") "l" (splitList "," "a,b") "i" (add 1 2)) }}
{{ hello }} {{ uuidv4 | len }} {{ randAlphaNum 5 | len }} {{ randAlpha 5 | len }} {{ randNumeric 5 | len }} {{ randAscii 5 | len }} {{ randBytes 6 | len }} {{ shuffle "abc" | len }} {{ randInt 5 6 }} {{ randAlphaNum 0 | len }}
{{ randInt 5 5 }}
{{ getHostByName "localhost" }}|
{{ bcrypt "x" | len }} {{ htpasswd "u" "p" | len }} {{ htpasswd "a:b" "p" }} {{ derivePassword 1 "long" "password" "user" "example.com" }} {{ derivePassword 2 "pin" "password" "user" "example.com" }} {{ derivePassword 1 "maximum" "p" "u" "s" }} {{ derivePassword 1 "medium" "p" "u" "s" }} {{ derivePassword 1 "basic" "p" "u" "s" }} {{ derivePassword 1 "short" "p" "u" "s" }} {{ derivePassword 1 "nope" "p" "u" "s" }} {{ derivePassword 1 "name" "p" "u" "s" }} {{ derivePassword 1 "phrase" "p" "u" "s" }}
{{ encryptAES "key" "text" | decryptAES "key" }} {{ decryptAES "secretkey" "30tEfhuJSVRhpG97XCuWgz2okj7L8vQ1s6V9zVUPeDQ=" }}
{{ decryptAES "k" "x" }}
{{ genPrivateKey "rsa" | trunc 31 }} {{ genPrivateKey "ecdsa" | trunc 30 }} {{ genPrivateKey "dsa" | trunc 31 }} {{ genPrivateKey "ed25519" | trunc 27 }} {{ genPrivateKey "nope" }}
{{ $ca := genCA "my-ca" 365 }}{{ $ca.Cert | trunc 27 }} {{ $ca.Key | trunc 31 }} {{ $c := genSignedCert "cn" (list "10.0.0.1") (list "a.example.com") 10 $ca }}{{ $c.Cert | trunc 27 }} {{ typeOf $ca }} {{ (genSelfSignedCert "x" nil nil 1).Key | trunc 31 }}
{{ genSignedCert "cn" (list "bad") nil 10 (genCA "a" 1) }}
{{ genSignedCert "cn" (list 1) nil 10 (genCA "a" 1) }}
{{ genCAWithKey "x" 1 "nokey" }}
{{ buildCustomCert "x" "y" }}
{{ $ca := genCA "a" 1 }}{{ $b := buildCustomCert ($ca.Cert | b64enc) ($ca.Key | b64enc) }}{{ eq $b.Cert $ca.Cert }} {{ (genSelfSignedCertWithKey "x" nil nil 1 (genPrivateKey "ecdsa")).Key | trunc 30 }} {{ (genCAWithKey "x" 1 (genPrivateKey "rsa")).Key | trunc 31 }} {{ (genSignedCertWithKey "x" nil nil 1 $ca (genPrivateKey "ed25519")).Key | trunc 27 }}
{{ concat list list | toYaml }}
{{ regexFindAll "z" "abc" -1 | toJson }}
{{ fromYaml "" | toYaml }}
{{ fromYaml "null" | toJson }}
{{ fromYamlArray "null" | toJson }}
{{ fromJsonArray "null" | toJson }}
{{ reverse list | toJson }}
{{ uniq list | toJson }}
{{ compact list | toJson }}
{{ without list 1 | toJson }}
{{ sortAlpha list | toJson }}
{{ keys dict | toJson }}
{{ values dict | toJson }}
{{ pluck "a" dict | toJson }}
{{ until 0 | toJson }}
{{ untilStep 0 0 1 | toJson }}
{{ splitList "," "" | toJson }}
{{ regexSplit "," "" -1 | toJson }}
{{ regexSplit "," "a" 0 | toJson }}
{{ chunk 2 list | toJson }}
{{ slice list 0 0 | toJson }}
{{ slice (list 1) 0 0 | toJson }}
{{ toStrings list | toJson }}
{{ list | toJson }}
{{ tuple | toJson }}
{{ rest list | toJson }}
{{ rest (list 1) | toJson }}
{{ initial (list 1) | toJson }}
{{ first list | toJson }}
{{ deepCopy (rest list) | toJson }}
{{ append (rest list) 1 | toJson }}
{{ prepend (rest list) 1 | toJson }}
{{ deepEqual (rest list) list }}
{{ deepEqual (fromYaml "") dict }}
{{ set (fromYaml "") "a" 1 | toJson }}
{{ merge (fromYaml "") (dict "a" 1) | toJson }}
{{ merge dict (fromYaml "") | toJson }}
{{ mergeOverwrite (fromYaml "null") (dict "a" 1) | toJson }}
{{ unset (fromYaml "") "a" | toJson }}
{{ $x := fromYaml "" }}{{ $x.a }}|{{ $x }}|{{ len $x }}|{{ kindOf $x }}|{{ typeOf $x }}
{{ $x := rest list }}{{ $x }}|{{ len $x }}|{{ kindOf $x }}|{{ typeOf $x }}|{{ if $x }}a{{ end }}|{{ empty $x }}
{{ printf "%#v %v" (rest list) (fromYaml "") }}
{{ omit (fromYaml "") "a" | toJson }}{{ pick (fromYaml "") "a" | toJson }}
{{ deepCopy (fromYaml "") | toJson }}
{{ dict "a" (rest list) "b" (fromYaml "") | toYaml }}
{{ toToml (dict "a" (rest list) "b" (fromYaml "") "c" list "d" dict) }}
{{ has 1 (rest list) }}{{ concat (rest list) (list 1) | toJson }}
{{ regexFindAll "a" "abc" 0 | toJson }}
{{ .Files.Lines "none" | toJson }}
{{ (lookup "v1" "Pod" "" "").items | toJson }}
{{ printf "%#v %#v %#v %#v" 1e6 123456789.0 1e20 1e21 }}
{{ printf "%#v %#v %#v" 0.00001 1.5 100.0 }}
{{ dig "a" 1 "d" (dict) }}
{{ dig 1 "a" "d" (dict) }}
{{ float64 "1_000" }} {{ float64 "1__0" }} {{ float64 "_1" }} {{ float64 "1_" }} {{ float64 "0x_1p4" }} {{ float64 "1_0.5_0" }} {{ float64 "1._5" }} {{ float64 "1e1_0" }}
{{ int "1_000" }} {{ int "0_7" }} {{ int "0x_f" }} {{ int "1__0" }}
{{ toToml (dict "t" (toDate "2006-01-02" "2020-05-06") "n" nil "l" (list 1 "a" 1.5) "m" (dict "x" (list (dict "y" 1) (dict "z" (dict "w" 2))))) }}
{{ toToml (dict "a" (list (dict "b" 1) 2)) }}
{{ toToml (list 1 2) }}{{ toToml "x" }}{{ toToml 1 }}{{ toToml 1.0 }}{{ toToml true }}
{{ toToml (list (dict "a" 1)) }}
{{ toToml (dict "a" (list nil)) }}
{{ toToml (dict "a" (list (list 1) (list nil))) }}
{{ toToml (dict "a b" 1 "" 2 "é" 3 "x.y" (dict "k" 1)) }}
{{ toToml (dict "a" (dict "b" (dict "c" 1)) "z" 1) }}
{{ toToml (dict "a" (list (list (dict "b" 1)))) }}
{{ toToml (dict "f" 1e6 "g" 1e21 "h" 0.1 "i" 123456789.0) }}
{{ toToml (dict "s" "q\"\\\n\t\u0001é\u007f") }}
{{ toToml nil }}
{{ toToml .Release }}
{{ toToml (dict "d" (semver "1.2.3")) }}
{{ toToml (dict "e" dict "l" list) }}
{{ fromToml "a = " }}
{{ fromToml "a" }}
{{ fromToml "a\nb = 1" }}
{{ fromToml "a = 1\nb" }}
{{ fromToml "a = x" }}
{{ fromToml "a = foo bar" }}
{{ fromToml "= 1" }}
{{ fromToml ".a = 1" }}
{{ fromToml "a.b = @" }}
{{ fromToml "a = \nb=1" }}
{{ fromToml "a = .5" }}
{{ fromToml "@" }}
{{ fromToml "  a b = 1" }}
{{ fromToml "a = 1 2" }}
{{ fromToml "a = nope" }}
{{ fromJson "1e999" }}
{{ fromJson "{\"a\": 1e999}" }}
{{ fromJsonArray "[1e999]" }}
{{ mustFromJson "1e999" }}
{{ fromJson "[1e999]" }}
{{ fromJson "{\"a\": {\"b\": -1e999, \"c\": 2}, \"d\": 1e1000}" | toJson }}
{{ semverCompare "1.2 - 2.3.4" "2.3.4" }}{{ semverCompare "1.2 - 2.3.4 || >5" "6.0.0" }}{{ semverCompare "1.2-2" "1.2.0" }}
{{ semverCompare "1.2.3 - 2.x" "2.9.0" }}
{{ printf "%5d|%-5d|%05d|%+d" "a" true 1.5 nil }}
{{ printf "%08.3f|%8s|%-8q|%08q" 3.14159 "x" "y" "z" }}
{{ printf "%s %d %v" (list nil 1 "a" true) (list nil 1 "a" true) (list nil 1 "a" true) }}
{{ printf "%s %q %x" (dict "a" nil "b" 1) (dict "a" nil) (dict "a" "b") }}
{{ subf 1.5 1.5 }} {{ mulf -1 0 }} {{ addf -0.0 0 }} {{ divf 0 -3 }} {{ round -0.2 0 }}
{{ b32dec "T" }}|{{ b32dec "AAAAAAAAT" }}|{{ b32dec "AA" }}|{{ b32dec "A=" }}|{{ b32dec "!" }}|{{ b32dec "AAAAAAA!" }}|{{ b32dec "aaaa" }}
{{ urlParse "http://a b/#x" }}
{{ urlParse "http://a/%zz#x" }}
{{ urlParse "http://a/#%zz" }}
{{ urlParse "http://[::1/#a" }}
{{ urlParse "http://h/p?q=a b#f g" | toJson }}
{{ urlParse ":x#y" }}
{{ merge dict (dict "a" nil) | toJson }} {{ merge dict (dict "a" "") | toJson }} {{ merge dict (dict "a" "s") | toJson }} {{ merge dict (dict "a" 0) | toJson }} {{ merge dict (dict "a" 1) | toJson }} {{ merge dict (dict "a" false) | toJson }} {{ merge dict (dict "a" true) | toJson }} {{ merge dict (dict "a" list) | toJson }} {{ merge dict (dict "a" (list 1)) | toJson }} {{ merge dict (dict "a" (list nil)) | toJson }} {{ merge dict (dict "a" dict) | toJson }} {{ merge dict (dict "a" (dict "x" 1)) | toJson }} {{ merge dict (dict "a" (dict "x" nil)) | toJson }} {{ merge dict (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ merge dict (dict "a" (rest list)) | toJson }} {{ merge dict (dict "a" (dict "x" "")) | toJson }} {{ merge dict (dict "a" (until 0)) | toJson }}
{{ mergeOverwrite dict (dict "a" nil) | toJson }} {{ mergeOverwrite dict (dict "a" "") | toJson }} {{ mergeOverwrite dict (dict "a" "s") | toJson }} {{ mergeOverwrite dict (dict "a" 0) | toJson }} {{ mergeOverwrite dict (dict "a" 1) | toJson }} {{ mergeOverwrite dict (dict "a" false) | toJson }} {{ mergeOverwrite dict (dict "a" true) | toJson }} {{ mergeOverwrite dict (dict "a" list) | toJson }} {{ mergeOverwrite dict (dict "a" (list 1)) | toJson }} {{ mergeOverwrite dict (dict "a" (list nil)) | toJson }} {{ mergeOverwrite dict (dict "a" dict) | toJson }} {{ mergeOverwrite dict (dict "a" (dict "x" 1)) | toJson }} {{ mergeOverwrite dict (dict "a" (dict "x" nil)) | toJson }} {{ mergeOverwrite dict (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ mergeOverwrite dict (dict "a" (rest list)) | toJson }} {{ mergeOverwrite dict (dict "a" (dict "x" "")) | toJson }} {{ mergeOverwrite dict (dict "a" (until 0)) | toJson }}
{{ merge (dict "a" nil) (dict "a" nil) | toJson }} {{ merge (dict "a" nil) (dict "a" "") | toJson }} {{ merge (dict "a" nil) (dict "a" "s") | toJson }} {{ merge (dict "a" nil) (dict "a" 0) | toJson }} {{ merge (dict "a" nil) (dict "a" 1) | toJson }} {{ merge (dict "a" nil) (dict "a" false) | toJson }} {{ merge (dict "a" nil) (dict "a" true) | toJson }} {{ merge (dict "a" nil) (dict "a" list) | toJson }} {{ merge (dict "a" nil) (dict "a" (list 1)) | toJson }} {{ merge (dict "a" nil) (dict "a" (list nil)) | toJson }} {{ merge (dict "a" nil) (dict "a" dict) | toJson }} {{ merge (dict "a" nil) (dict "a" (dict "x" 1)) | toJson }} {{ merge (dict "a" nil) (dict "a" (dict "x" nil)) | toJson }} {{ merge (dict "a" nil) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ merge (dict "a" nil) (dict "a" (rest list)) | toJson }} {{ merge (dict "a" nil) (dict "a" (dict "x" "")) | toJson }} {{ merge (dict "a" nil) (dict "a" (until 0)) | toJson }}
{{ mergeOverwrite (dict "a" nil) (dict "a" nil) | toJson }} {{ mergeOverwrite (dict "a" nil) (dict "a" "") | toJson }} {{ mergeOverwrite (dict "a" nil) (dict "a" "s") | toJson }} {{ mergeOverwrite (dict "a" nil) (dict "a" 0) | toJson }} {{ mergeOverwrite (dict "a" nil) (dict "a" 1) | toJson }} {{ mergeOverwrite (dict "a" nil) (dict "a" false) | toJson }} {{ mergeOverwrite (dict "a" nil) (dict "a" true) | toJson }} {{ mergeOverwrite (dict "a" nil) (dict "a" list) | toJson }} {{ mergeOverwrite (dict "a" nil) (dict "a" (list 1)) | toJson }} {{ mergeOverwrite (dict "a" nil) (dict "a" (list nil)) | toJson }} {{ mergeOverwrite (dict "a" nil) (dict "a" dict) | toJson }} {{ mergeOverwrite (dict "a" nil) (dict "a" (dict "x" 1)) | toJson }} {{ mergeOverwrite (dict "a" nil) (dict "a" (dict "x" nil)) | toJson }} {{ mergeOverwrite (dict "a" nil) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ mergeOverwrite (dict "a" nil) (dict "a" (rest list)) | toJson }} {{ mergeOverwrite (dict "a" nil) (dict "a" (dict "x" "")) | toJson }} {{ mergeOverwrite (dict "a" nil) (dict "a" (until 0)) | toJson }}
{{ merge (dict "a" "") (dict "a" nil) | toJson }} {{ merge (dict "a" "") (dict "a" "") | toJson }} {{ merge (dict "a" "") (dict "a" "s") | toJson }} {{ merge (dict "a" "") (dict "a" 0) | toJson }} {{ merge (dict "a" "") (dict "a" 1) | toJson }} {{ merge (dict "a" "") (dict "a" false) | toJson }} {{ merge (dict "a" "") (dict "a" true) | toJson }} {{ merge (dict "a" "") (dict "a" list) | toJson }} {{ merge (dict "a" "") (dict "a" (list 1)) | toJson }} {{ merge (dict "a" "") (dict "a" (list nil)) | toJson }} {{ merge (dict "a" "") (dict "a" dict) | toJson }} {{ merge (dict "a" "") (dict "a" (dict "x" 1)) | toJson }} {{ merge (dict "a" "") (dict "a" (dict "x" nil)) | toJson }} {{ merge (dict "a" "") (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ merge (dict "a" "") (dict "a" (rest list)) | toJson }} {{ merge (dict "a" "") (dict "a" (dict "x" "")) | toJson }} {{ merge (dict "a" "") (dict "a" (until 0)) | toJson }}
{{ mergeOverwrite (dict "a" "") (dict "a" nil) | toJson }} {{ mergeOverwrite (dict "a" "") (dict "a" "") | toJson }} {{ mergeOverwrite (dict "a" "") (dict "a" "s") | toJson }} {{ mergeOverwrite (dict "a" "") (dict "a" 0) | toJson }} {{ mergeOverwrite (dict "a" "") (dict "a" 1) | toJson }} {{ mergeOverwrite (dict "a" "") (dict "a" false) | toJson }} {{ mergeOverwrite (dict "a" "") (dict "a" true) | toJson }} {{ mergeOverwrite (dict "a" "") (dict "a" list) | toJson }} {{ mergeOverwrite (dict "a" "") (dict "a" (list 1)) | toJson }} {{ mergeOverwrite (dict "a" "") (dict "a" (list nil)) | toJson }} {{ mergeOverwrite (dict "a" "") (dict "a" dict) | toJson }} {{ mergeOverwrite (dict "a" "") (dict "a" (dict "x" 1)) | toJson }} {{ mergeOverwrite (dict "a" "") (dict "a" (dict "x" nil)) | toJson }} {{ mergeOverwrite (dict "a" "") (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ mergeOverwrite (dict "a" "") (dict "a" (rest list)) | toJson }} {{ mergeOverwrite (dict "a" "") (dict "a" (dict "x" "")) | toJson }} {{ mergeOverwrite (dict "a" "") (dict "a" (until 0)) | toJson }}
{{ merge (dict "a" "s") (dict "a" nil) | toJson }} {{ merge (dict "a" "s") (dict "a" "") | toJson }} {{ merge (dict "a" "s") (dict "a" "s") | toJson }} {{ merge (dict "a" "s") (dict "a" 0) | toJson }} {{ merge (dict "a" "s") (dict "a" 1) | toJson }} {{ merge (dict "a" "s") (dict "a" false) | toJson }} {{ merge (dict "a" "s") (dict "a" true) | toJson }} {{ merge (dict "a" "s") (dict "a" list) | toJson }} {{ merge (dict "a" "s") (dict "a" (list 1)) | toJson }} {{ merge (dict "a" "s") (dict "a" (list nil)) | toJson }} {{ merge (dict "a" "s") (dict "a" dict) | toJson }} {{ merge (dict "a" "s") (dict "a" (dict "x" 1)) | toJson }} {{ merge (dict "a" "s") (dict "a" (dict "x" nil)) | toJson }} {{ merge (dict "a" "s") (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ merge (dict "a" "s") (dict "a" (rest list)) | toJson }} {{ merge (dict "a" "s") (dict "a" (dict "x" "")) | toJson }} {{ merge (dict "a" "s") (dict "a" (until 0)) | toJson }}
{{ mergeOverwrite (dict "a" "s") (dict "a" nil) | toJson }} {{ mergeOverwrite (dict "a" "s") (dict "a" "") | toJson }} {{ mergeOverwrite (dict "a" "s") (dict "a" "s") | toJson }} {{ mergeOverwrite (dict "a" "s") (dict "a" 0) | toJson }} {{ mergeOverwrite (dict "a" "s") (dict "a" 1) | toJson }} {{ mergeOverwrite (dict "a" "s") (dict "a" false) | toJson }} {{ mergeOverwrite (dict "a" "s") (dict "a" true) | toJson }} {{ mergeOverwrite (dict "a" "s") (dict "a" list) | toJson }} {{ mergeOverwrite (dict "a" "s") (dict "a" (list 1)) | toJson }} {{ mergeOverwrite (dict "a" "s") (dict "a" (list nil)) | toJson }} {{ mergeOverwrite (dict "a" "s") (dict "a" dict) | toJson }} {{ mergeOverwrite (dict "a" "s") (dict "a" (dict "x" 1)) | toJson }} {{ mergeOverwrite (dict "a" "s") (dict "a" (dict "x" nil)) | toJson }} {{ mergeOverwrite (dict "a" "s") (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ mergeOverwrite (dict "a" "s") (dict "a" (rest list)) | toJson }} {{ mergeOverwrite (dict "a" "s") (dict "a" (dict "x" "")) | toJson }} {{ mergeOverwrite (dict "a" "s") (dict "a" (until 0)) | toJson }}
{{ merge (dict "a" 0) (dict "a" nil) | toJson }} {{ merge (dict "a" 0) (dict "a" "") | toJson }} {{ merge (dict "a" 0) (dict "a" "s") | toJson }} {{ merge (dict "a" 0) (dict "a" 0) | toJson }} {{ merge (dict "a" 0) (dict "a" 1) | toJson }} {{ merge (dict "a" 0) (dict "a" false) | toJson }} {{ merge (dict "a" 0) (dict "a" true) | toJson }} {{ merge (dict "a" 0) (dict "a" list) | toJson }} {{ merge (dict "a" 0) (dict "a" (list 1)) | toJson }} {{ merge (dict "a" 0) (dict "a" (list nil)) | toJson }} {{ merge (dict "a" 0) (dict "a" dict) | toJson }} {{ merge (dict "a" 0) (dict "a" (dict "x" 1)) | toJson }} {{ merge (dict "a" 0) (dict "a" (dict "x" nil)) | toJson }} {{ merge (dict "a" 0) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ merge (dict "a" 0) (dict "a" (rest list)) | toJson }} {{ merge (dict "a" 0) (dict "a" (dict "x" "")) | toJson }} {{ merge (dict "a" 0) (dict "a" (until 0)) | toJson }}
{{ mergeOverwrite (dict "a" 0) (dict "a" nil) | toJson }} {{ mergeOverwrite (dict "a" 0) (dict "a" "") | toJson }} {{ mergeOverwrite (dict "a" 0) (dict "a" "s") | toJson }} {{ mergeOverwrite (dict "a" 0) (dict "a" 0) | toJson }} {{ mergeOverwrite (dict "a" 0) (dict "a" 1) | toJson }} {{ mergeOverwrite (dict "a" 0) (dict "a" false) | toJson }} {{ mergeOverwrite (dict "a" 0) (dict "a" true) | toJson }} {{ mergeOverwrite (dict "a" 0) (dict "a" list) | toJson }} {{ mergeOverwrite (dict "a" 0) (dict "a" (list 1)) | toJson }} {{ mergeOverwrite (dict "a" 0) (dict "a" (list nil)) | toJson }} {{ mergeOverwrite (dict "a" 0) (dict "a" dict) | toJson }} {{ mergeOverwrite (dict "a" 0) (dict "a" (dict "x" 1)) | toJson }} {{ mergeOverwrite (dict "a" 0) (dict "a" (dict "x" nil)) | toJson }} {{ mergeOverwrite (dict "a" 0) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ mergeOverwrite (dict "a" 0) (dict "a" (rest list)) | toJson }} {{ mergeOverwrite (dict "a" 0) (dict "a" (dict "x" "")) | toJson }} {{ mergeOverwrite (dict "a" 0) (dict "a" (until 0)) | toJson }}
{{ merge (dict "a" 1) (dict "a" nil) | toJson }} {{ merge (dict "a" 1) (dict "a" "") | toJson }} {{ merge (dict "a" 1) (dict "a" "s") | toJson }} {{ merge (dict "a" 1) (dict "a" 0) | toJson }} {{ merge (dict "a" 1) (dict "a" 1) | toJson }} {{ merge (dict "a" 1) (dict "a" false) | toJson }} {{ merge (dict "a" 1) (dict "a" true) | toJson }} {{ merge (dict "a" 1) (dict "a" list) | toJson }} {{ merge (dict "a" 1) (dict "a" (list 1)) | toJson }} {{ merge (dict "a" 1) (dict "a" (list nil)) | toJson }} {{ merge (dict "a" 1) (dict "a" dict) | toJson }} {{ merge (dict "a" 1) (dict "a" (dict "x" 1)) | toJson }} {{ merge (dict "a" 1) (dict "a" (dict "x" nil)) | toJson }} {{ merge (dict "a" 1) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ merge (dict "a" 1) (dict "a" (rest list)) | toJson }} {{ merge (dict "a" 1) (dict "a" (dict "x" "")) | toJson }} {{ merge (dict "a" 1) (dict "a" (until 0)) | toJson }}
{{ mergeOverwrite (dict "a" 1) (dict "a" nil) | toJson }} {{ mergeOverwrite (dict "a" 1) (dict "a" "") | toJson }} {{ mergeOverwrite (dict "a" 1) (dict "a" "s") | toJson }} {{ mergeOverwrite (dict "a" 1) (dict "a" 0) | toJson }} {{ mergeOverwrite (dict "a" 1) (dict "a" 1) | toJson }} {{ mergeOverwrite (dict "a" 1) (dict "a" false) | toJson }} {{ mergeOverwrite (dict "a" 1) (dict "a" true) | toJson }} {{ mergeOverwrite (dict "a" 1) (dict "a" list) | toJson }} {{ mergeOverwrite (dict "a" 1) (dict "a" (list 1)) | toJson }} {{ mergeOverwrite (dict "a" 1) (dict "a" (list nil)) | toJson }} {{ mergeOverwrite (dict "a" 1) (dict "a" dict) | toJson }} {{ mergeOverwrite (dict "a" 1) (dict "a" (dict "x" 1)) | toJson }} {{ mergeOverwrite (dict "a" 1) (dict "a" (dict "x" nil)) | toJson }} {{ mergeOverwrite (dict "a" 1) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ mergeOverwrite (dict "a" 1) (dict "a" (rest list)) | toJson }} {{ mergeOverwrite (dict "a" 1) (dict "a" (dict "x" "")) | toJson }} {{ mergeOverwrite (dict "a" 1) (dict "a" (until 0)) | toJson }}
{{ merge (dict "a" false) (dict "a" nil) | toJson }} {{ merge (dict "a" false) (dict "a" "") | toJson }} {{ merge (dict "a" false) (dict "a" "s") | toJson }} {{ merge (dict "a" false) (dict "a" 0) | toJson }} {{ merge (dict "a" false) (dict "a" 1) | toJson }} {{ merge (dict "a" false) (dict "a" false) | toJson }} {{ merge (dict "a" false) (dict "a" true) | toJson }} {{ merge (dict "a" false) (dict "a" list) | toJson }} {{ merge (dict "a" false) (dict "a" (list 1)) | toJson }} {{ merge (dict "a" false) (dict "a" (list nil)) | toJson }} {{ merge (dict "a" false) (dict "a" dict) | toJson }} {{ merge (dict "a" false) (dict "a" (dict "x" 1)) | toJson }} {{ merge (dict "a" false) (dict "a" (dict "x" nil)) | toJson }} {{ merge (dict "a" false) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ merge (dict "a" false) (dict "a" (rest list)) | toJson }} {{ merge (dict "a" false) (dict "a" (dict "x" "")) | toJson }} {{ merge (dict "a" false) (dict "a" (until 0)) | toJson }}
{{ mergeOverwrite (dict "a" false) (dict "a" nil) | toJson }} {{ mergeOverwrite (dict "a" false) (dict "a" "") | toJson }} {{ mergeOverwrite (dict "a" false) (dict "a" "s") | toJson }} {{ mergeOverwrite (dict "a" false) (dict "a" 0) | toJson }} {{ mergeOverwrite (dict "a" false) (dict "a" 1) | toJson }} {{ mergeOverwrite (dict "a" false) (dict "a" false) | toJson }} {{ mergeOverwrite (dict "a" false) (dict "a" true) | toJson }} {{ mergeOverwrite (dict "a" false) (dict "a" list) | toJson }} {{ mergeOverwrite (dict "a" false) (dict "a" (list 1)) | toJson }} {{ mergeOverwrite (dict "a" false) (dict "a" (list nil)) | toJson }} {{ mergeOverwrite (dict "a" false) (dict "a" dict) | toJson }} {{ mergeOverwrite (dict "a" false) (dict "a" (dict "x" 1)) | toJson }} {{ mergeOverwrite (dict "a" false) (dict "a" (dict "x" nil)) | toJson }} {{ mergeOverwrite (dict "a" false) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ mergeOverwrite (dict "a" false) (dict "a" (rest list)) | toJson }} {{ mergeOverwrite (dict "a" false) (dict "a" (dict "x" "")) | toJson }} {{ mergeOverwrite (dict "a" false) (dict "a" (until 0)) | toJson }}
{{ merge (dict "a" true) (dict "a" nil) | toJson }} {{ merge (dict "a" true) (dict "a" "") | toJson }} {{ merge (dict "a" true) (dict "a" "s") | toJson }} {{ merge (dict "a" true) (dict "a" 0) | toJson }} {{ merge (dict "a" true) (dict "a" 1) | toJson }} {{ merge (dict "a" true) (dict "a" false) | toJson }} {{ merge (dict "a" true) (dict "a" true) | toJson }} {{ merge (dict "a" true) (dict "a" list) | toJson }} {{ merge (dict "a" true) (dict "a" (list 1)) | toJson }} {{ merge (dict "a" true) (dict "a" (list nil)) | toJson }} {{ merge (dict "a" true) (dict "a" dict) | toJson }} {{ merge (dict "a" true) (dict "a" (dict "x" 1)) | toJson }} {{ merge (dict "a" true) (dict "a" (dict "x" nil)) | toJson }} {{ merge (dict "a" true) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ merge (dict "a" true) (dict "a" (rest list)) | toJson }} {{ merge (dict "a" true) (dict "a" (dict "x" "")) | toJson }} {{ merge (dict "a" true) (dict "a" (until 0)) | toJson }}
{{ mergeOverwrite (dict "a" true) (dict "a" nil) | toJson }} {{ mergeOverwrite (dict "a" true) (dict "a" "") | toJson }} {{ mergeOverwrite (dict "a" true) (dict "a" "s") | toJson }} {{ mergeOverwrite (dict "a" true) (dict "a" 0) | toJson }} {{ mergeOverwrite (dict "a" true) (dict "a" 1) | toJson }} {{ mergeOverwrite (dict "a" true) (dict "a" false) | toJson }} {{ mergeOverwrite (dict "a" true) (dict "a" true) | toJson }} {{ mergeOverwrite (dict "a" true) (dict "a" list) | toJson }} {{ mergeOverwrite (dict "a" true) (dict "a" (list 1)) | toJson }} {{ mergeOverwrite (dict "a" true) (dict "a" (list nil)) | toJson }} {{ mergeOverwrite (dict "a" true) (dict "a" dict) | toJson }} {{ mergeOverwrite (dict "a" true) (dict "a" (dict "x" 1)) | toJson }} {{ mergeOverwrite (dict "a" true) (dict "a" (dict "x" nil)) | toJson }} {{ mergeOverwrite (dict "a" true) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ mergeOverwrite (dict "a" true) (dict "a" (rest list)) | toJson }} {{ mergeOverwrite (dict "a" true) (dict "a" (dict "x" "")) | toJson }} {{ mergeOverwrite (dict "a" true) (dict "a" (until 0)) | toJson }}
{{ merge (dict "a" list) (dict "a" nil) | toJson }} {{ merge (dict "a" list) (dict "a" "") | toJson }} {{ merge (dict "a" list) (dict "a" "s") | toJson }} {{ merge (dict "a" list) (dict "a" 0) | toJson }} {{ merge (dict "a" list) (dict "a" 1) | toJson }} {{ merge (dict "a" list) (dict "a" false) | toJson }} {{ merge (dict "a" list) (dict "a" true) | toJson }} {{ merge (dict "a" list) (dict "a" list) | toJson }} {{ merge (dict "a" list) (dict "a" (list 1)) | toJson }} {{ merge (dict "a" list) (dict "a" (list nil)) | toJson }} {{ merge (dict "a" list) (dict "a" dict) | toJson }} {{ merge (dict "a" list) (dict "a" (dict "x" 1)) | toJson }} {{ merge (dict "a" list) (dict "a" (dict "x" nil)) | toJson }} {{ merge (dict "a" list) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ merge (dict "a" list) (dict "a" (rest list)) | toJson }} {{ merge (dict "a" list) (dict "a" (dict "x" "")) | toJson }} {{ merge (dict "a" list) (dict "a" (until 0)) | toJson }}
{{ mergeOverwrite (dict "a" list) (dict "a" nil) | toJson }} {{ mergeOverwrite (dict "a" list) (dict "a" "") | toJson }} {{ mergeOverwrite (dict "a" list) (dict "a" "s") | toJson }} {{ mergeOverwrite (dict "a" list) (dict "a" 0) | toJson }} {{ mergeOverwrite (dict "a" list) (dict "a" 1) | toJson }} {{ mergeOverwrite (dict "a" list) (dict "a" false) | toJson }} {{ mergeOverwrite (dict "a" list) (dict "a" true) | toJson }} {{ mergeOverwrite (dict "a" list) (dict "a" list) | toJson }} {{ mergeOverwrite (dict "a" list) (dict "a" (list 1)) | toJson }} {{ mergeOverwrite (dict "a" list) (dict "a" (list nil)) | toJson }} {{ mergeOverwrite (dict "a" list) (dict "a" dict) | toJson }} {{ mergeOverwrite (dict "a" list) (dict "a" (dict "x" 1)) | toJson }} {{ mergeOverwrite (dict "a" list) (dict "a" (dict "x" nil)) | toJson }} {{ mergeOverwrite (dict "a" list) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ mergeOverwrite (dict "a" list) (dict "a" (rest list)) | toJson }} {{ mergeOverwrite (dict "a" list) (dict "a" (dict "x" "")) | toJson }} {{ mergeOverwrite (dict "a" list) (dict "a" (until 0)) | toJson }}
{{ merge (dict "a" (list 1)) (dict "a" nil) | toJson }} {{ merge (dict "a" (list 1)) (dict "a" "") | toJson }} {{ merge (dict "a" (list 1)) (dict "a" "s") | toJson }} {{ merge (dict "a" (list 1)) (dict "a" 0) | toJson }} {{ merge (dict "a" (list 1)) (dict "a" 1) | toJson }} {{ merge (dict "a" (list 1)) (dict "a" false) | toJson }} {{ merge (dict "a" (list 1)) (dict "a" true) | toJson }} {{ merge (dict "a" (list 1)) (dict "a" list) | toJson }} {{ merge (dict "a" (list 1)) (dict "a" (list 1)) | toJson }} {{ merge (dict "a" (list 1)) (dict "a" (list nil)) | toJson }} {{ merge (dict "a" (list 1)) (dict "a" dict) | toJson }} {{ merge (dict "a" (list 1)) (dict "a" (dict "x" 1)) | toJson }} {{ merge (dict "a" (list 1)) (dict "a" (dict "x" nil)) | toJson }} {{ merge (dict "a" (list 1)) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ merge (dict "a" (list 1)) (dict "a" (rest list)) | toJson }} {{ merge (dict "a" (list 1)) (dict "a" (dict "x" "")) | toJson }} {{ merge (dict "a" (list 1)) (dict "a" (until 0)) | toJson }}
{{ mergeOverwrite (dict "a" (list 1)) (dict "a" nil) | toJson }} {{ mergeOverwrite (dict "a" (list 1)) (dict "a" "") | toJson }} {{ mergeOverwrite (dict "a" (list 1)) (dict "a" "s") | toJson }} {{ mergeOverwrite (dict "a" (list 1)) (dict "a" 0) | toJson }} {{ mergeOverwrite (dict "a" (list 1)) (dict "a" 1) | toJson }} {{ mergeOverwrite (dict "a" (list 1)) (dict "a" false) | toJson }} {{ mergeOverwrite (dict "a" (list 1)) (dict "a" true) | toJson }} {{ mergeOverwrite (dict "a" (list 1)) (dict "a" list) | toJson }} {{ mergeOverwrite (dict "a" (list 1)) (dict "a" (list 1)) | toJson }} {{ mergeOverwrite (dict "a" (list 1)) (dict "a" (list nil)) | toJson }} {{ mergeOverwrite (dict "a" (list 1)) (dict "a" dict) | toJson }} {{ mergeOverwrite (dict "a" (list 1)) (dict "a" (dict "x" 1)) | toJson }} {{ mergeOverwrite (dict "a" (list 1)) (dict "a" (dict "x" nil)) | toJson }} {{ mergeOverwrite (dict "a" (list 1)) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ mergeOverwrite (dict "a" (list 1)) (dict "a" (rest list)) | toJson }} {{ mergeOverwrite (dict "a" (list 1)) (dict "a" (dict "x" "")) | toJson }} {{ mergeOverwrite (dict "a" (list 1)) (dict "a" (until 0)) | toJson }}
{{ merge (dict "a" (list nil)) (dict "a" nil) | toJson }} {{ merge (dict "a" (list nil)) (dict "a" "") | toJson }} {{ merge (dict "a" (list nil)) (dict "a" "s") | toJson }} {{ merge (dict "a" (list nil)) (dict "a" 0) | toJson }} {{ merge (dict "a" (list nil)) (dict "a" 1) | toJson }} {{ merge (dict "a" (list nil)) (dict "a" false) | toJson }} {{ merge (dict "a" (list nil)) (dict "a" true) | toJson }} {{ merge (dict "a" (list nil)) (dict "a" list) | toJson }} {{ merge (dict "a" (list nil)) (dict "a" (list 1)) | toJson }} {{ merge (dict "a" (list nil)) (dict "a" (list nil)) | toJson }} {{ merge (dict "a" (list nil)) (dict "a" dict) | toJson }} {{ merge (dict "a" (list nil)) (dict "a" (dict "x" 1)) | toJson }} {{ merge (dict "a" (list nil)) (dict "a" (dict "x" nil)) | toJson }} {{ merge (dict "a" (list nil)) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ merge (dict "a" (list nil)) (dict "a" (rest list)) | toJson }} {{ merge (dict "a" (list nil)) (dict "a" (dict "x" "")) | toJson }} {{ merge (dict "a" (list nil)) (dict "a" (until 0)) | toJson }}
{{ mergeOverwrite (dict "a" (list nil)) (dict "a" nil) | toJson }} {{ mergeOverwrite (dict "a" (list nil)) (dict "a" "") | toJson }} {{ mergeOverwrite (dict "a" (list nil)) (dict "a" "s") | toJson }} {{ mergeOverwrite (dict "a" (list nil)) (dict "a" 0) | toJson }} {{ mergeOverwrite (dict "a" (list nil)) (dict "a" 1) | toJson }} {{ mergeOverwrite (dict "a" (list nil)) (dict "a" false) | toJson }} {{ mergeOverwrite (dict "a" (list nil)) (dict "a" true) | toJson }} {{ mergeOverwrite (dict "a" (list nil)) (dict "a" list) | toJson }} {{ mergeOverwrite (dict "a" (list nil)) (dict "a" (list 1)) | toJson }} {{ mergeOverwrite (dict "a" (list nil)) (dict "a" (list nil)) | toJson }} {{ mergeOverwrite (dict "a" (list nil)) (dict "a" dict) | toJson }} {{ mergeOverwrite (dict "a" (list nil)) (dict "a" (dict "x" 1)) | toJson }} {{ mergeOverwrite (dict "a" (list nil)) (dict "a" (dict "x" nil)) | toJson }} {{ mergeOverwrite (dict "a" (list nil)) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ mergeOverwrite (dict "a" (list nil)) (dict "a" (rest list)) | toJson }} {{ mergeOverwrite (dict "a" (list nil)) (dict "a" (dict "x" "")) | toJson }} {{ mergeOverwrite (dict "a" (list nil)) (dict "a" (until 0)) | toJson }}
{{ merge (dict "a" dict) (dict "a" nil) | toJson }} {{ merge (dict "a" dict) (dict "a" "") | toJson }} {{ merge (dict "a" dict) (dict "a" "s") | toJson }} {{ merge (dict "a" dict) (dict "a" 0) | toJson }} {{ merge (dict "a" dict) (dict "a" 1) | toJson }} {{ merge (dict "a" dict) (dict "a" false) | toJson }} {{ merge (dict "a" dict) (dict "a" true) | toJson }} {{ merge (dict "a" dict) (dict "a" list) | toJson }} {{ merge (dict "a" dict) (dict "a" (list 1)) | toJson }} {{ merge (dict "a" dict) (dict "a" (list nil)) | toJson }} {{ merge (dict "a" dict) (dict "a" dict) | toJson }} {{ merge (dict "a" dict) (dict "a" (dict "x" 1)) | toJson }} {{ merge (dict "a" dict) (dict "a" (dict "x" nil)) | toJson }} {{ merge (dict "a" dict) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ merge (dict "a" dict) (dict "a" (rest list)) | toJson }} {{ merge (dict "a" dict) (dict "a" (dict "x" "")) | toJson }} {{ merge (dict "a" dict) (dict "a" (until 0)) | toJson }}
{{ mergeOverwrite (dict "a" dict) (dict "a" nil) | toJson }} {{ mergeOverwrite (dict "a" dict) (dict "a" "") | toJson }} {{ mergeOverwrite (dict "a" dict) (dict "a" "s") | toJson }} {{ mergeOverwrite (dict "a" dict) (dict "a" 0) | toJson }} {{ mergeOverwrite (dict "a" dict) (dict "a" 1) | toJson }} {{ mergeOverwrite (dict "a" dict) (dict "a" false) | toJson }} {{ mergeOverwrite (dict "a" dict) (dict "a" true) | toJson }} {{ mergeOverwrite (dict "a" dict) (dict "a" list) | toJson }} {{ mergeOverwrite (dict "a" dict) (dict "a" (list 1)) | toJson }} {{ mergeOverwrite (dict "a" dict) (dict "a" (list nil)) | toJson }} {{ mergeOverwrite (dict "a" dict) (dict "a" dict) | toJson }} {{ mergeOverwrite (dict "a" dict) (dict "a" (dict "x" 1)) | toJson }} {{ mergeOverwrite (dict "a" dict) (dict "a" (dict "x" nil)) | toJson }} {{ mergeOverwrite (dict "a" dict) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ mergeOverwrite (dict "a" dict) (dict "a" (rest list)) | toJson }} {{ mergeOverwrite (dict "a" dict) (dict "a" (dict "x" "")) | toJson }} {{ mergeOverwrite (dict "a" dict) (dict "a" (until 0)) | toJson }}
{{ merge (dict "a" (dict "x" 1)) (dict "a" nil) | toJson }} {{ merge (dict "a" (dict "x" 1)) (dict "a" "") | toJson }} {{ merge (dict "a" (dict "x" 1)) (dict "a" "s") | toJson }} {{ merge (dict "a" (dict "x" 1)) (dict "a" 0) | toJson }} {{ merge (dict "a" (dict "x" 1)) (dict "a" 1) | toJson }} {{ merge (dict "a" (dict "x" 1)) (dict "a" false) | toJson }} {{ merge (dict "a" (dict "x" 1)) (dict "a" true) | toJson }} {{ merge (dict "a" (dict "x" 1)) (dict "a" list) | toJson }} {{ merge (dict "a" (dict "x" 1)) (dict "a" (list 1)) | toJson }} {{ merge (dict "a" (dict "x" 1)) (dict "a" (list nil)) | toJson }} {{ merge (dict "a" (dict "x" 1)) (dict "a" dict) | toJson }} {{ merge (dict "a" (dict "x" 1)) (dict "a" (dict "x" 1)) | toJson }} {{ merge (dict "a" (dict "x" 1)) (dict "a" (dict "x" nil)) | toJson }} {{ merge (dict "a" (dict "x" 1)) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ merge (dict "a" (dict "x" 1)) (dict "a" (rest list)) | toJson }} {{ merge (dict "a" (dict "x" 1)) (dict "a" (dict "x" "")) | toJson }} {{ merge (dict "a" (dict "x" 1)) (dict "a" (until 0)) | toJson }}
{{ mergeOverwrite (dict "a" (dict "x" 1)) (dict "a" nil) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" 1)) (dict "a" "") | toJson }} {{ mergeOverwrite (dict "a" (dict "x" 1)) (dict "a" "s") | toJson }} {{ mergeOverwrite (dict "a" (dict "x" 1)) (dict "a" 0) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" 1)) (dict "a" 1) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" 1)) (dict "a" false) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" 1)) (dict "a" true) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" 1)) (dict "a" list) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" 1)) (dict "a" (list 1)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" 1)) (dict "a" (list nil)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" 1)) (dict "a" dict) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" 1)) (dict "a" (dict "x" 1)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" 1)) (dict "a" (dict "x" nil)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" 1)) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" 1)) (dict "a" (rest list)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" 1)) (dict "a" (dict "x" "")) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" 1)) (dict "a" (until 0)) | toJson }}
{{ merge (dict "a" (dict "x" nil)) (dict "a" nil) | toJson }} {{ merge (dict "a" (dict "x" nil)) (dict "a" "") | toJson }} {{ merge (dict "a" (dict "x" nil)) (dict "a" "s") | toJson }} {{ merge (dict "a" (dict "x" nil)) (dict "a" 0) | toJson }} {{ merge (dict "a" (dict "x" nil)) (dict "a" 1) | toJson }} {{ merge (dict "a" (dict "x" nil)) (dict "a" false) | toJson }} {{ merge (dict "a" (dict "x" nil)) (dict "a" true) | toJson }} {{ merge (dict "a" (dict "x" nil)) (dict "a" list) | toJson }} {{ merge (dict "a" (dict "x" nil)) (dict "a" (list 1)) | toJson }} {{ merge (dict "a" (dict "x" nil)) (dict "a" (list nil)) | toJson }} {{ merge (dict "a" (dict "x" nil)) (dict "a" dict) | toJson }} {{ merge (dict "a" (dict "x" nil)) (dict "a" (dict "x" 1)) | toJson }} {{ merge (dict "a" (dict "x" nil)) (dict "a" (dict "x" nil)) | toJson }} {{ merge (dict "a" (dict "x" nil)) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ merge (dict "a" (dict "x" nil)) (dict "a" (rest list)) | toJson }} {{ merge (dict "a" (dict "x" nil)) (dict "a" (dict "x" "")) | toJson }} {{ merge (dict "a" (dict "x" nil)) (dict "a" (until 0)) | toJson }}
{{ mergeOverwrite (dict "a" (dict "x" nil)) (dict "a" nil) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" nil)) (dict "a" "") | toJson }} {{ mergeOverwrite (dict "a" (dict "x" nil)) (dict "a" "s") | toJson }} {{ mergeOverwrite (dict "a" (dict "x" nil)) (dict "a" 0) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" nil)) (dict "a" 1) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" nil)) (dict "a" false) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" nil)) (dict "a" true) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" nil)) (dict "a" list) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" nil)) (dict "a" (list 1)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" nil)) (dict "a" (list nil)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" nil)) (dict "a" dict) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" nil)) (dict "a" (dict "x" 1)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" nil)) (dict "a" (dict "x" nil)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" nil)) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" nil)) (dict "a" (rest list)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" nil)) (dict "a" (dict "x" "")) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" nil)) (dict "a" (until 0)) | toJson }}
{{ merge (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" nil) | toJson }} {{ merge (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" "") | toJson }} {{ merge (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" "s") | toJson }} {{ merge (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" 0) | toJson }} {{ merge (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" 1) | toJson }} {{ merge (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" false) | toJson }} {{ merge (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" true) | toJson }} {{ merge (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" list) | toJson }} {{ merge (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" (list 1)) | toJson }} {{ merge (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" (list nil)) | toJson }} {{ merge (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" dict) | toJson }} {{ merge (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" (dict "x" 1)) | toJson }} {{ merge (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" (dict "x" nil)) | toJson }} {{ merge (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ merge (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" (rest list)) | toJson }} {{ merge (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" (dict "x" "")) | toJson }} {{ merge (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" (until 0)) | toJson }}
{{ mergeOverwrite (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" nil) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" "") | toJson }} {{ mergeOverwrite (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" "s") | toJson }} {{ mergeOverwrite (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" 0) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" 1) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" false) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" true) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" list) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" (list 1)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" (list nil)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" dict) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" (dict "x" 1)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" (dict "x" nil)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" (rest list)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" (dict "x" "")) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" (list 1) "y" dict)) (dict "a" (until 0)) | toJson }}
{{ merge (dict "a" (rest list)) (dict "a" nil) | toJson }} {{ merge (dict "a" (rest list)) (dict "a" "") | toJson }} {{ merge (dict "a" (rest list)) (dict "a" "s") | toJson }} {{ merge (dict "a" (rest list)) (dict "a" 0) | toJson }} {{ merge (dict "a" (rest list)) (dict "a" 1) | toJson }} {{ merge (dict "a" (rest list)) (dict "a" false) | toJson }} {{ merge (dict "a" (rest list)) (dict "a" true) | toJson }} {{ merge (dict "a" (rest list)) (dict "a" list) | toJson }} {{ merge (dict "a" (rest list)) (dict "a" (list 1)) | toJson }} {{ merge (dict "a" (rest list)) (dict "a" (list nil)) | toJson }} {{ merge (dict "a" (rest list)) (dict "a" dict) | toJson }} {{ merge (dict "a" (rest list)) (dict "a" (dict "x" 1)) | toJson }} {{ merge (dict "a" (rest list)) (dict "a" (dict "x" nil)) | toJson }} {{ merge (dict "a" (rest list)) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ merge (dict "a" (rest list)) (dict "a" (rest list)) | toJson }} {{ merge (dict "a" (rest list)) (dict "a" (dict "x" "")) | toJson }} {{ merge (dict "a" (rest list)) (dict "a" (until 0)) | toJson }}
{{ mergeOverwrite (dict "a" (rest list)) (dict "a" nil) | toJson }} {{ mergeOverwrite (dict "a" (rest list)) (dict "a" "") | toJson }} {{ mergeOverwrite (dict "a" (rest list)) (dict "a" "s") | toJson }} {{ mergeOverwrite (dict "a" (rest list)) (dict "a" 0) | toJson }} {{ mergeOverwrite (dict "a" (rest list)) (dict "a" 1) | toJson }} {{ mergeOverwrite (dict "a" (rest list)) (dict "a" false) | toJson }} {{ mergeOverwrite (dict "a" (rest list)) (dict "a" true) | toJson }} {{ mergeOverwrite (dict "a" (rest list)) (dict "a" list) | toJson }} {{ mergeOverwrite (dict "a" (rest list)) (dict "a" (list 1)) | toJson }} {{ mergeOverwrite (dict "a" (rest list)) (dict "a" (list nil)) | toJson }} {{ mergeOverwrite (dict "a" (rest list)) (dict "a" dict) | toJson }} {{ mergeOverwrite (dict "a" (rest list)) (dict "a" (dict "x" 1)) | toJson }} {{ mergeOverwrite (dict "a" (rest list)) (dict "a" (dict "x" nil)) | toJson }} {{ mergeOverwrite (dict "a" (rest list)) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ mergeOverwrite (dict "a" (rest list)) (dict "a" (rest list)) | toJson }} {{ mergeOverwrite (dict "a" (rest list)) (dict "a" (dict "x" "")) | toJson }} {{ mergeOverwrite (dict "a" (rest list)) (dict "a" (until 0)) | toJson }}
{{ merge (dict "a" (dict "x" "")) (dict "a" nil) | toJson }} {{ merge (dict "a" (dict "x" "")) (dict "a" "") | toJson }} {{ merge (dict "a" (dict "x" "")) (dict "a" "s") | toJson }} {{ merge (dict "a" (dict "x" "")) (dict "a" 0) | toJson }} {{ merge (dict "a" (dict "x" "")) (dict "a" 1) | toJson }} {{ merge (dict "a" (dict "x" "")) (dict "a" false) | toJson }} {{ merge (dict "a" (dict "x" "")) (dict "a" true) | toJson }} {{ merge (dict "a" (dict "x" "")) (dict "a" list) | toJson }} {{ merge (dict "a" (dict "x" "")) (dict "a" (list 1)) | toJson }} {{ merge (dict "a" (dict "x" "")) (dict "a" (list nil)) | toJson }} {{ merge (dict "a" (dict "x" "")) (dict "a" dict) | toJson }} {{ merge (dict "a" (dict "x" "")) (dict "a" (dict "x" 1)) | toJson }} {{ merge (dict "a" (dict "x" "")) (dict "a" (dict "x" nil)) | toJson }} {{ merge (dict "a" (dict "x" "")) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ merge (dict "a" (dict "x" "")) (dict "a" (rest list)) | toJson }} {{ merge (dict "a" (dict "x" "")) (dict "a" (dict "x" "")) | toJson }} {{ merge (dict "a" (dict "x" "")) (dict "a" (until 0)) | toJson }}
{{ mergeOverwrite (dict "a" (dict "x" "")) (dict "a" nil) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" "")) (dict "a" "") | toJson }} {{ mergeOverwrite (dict "a" (dict "x" "")) (dict "a" "s") | toJson }} {{ mergeOverwrite (dict "a" (dict "x" "")) (dict "a" 0) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" "")) (dict "a" 1) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" "")) (dict "a" false) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" "")) (dict "a" true) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" "")) (dict "a" list) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" "")) (dict "a" (list 1)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" "")) (dict "a" (list nil)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" "")) (dict "a" dict) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" "")) (dict "a" (dict "x" 1)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" "")) (dict "a" (dict "x" nil)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" "")) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" "")) (dict "a" (rest list)) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" "")) (dict "a" (dict "x" "")) | toJson }} {{ mergeOverwrite (dict "a" (dict "x" "")) (dict "a" (until 0)) | toJson }}
{{ merge (dict "a" (until 0)) (dict "a" nil) | toJson }} {{ merge (dict "a" (until 0)) (dict "a" "") | toJson }} {{ merge (dict "a" (until 0)) (dict "a" "s") | toJson }} {{ merge (dict "a" (until 0)) (dict "a" 0) | toJson }} {{ merge (dict "a" (until 0)) (dict "a" 1) | toJson }} {{ merge (dict "a" (until 0)) (dict "a" false) | toJson }} {{ merge (dict "a" (until 0)) (dict "a" true) | toJson }} {{ merge (dict "a" (until 0)) (dict "a" list) | toJson }} {{ merge (dict "a" (until 0)) (dict "a" (list 1)) | toJson }} {{ merge (dict "a" (until 0)) (dict "a" (list nil)) | toJson }} {{ merge (dict "a" (until 0)) (dict "a" dict) | toJson }} {{ merge (dict "a" (until 0)) (dict "a" (dict "x" 1)) | toJson }} {{ merge (dict "a" (until 0)) (dict "a" (dict "x" nil)) | toJson }} {{ merge (dict "a" (until 0)) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ merge (dict "a" (until 0)) (dict "a" (rest list)) | toJson }} {{ merge (dict "a" (until 0)) (dict "a" (dict "x" "")) | toJson }} {{ merge (dict "a" (until 0)) (dict "a" (until 0)) | toJson }}
{{ mergeOverwrite (dict "a" (until 0)) (dict "a" nil) | toJson }} {{ mergeOverwrite (dict "a" (until 0)) (dict "a" "") | toJson }} {{ mergeOverwrite (dict "a" (until 0)) (dict "a" "s") | toJson }} {{ mergeOverwrite (dict "a" (until 0)) (dict "a" 0) | toJson }} {{ mergeOverwrite (dict "a" (until 0)) (dict "a" 1) | toJson }} {{ mergeOverwrite (dict "a" (until 0)) (dict "a" false) | toJson }} {{ mergeOverwrite (dict "a" (until 0)) (dict "a" true) | toJson }} {{ mergeOverwrite (dict "a" (until 0)) (dict "a" list) | toJson }} {{ mergeOverwrite (dict "a" (until 0)) (dict "a" (list 1)) | toJson }} {{ mergeOverwrite (dict "a" (until 0)) (dict "a" (list nil)) | toJson }} {{ mergeOverwrite (dict "a" (until 0)) (dict "a" dict) | toJson }} {{ mergeOverwrite (dict "a" (until 0)) (dict "a" (dict "x" 1)) | toJson }} {{ mergeOverwrite (dict "a" (until 0)) (dict "a" (dict "x" nil)) | toJson }} {{ mergeOverwrite (dict "a" (until 0)) (dict "a" (dict "x" (list 1) "y" dict)) | toJson }} {{ mergeOverwrite (dict "a" (until 0)) (dict "a" (rest list)) | toJson }} {{ mergeOverwrite (dict "a" (until 0)) (dict "a" (dict "x" "")) | toJson }} {{ mergeOverwrite (dict "a" (until 0)) (dict "a" (until 0)) | toJson }}
{{ 1i }} {{ 2.5i }} {{ 1+2i }} {{ print 1i }} {{ printf "%v %f %.1f %g %T %x" 1i 2i 1.5i 2i 1i 3i }}
{{ eq 1i 1i }} {{ toJson 1i }} {{ kindOf 1i }} {{ typeOf 1i }} {{ if 0i }}a{{ else }}b{{ end }} {{ add 1i 2 }} {{ int 1i }} {{ float64 1i }}
{{ toString 1i }} {{ quote 1i }} {{ default 1 0i }} {{ list 1i }} {{ toYaml 1i }} {{ toToml (dict "a" 1i) }} {{ repeat 0i "a" }}
{{ lt 1i 2i }}
{{ eq 1i 1 }}
{{ index (list 1) 0i }}
{{ repeat 2i "a" }}
{{ mustToJson 1i }}
{{ printf "%d" 1i }}
{{ 1ii }}
{{ printf "%x %x %x %X %b %b %b" 1.5 -0.1 0.0 255.75 1.5 0.0 -3.0 }}
{{ printf "%.2x %.0x %8.1x|%+x|%.3x|%.20x" 1.23 1.5 2.5 1.0 0.0 1.5 }}
{{ 1 | call }}
{{ (dict "a" 1) | call }}
{{ (deepCopy (semver "1.2.3")).Original }}|{{ deepCopy (semver "1.2.3") }}
{{ fromJson "null" }} {{ fromJson "null" | toJson }} {{ fromJson "null" | toYaml }} {{ kindOf (fromJson "null") }} {{ merge (fromJson "null") (dict "a" 1) }}{{ range $k, $v := fromJson "null" }}x{{ else }}e{{ end }}{{ len (fromJson "null") }}{{ hasKey (fromJson "null") "a" }}
{{ set (fromJson "null") "a" 1 }}
{{ toYaml (dict (repeat 1022 "a") 1) | len }} {{ toYaml (dict (repeat 1023 "a") 1) | len }} {{ toYaml (dict (repeat 500 "<") 1) | len }}
{{ mustToYaml (dict "x" (dict (repeat 1100 "a") 1)) | len }}
{{ toYaml (dict "b" "\ufeffab" "c" "a\ufeffb") }}
{{ mustRegexFindAll `**` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `(?` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `+?` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `\p` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `\E` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `\q` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `{2}` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `(?i` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `(?z)` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `\07` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `\12` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `\1` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `\xZ` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `\x{}` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `(?P<>a)` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `(?<1>a)` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `(?<n` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `(?<=a)` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `[z-a]` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `[[:nope:]]` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `[a` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `a{1001}` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `a{2,1}` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `(a{100}){100}` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `a**` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `a+?+` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `a)` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `(a` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `\p{Nope}` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `[\q]` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `a{,3}` `a0\x` -1 | toJson }}
{{ mustRegexFindAll `x\\` `a0\x` -1 | toJson }}
{{ printf "%U %U %#U" -7 31 128512 }}
{{ printf "%s %d %v" (list .Capabilities) (list .Capabilities.KubeVersion) (list .Capabilities.KubeVersion) | len | lt 10 }} {{ printf "%s" .Capabilities.KubeVersion }}
{{ printf "%#v %#v" .Capabilities.KubeVersion (semver "1.2.3-a+b") }} {{ printf "%#v" (list (semver "1.2.3-a+b") | first) }} {{ printf "%#v" .Capabilities.HelmVersion }}
{{ toDate "15:04" "10:00" }} {{ typeOf .Capabilities.HelmVersion }} {{ typeOf .Capabilities.KubeVersion }} {{ .Capabilities.KubeVersion }}
{{ print .Capabilities.KubeVersion }} {{ toString .Capabilities.KubeVersion }} {{ .Capabilities.KubeVersion | quote }} {{ cat .Capabilities.KubeVersion "x" }}
{{ .Capabilities.KubeVersion | trunc 3 }}
{{ join "," (list .Capabilities.KubeVersion .Capabilities.HelmVersion) }} {{ list .Capabilities.KubeVersion }} {{ toYaml .Capabilities.KubeVersion }}
{{ .Capabilities.HelmVersion.Nope }}
{{ printf "%+v" .Capabilities.KubeVersion }} {{ printf "%q %x" .Capabilities.KubeVersion .Capabilities.HelmVersion }}
{{ toYamlPretty (list 1.5 0.1 1e21 1e-7 100.0 123456789.0 1e6 1e5 0.00001 1234567.5 10000000000.0) }}
{{ toYamlPretty (dict "t" (toDate "2006-01-02" "2020-05-06") "v" (semver "1.2.3") "n" nil "l" list "d" dict "r" (rest list) "m" (fromYaml "")) }}
{{ toYamlPretty .Capabilities.KubeVersion }} {{ toYamlPretty .Capabilities.HelmVersion }} {{ toYamlPretty .Files }}
{{ toYamlPretty .Chart }} {{ toYamlPretty .Template }}
{{ toYamlPretty 1i }}
{{ merge (index .Values "nope") (dict "a" 1) }} {{ mergeOverwrite nil (dict "a" 1) (dict "b" 2) }} {{ merge nil nil }} {{ merge (fromYaml "") (dict "a" 1) | toJson }}
{{ semverCompare "*x" "1.2.3" }}
{{ semverCompare ">=1.x2" "1.2.3" }}
{{ semverCompare "abc" "1.2.3" }}
{{ html .Values.nope }}|{{ html .Values.map.nope 1 nil 2 "x" }}|{{ js .Values.nope }}|{{ urlquery .Values.nope "a" }}
{{ initials "été plus à  ba" }}|{{ initials "日本 über" }}|{{ initials (printf "%c b" 1000000) }}
{{ chunk 2 nil }}
{{ chunk 2 (slice list 0) }}
{{ chunk 2 list }} {{ mustChunk 3 (list 1 2 3 4) }}
{{ atoi "12345678901234567890" }} {{ atoi "-12345678901234567890" }} {{ atoi "x" }} {{ atoi "+5" }} {{ atoi "" }} {{ atoi "1_0" }}
{{ printf "%q %+q" "a\u0378b\u200dc" "\u0301é" }}
{{ atoi "12345678901234567890x" }} {{ atoi "92345678901234567890x" }} {{ atoi "9223372036854775808" }} {{ atoi "-9223372036854775808" }} {{ atoi "-" }} {{ atoi "--1" }}
