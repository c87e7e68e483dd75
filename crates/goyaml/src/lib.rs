//! YAML as Kubernetes and Helm read and write it.
//!
//! Reading follows go-yaml v2 behind `sigs.k8s.io/yaml`: libyaml's grammar and messages, YAML 1.1 scalars (`yes`, `0755`,
//! `1_000`), merge keys, bounded aliases, keys turned into texts, and of equal keys the last one
//! ([`from_str_strict`] refuses them). Writing gives what Helm's `toYaml` gives, byte for byte: quoting,
//! folding at column 80, natural order of keys, floats.
//!
//! The crate is pure: text in, values out. [`tree`] keeps positions for readers that point at the text;
//! [`Build`] and [`Emitter`] serve value types other than [`serde_json::Value`].

mod compose;
mod decode;
mod emit;
mod error;
mod number;
mod parser;
pub mod quote;
mod resolve;
mod scalars;
mod scanner;
mod token;
pub mod tree;

pub use decode::{Build, Json};
pub use emit::anew;
pub use emit::{Emitter, emit_json, key_less, sort_keys};
pub use error::Error;
pub use number::{format_float, format_float32, json_float};

use serde_json::Value;

/// Every document of a text; empty and `null` ones are left out.
///
/// # Errors
/// What go-yaml refuses, in its words.
pub fn documents(text: &str) -> Result<Vec<Value>, Error> {
    let mut composer = compose::Composer::new(text)?;
    let mut out = Vec::new();
    while let Some(document) = composer.next()? {
        let value = decode::Decoder::new(&document, &mut Json, false).root()?;
        if !value.is_null() {
            out.push(value);
        }
    }
    Ok(out)
}

/// The first document of a text; `null` when there is none.
///
/// # Errors
/// What go-yaml refuses, in its words.
pub fn from_str(text: &str) -> Result<Value, Error> {
    from_str_with(text, &mut Json, false)
}

/// As [`from_str`], and refuses a key that is given twice in one mapping.
///
/// # Errors
/// What go-yaml refuses, in its words.
pub fn from_str_strict(text: &str) -> Result<Value, Error> {
    from_str_with(text, &mut Json, true)
}

/// The first document of a text, built by `build`.
///
/// # Errors
/// What go-yaml refuses, in its words.
pub fn from_str_with<B: Build>(text: &str, build: &mut B, strict: bool) -> Result<B::Value, Error> {
    let mut composer = compose::Composer::new(text)?;
    match composer.next()? {
        Some(document) => decode::Decoder::new(&document, build, strict).root(),
        None => Ok(build.null()),
    }
}

/// A value as `sigs.k8s.io/yaml` marshals it: Helm's `toYaml` before it trims the last line break.
pub fn to_string(value: &Value) -> String {
    let mut emitter = Emitter::new();
    emit_json(&mut emitter, value);
    emitter.finish()
}

/// Whether a plain scalar of this text would be read as something other than the text itself.
pub fn is_special_plain(text: &str) -> bool {
    !matches!(resolve::resolve(text), resolve::Resolved::Str)
}
