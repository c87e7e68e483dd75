//! Templates that would take all memory or never end: each is ended, soon, with an error that says which bound it reached.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use helm::template::exec::Limits;
use helm::value::Data;
use helm::{Chart, RenderOptions};

fn chart(template: &str) -> Chart {
    let files: BTreeMap<String, Vec<u8>> = [
        ("Chart.yaml", "apiVersion: v2\nname: t\nversion: 0.1.0\n".to_owned()),
        ("templates/a.yaml", template.to_owned()),
        ("data/file.bin", "0123456789".repeat(100_000)),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v.into_bytes()))
    .collect();
    Chart::from_files(files).expect("a chart")
}

fn render(template: &str, limits: Limits) -> Result<String, String> {
    let options = RenderOptions { limits, seed: Some(1), ..RenderOptions::default() };
    let mut out = chart(template).render_files(&Data::empty(), &options).map_err(|e| e.to_string())?;
    Ok(out.remove("t/templates/a.yaml").unwrap_or_default())
}

fn limits() -> Limits {
    Limits { output: 4 << 20, memory: 8 << 20, time: Duration::from_secs(1), ..Limits::default() }
}

/// The most memory that this process has held.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse::<usize>().ok()).unwrap_or(0) << 10
}

/// Each reaches the bound of memory, output or time; many doubled their way beyond all memory once.
const ENDLESS: &[&str] = &[
    // Recursion.
    r#"{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}"#,
    r#"{{ define "a" }}{{ include "a" . }}{{ end }}{{ include "a" . }}"#,
    r#"{{ $t := "{{ tpl . . }}" }}{{ tpl $t $t }}"#,
    // Loops.
    r"{{ range 9000000000000000000 }}{{ end }}",
    r"{{ range until 2000000000 }}{{ end }}",
    r"{{ range seq 0 2000000000 | splitList ` ` }}{{ end }}",
    r"{{ range untilStep 0 2000000000 1 }}{{ end }}",
    r"{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}",
    // One big text.
    r#"{{ repeat 2000000000 "x" }}"#,
    r#"{{ indent 2000000000 "x" }}"#,
    r#"{{ nindent 1000000 (repeat 1000 "\n") }}"#,
    r#"{{ printf "%999999d%999999d%999999d%999999d%999999d%999999d%999999d%999999d%999999d%999999d%999999d%999999d%999999d%999999d%999999d%999999d%999999d%999999d%999999d" 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 }}"#,
    r#"{{ randAlphaNum 2000000000 }}"#,
    r#"{{ randBytes 2000000000 }}"#,
    r#"{{ $x := repeat 1000000 "x" }}{{ replace "x" $x $x }}"#,
    r#"{{ $x := repeat 1000000 "x" }}{{ replace "" $x $x }}"#,
    r#"{{ $x := repeat 1000000 "x" }}{{ regexReplaceAll "x" $x "$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0" }}"#,
    r#"{{ $x := repeat 1000000 "x" }}{{ regexReplaceAllLiteral "x" $x $x }}"#,
    r#"{{ $x := repeat 1000000 "x" }}{{ wrapWith 1 $x $x }}"#,
    r#"{{ $x := repeat 1000000 "x" }}{{ join $x (splitList "" $x) }}"#,
    r#"{{ $x := repeat 1000000 "x" }}{{ join $x (until 100000) }}"#,
    r#"{{ $x := repeat 1000000 "x" }}{{ $l := list $x $x $x $x $x $x $x $x }}{{ $l = concat $l $l $l $l }}{{ cat $l $l $l $l }}"#,
    // Doubling.
    r#"{{ $x := "x" }}{{ range until 100 }}{{ $x = print $x $x }}{{ end }}"#,
    r#"{{ $x := "x" }}{{ range until 100 }}{{ $x = printf "%s%s" $x $x }}{{ end }}"#,
    r#"{{ $x := "x" }}{{ range until 100 }}{{ $x = cat $x $x }}{{ end }}"#,
    r#"{{ $x := "x" }}{{ range until 100 }}{{ $x = quote $x $x }}{{ end }}"#,
    r#"{{ $x := "x" }}{{ range until 100 }}{{ $x = repeat 2 $x }}{{ end }}"#,
    r#"{{ $x := "xy" }}{{ range until 100 }}{{ $x = replace "x" "xx" $x }}{{ end }}"#,
    r#"{{ $x := "x" }}{{ range until 100 }}{{ $x = join $x (list $x $x $x) }}{{ end }}"#,
    r#"{{ $x := "x" }}{{ range until 100 }}{{ $x = b64enc $x | b32enc }}{{ end }}"#,
    r#"{{ $x := "x\n" }}{{ range until 100 }}{{ $x = indent 8 (print $x $x) }}{{ end }}"#,
    r#"{{ $x := "x" }}{{ range until 100 }}{{ $x = tpl "{{ . }}{{ . }}" $x }}{{ end }}"#,
    r#"{{ $x := "{{ 1 }}" }}{{ range until 100 }}{{ $x = print $x $x }}{{ $_ := tpl $x . }}{{ end }}"#,
    r#"{{ define "d" }}{{ . }}{{ . }}{{ end }}{{ $x := "x" }}{{ range until 100 }}{{ $x = include "d" $x }}{{ end }}"#,
    r#"{{ $l := list 1 }}{{ range until 100 }}{{ $l = concat $l $l }}{{ end }}"#,
    r#"{{ $l := list 1 }}{{ range until 1000000 }}{{ $l = append $l $l }}{{ end }}{{ $l }}"#,
    r#"{{ $l := list }}{{ range until 10000000 }}{{ $l = append $l . }}{{ end }}"#,
    r#"{{ $l := list 1 }}{{ range until 100 }}{{ $l = list $l $l }}{{ end }}{{ $l }}"#,
    r#"{{ $l := list 1 }}{{ range until 100 }}{{ $l = list $l $l }}{{ end }}{{ toYaml $l }}"#,
    r#"{{ $l := list 1 }}{{ range until 100 }}{{ $l = list $l $l }}{{ end }}{{ toYamlPretty $l }}"#,
    r#"{{ $l := list 1 }}{{ range until 100 }}{{ $l = list $l $l }}{{ end }}{{ toJson $l }}"#,
    r#"{{ $l := list 1 }}{{ range until 100 }}{{ $l = list $l $l }}{{ end }}{{ toPrettyJson $l }}"#,
    r#"{{ $l := list 1 }}{{ range until 100 }}{{ $l = list $l $l }}{{ end }}{{ toToml $l }}"#,
    r#"{{ $l := list 1 }}{{ range until 100 }}{{ $l = list $l $l }}{{ end }}{{ deepCopy $l }}"#,
    r#"{{ $l := list 1 }}{{ range until 90 }}{{ $l = list $l $l }}{{ end }}{{ printf "%v %#v %s" $l $l $l }}"#,
    r#"{{ $l := list 1 }}{{ range until 100 }}{{ $l = list $l $l }}{{ end }}{{ join "" $l }}"#,
    r#"{{ $d := dict }}{{ range until 100 }}{{ $d = dict "a" $d "b" $d }}{{ end }}{{ toYaml $d }}"#,
    r#"{{ $d := dict }}{{ range until 100 }}{{ $d = dict "a" $d "b" $d }}{{ end }}{{ toToml $d }}"#,
    r#"{{ $d := dict }}{{ range until 100 }}{{ $d = dict "a" $d "b" $d }}{{ end }}{{ deepCopy $d }}"#,
    r#"{{ $d := dict }}{{ $e := dict }}{{ range until 100 }}{{ $d = dict "a" $d "b" $d }}{{ $e = dict "a" $e "b" $e }}{{ end }}{{ merge $d $e }}"#,
    r#"{{ $d := dict }}{{ $e := dict }}{{ range until 100 }}{{ $d = dict "a" $d "b" $d }}{{ $e = dict "a" $e "b" $e }}{{ end }}{{ deepEqual $d $e }}"#,
    r#"{{ $d := dict }}{{ range $i := until 100000000 }}{{ $_ := set $d (toString $i) $i }}{{ end }}"#,
    r#"{{ $d := dict }}{{ range $i := until 100000000 }}{{ $d = dict "a" $d }}{{ end }}"#,
    // What reading makes of a text.
    r#"{{ fromYamlArray (print "[" (repeat 3000000 "[],") "]") }}"#,
    r#"{{ fromJsonArray (print "[" (repeat 3000000 "[],") "[]]") }}"#,
    r#"{{ splitList "" (repeat 3000000 "x") }}"#,
    r#"{{ split "" (repeat 3000000 "x") }}"#,
    r#"{{ regexFindAll "" (repeat 3000000 "x") -1 }}"#,
    r#"{{ regexSplit "y*" (repeat 3000000 "x") -1 }}"#,
    r#"{{ range $i := until 100000 }}{{ regexMatch (printf "[a-z]{1000}[b-y]{900}%d" $i) "x" }}{{ end }}"#,
    r#"{{ range $i := until 10000000 }}{{ tpl (printf "{{ %d }}" $i) $ }}{{ end }}"#,
    // The bytes of a file, one value each.
    r#"{{ $l := list }}{{ range until 1000 }}{{ $l = append $l ($.Files.GetBytes "data/file.bin" | reverse) }}{{ end }}"#,
];

