//! Post-rendering: what templates gave, hooks too, through a program.
//!
//! As in Helm 4 the program is given one stream of documents, each with an annotation that names its file, and what it gives
//! back is divided among files by that annotation, which then goes. Documents are written anew as Helm's are, where that is certain (see [`goyaml::anew`]), and stay as they are otherwise.

mod annotate;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::Error;
use crate::output::split;
use crate::value::quote::quote;

/// Gives the files to a program and takes those that it gives back.
///
/// # Errors
/// What is no YAML, and what the program does wrong.
pub(super) fn render(
    program: &Path,
    args: &[String],
    files: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Error> {
    let mut stream = Vec::new();
    for (path, content) in files {
        let base = path.rsplit('/').next().unwrap_or(path);
        if base.starts_with('_') {
            continue;
        }
        let documents = split(content);
        let items = annotate::items(&documents);
        let documents = items.as_ref().map_or(documents, |items| items.iter().map(String::as_str).collect());
        for document in documents {
            let parsed = annotate::read(document)
                .map_err(|e| Error::Output(format!("error merging manifests: parsing {path}: {e}")))?;
            if !parsed.is_null() {
                stream.push(annotate::named(document, &parsed, path));
            }
        }
    }
    let output = run(program, args, &stream.join("---\n"))?;
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let documents = split(&output);
    let items = annotate::items(&documents);
    let documents: Vec<&str> = items.as_ref().map_or(documents, |items| items.iter().map(String::as_str).collect());
    for (i, document) in documents.into_iter().enumerate() {
        let parsed = annotate::read(document)
            .map_err(|e| Error::Output(format!("error while parsing post rendered output: error parsing YAML: {e}")))?;
        if parsed.is_null() {
            continue;
        }
        let (path, text) = annotate::taken(document, &parsed);
        let path = path.unwrap_or_else(|| format!("generated-by-postrender-{i}.yaml"));
        files.entry(path).or_default().push(text);
    }
    Ok(files.into_iter().map(|(path, documents)| (path, documents.join("---\n"))).collect())
}

/// What a program makes of a text.
fn run(program: &Path, args: &[String], text: &str) -> Result<String, Error> {
    let shown = program.display().to_string();
    let fail = |reason: String| {
        Error::Output(format!(
            "error while running post render on files: error while running command {shown}. {reason}"
        ))
    };
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| fail(e.to_string()))?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            if let Some(mut stdin) = stdin {
                // A program that ends early is judged by its exit code.
                let _ = stdin.write_all(text.as_bytes());
            }
        });
        child.wait_with_output()
    })
    .map_err(|e| fail(e.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(fail(format!("error output:\n{said}: {}", output.status)));
    }
    if output.stdout.is_empty() && !text.is_empty() {
        return Err(Error::Output(format!(
            "error while running post render on files: post-renderer {} produced empty output",
            quote(&shown)
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
