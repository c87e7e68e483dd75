//! What holds for every input: no panic. What ends hostile input is in `hostile.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use helm::template::exec::Limits;
use helm::value::Data;
use helm::{Chart, RenderOptions};
use proptest::prelude::*;

fn render(template: &str, values: &str) -> Result<String, String> {
    let files: BTreeMap<String, Vec<u8>> = [
        ("Chart.yaml", "apiVersion: v2\nname: t\nversion: 0.1.0\n"),
        ("values.yaml", values),
        ("templates/a.yaml", template),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v.as_bytes().to_vec()))
    .collect();
    let chart = Chart::from_files(files).map_err(|e| e.to_string())?;
    let limits = Limits { output: 1 << 20, time: Duration::from_secs(2), ..Limits::default() };
    let options = RenderOptions { limits, seed: Some(1), ..RenderOptions::default() };
    let mut out = chart.render_files(&Data::empty(), &options).map_err(|e| e.to_string())?;
    Ok(out.remove("t/templates/a.yaml").unwrap_or_default())
}

fn words() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = helm::funcs::names()
        .into_iter()
        .filter(|n| !n.starts_with("gen") && !matches!(*n, "bcrypt" | "htpasswd" | "derivePassword"))
        .collect();
    let piece = prop_oneof![
        4 => prop::sample::select(names).prop_map(str::to_owned),
        2 => prop::sample::select(vec![
            ".", ".Values", ".Values.a", ".Values.l", "$", "nil", "true", "1", "-1", "1.5", "\"x\"", "\"a,b\"", "(list 1 2)",
            "(dict \"a\" 1)", "|", "(", ")", "99999999999", "0", "\"\"", "\"%d %s\"", "\"{{ . }}\"", "now", ".Files",
        ]).prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 1..6).prop_map(|p| p.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_parser_panic(text in "(\\{\\{|\\}\\}|-| |\\.|\\$x|:=|\\||\"|`|if|range|end|else|define|a|1|\\(|\\)|/\\*|\\*/|\n){0,40}") {
        let _ = render(&text, "");
    }

    #[test]
    fn no_call_makes_a_function_panic(call in words()) {
        if let Err(e) = render(&format!("{{{{ {call} }}}}"), "a: {b: 1}\nl: [1, x, null]\n") {
            prop_assert!(!e.contains("internal error"), "{call}: {e}");
        }
    }

    #[test]
    fn no_archive_makes_the_loader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = helm::load::from_archive(&bytes);
    }

    #[test]
    fn no_setting_makes_the_grammar_panic(text in "[a-c.=,\\[\\]{}0-9\\\\]{0,30}") {
        let _ = helm::values::strvals::parse(&text);
    }
}

#[test]
fn a_chart_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Chart>();
}