#[test]
fn what_never_ends_is_ended() {
    for template in ENDLESS {
        println!("{template}");
        let started = Instant::now();
        let result = render(template, limits());
        let took = started.elapsed();
        let error = result.expect_err(template);
        let known = ["more than", "takes longer", "nested", "too deep", "exceeded maximum"];
        assert!(known.iter().any(|k| error.contains(k)), "{template}: {}", &error[..error.len().min(500)]);
        assert!(took < Duration::from_secs(8), "{template}: {took:?}");
        assert!(peak() < 800 << 20, "{template}: {} MB", peak() >> 20);
    }
}

#[test]
#[cfg_attr(debug_assertions, ignore = "a single password takes seconds without optimisation")]
fn slow_functions_are_ended_too() {
    for call in
        [r#"derivePassword 1 "long" "x" "y" (toString $i)"#, r#"htpasswd "x" (toString $i)"#, "genPrivateKey `rsa`"]
    {
        let template = format!("{{{{ range $i := until 100000 }}}}{{{{ $_ := {call} }}}}{{{{ end }}}}");
        let error = render(&template, limits()).expect_err(call);
        assert!(error.contains("takes longer"), "{error}");
    }
}

/// These end by themselves, or with an error of their own: soon, and without a crash.
const HARMLESS: &[&str] = &[
    r#"{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ $d }}"#,
    r#"{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ toYaml $d }}{{ toJson $d }}"#,
    r#"{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ toToml $d }}"#,
    r#"{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ deepCopy $d }}"#,
    r#"{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ merge (dict) $d }}"#,
    r#"{{ $l := list }}{{ range until 100000 }}{{ $l = list $l }}{{ end }}{{ len $l }}"#,
    r#"{{ $l := list }}{{ range until 100000 }}{{ $l = list $l }}{{ end }}{{ $l }}"#,
    r#"{{ $l := list }}{{ range until 10000 }}{{ $l = list $l }}{{ end }}{{ toYaml $l }}{{ toJson $l }}{{ $l | toString }}"#,
    r#"{{ $l := list }}{{ range until 10000 }}{{ $l = list $l }}{{ end }}{{ deepEqual $l (list $l) }}{{ deepCopy $l }}"#,
    r#"{{ $d := dict }}{{ $e := $d }}{{ range until 10000 }}{{ $f := dict }}{{ $_ := set $e "x" $f }}{{ $e = $f }}{{ end }}{{ len $d }}"#,
    r#"{{ printf "%999999999d" 1 }}"#,
    r#"{{ regexFindAll "(a*)*b" (repeat 10000 "a") -1 }}"#,
    r#"{{ addf 1e300 1e-300 }}{{ mulf 1e300 1e300 }}{{ divf 1e-300 1e300 }}{{ round 1e300 300 }}{{ round 1.5 2000000000 }}"#,
    r#"{{ fromYaml "a: &a [x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g]\n" | len }}"#,
    r#"{{ fromYaml (repeat 10000 "[") }}{{ fromJson (repeat 10000 "[") }}{{ fromToml (print "a=" (repeat 10000 "[")) }}"#,
    r#"{{ fromYaml (repeat 10000 "a:\n ") }}{{ fromYaml (repeat 10000 "- ") }}{{ fromYaml (repeat 10000 "? ") }}"#,
    r#"{{ tpl (print "{{ " (repeat 10000 "(") "1" (repeat 10000 ")") " }}") . }}"#,
    r#"{{ tpl (print (repeat 10000 "{{ if 1 }}") (repeat 10000 "{{ end }}")) . }}"#,
    r#"{{ semverCompare (repeat 10000 ">1 ") "1.2.3" }}{{ semver (repeat 10000 "1") }}"#,
    r#"{{ define "a" }}{{ if gt (int .) 900 }}{{ fail "x" }}{{ else }}{{ include "a" (add . 1) }}{{ end }}{{ end }}{{ include "a" 1 }}"#,
    r#"{{ define "a" }}{{ if gt (int .n) 5000 }}{{ fail "x" }}{{ else }}{{ tpl .t (dict "n" (add .n 1) "t" .t) }}{{ end }}{{ end }}{{ include "a" (dict "n" 1 "t" "{{ template \"a\" . }}") }}"#,
];

#[test]
fn what_is_odd_ends_by_itself() {
    for template in HARMLESS {
        println!("{template}");
        let started = Instant::now();
        let result = render(template, Limits { memory: 64 << 20, ..limits() });
        if let Err(e) = &result {
            assert!(!e.contains("internal error"), "{template}: {e}");
        }
        let took = started.elapsed();
        assert!(took < Duration::from_secs(8), "{template}: {took:?}");
        assert!(peak() < 800 << 20, "{template}: {} MB", peak() >> 20);
    }
}

#[test]
fn big_charts_are_far_from_every_bound() {
    // Text and lists are built up piece by piece, as charts do it: what is copied on the way is not held.
    let template = r#"{{ define "line" }}key-{{ . }}: {{ printf "value %d" . | quote }}{{ end -}}
{{ $text := "" }}{{ $list := list }}{{ $dict := dict -}}
{{ range until 3000 }}{{ $line := include "line" . }}{{ $text = print $text $line "\n" }}{{ $list = append $list $line -}}
{{ $_ := set $dict $line . }}{{ end -}}
{{ $text }}{{ toYaml $list }}{{ toYaml (merge (dict) $dict) }}{{ range until 1000 }}
{{ tpl "a: {{ include \"line\" . }}" . | nindent 4 }}{{ end }}"#;
    let limits = Limits { memory: 8 << 20, ..Limits::default() };
    let out = render(template, limits).expect("it is within its bounds");
    assert!(out.lines().count() > 10_000, "{}", out.lines().count());
}
