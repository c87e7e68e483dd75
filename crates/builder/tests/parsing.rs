//! No text makes the parsers panic.

use builder::dockerfile::words::Lex;
use builder::dockerfile::{Kind, parse};
use proptest::prelude::*;

fn dockerfile() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[A-Za-z0-9/._:$={}\"'\\\\<>-]{0,12}".boxed(),
        Just("<<EOF".to_owned()).boxed(),
        Just("EOF".to_owned()).boxed(),
        Just("--mount=type=cache,target=/x".to_owned()).boxed(),
        Just("--from=a".to_owned()).boxed(),
        Just("[\"a\",".to_owned()).boxed(),
        Just("\"b\"]".to_owned()).boxed(),
        Just("\\\n".to_owned()).boxed(),
        Just("\n".to_owned()).boxed(),
        Just("# escape=`\n".to_owned()).boxed(),
        Just("${A:-${B}}".to_owned()).boxed(),
        Just("한".to_owned()).boxed(),
    ];
    let keyword = prop::sample::select(vec![
        "FROM",
        "RUN",
        "COPY",
        "ADD",
        "ENV",
        "ARG",
        "LABEL",
        "CMD",
        "ENTRYPOINT",
        "EXPOSE",
        "HEALTHCHECK",
        "ONBUILD",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
        "MAINTAINER",
        "copy",
    ]);
    let line = (keyword, prop::collection::vec(word, 0..6))
        .prop_map(|(keyword, words)| format!("{keyword} {}", words.join(" ")));
    prop::collection::vec(line, 0..8).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn dockerfiles(text in dockerfile()) {
        if let Ok(file) = parse(&text) {
            for stage in &file.stages {
                for one in &stage.instructions {
                    prop_assert!(one.span.start >= 1 && one.span.end >= one.span.start);
                    if let Kind::Onbuild(trigger) = &one.kind {
                        let _ = builder::dockerfile::parse_one(trigger);
                    }
                }
            }
        }
    }

    #[test]
    fn noise(text in "\\PC{0,200}") {
        let _ = parse(&text);
        let _ = parse(&format!("FROM scratch\n{text}"));
        let _ = builder::ignore::Matcher::new(builder::ignore::read(&text));
    }

    #[test]
    fn words(text in "[$a{}:+#%/?*'\"\\\\ -]{0,40}") {
        for lex in [Lex::new('\\'), Lex::new('`'), Lex::heredoc('\\')] {
            let _ = lex.words(&text, &|name| (name == "a").then(|| "va lue".to_owned()));
        }
    }
}
