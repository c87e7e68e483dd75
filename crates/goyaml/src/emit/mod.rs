//! Values to YAML text, as `sigs.k8s.io/yaml` marshals and Helm's `toYaml` shows.
//!
//! An [`Emitter`] is fed in document order, so that any value type can be written without a copy. Callers give mapping
//! keys in the order of [`key_less`] (see [`sort_keys`]).

pub mod anew;
mod keys;
mod scalar;
mod style;

pub use self::keys::{key_less, sort_keys};
use self::style::{Chosen, Style, scalar_style};
pub use crate::number::format_float;

/// The column after which libyaml breaks a line at a space.
const WIDTH: usize = 80;

#[derive(Clone, Copy)]
enum Level {
    /// A mapping whose keys stand at this indentation.
    Mapping(usize),
    /// A sequence whose dashes stand at this indentation.
    Sequence(usize),
}

/// Writes one YAML document in block style.
///
/// Call [`begin_mapping`](Emitter::begin_mapping), [`key`](Emitter::key), the value, ..., [`end`](Emitter::end).
pub struct Emitter {
    out: String,
    /// Byte offset where the current line begins.
    line_start: usize,
    /// Characters on the current line that are not single bytes make columns differ: counted apart.
    wide: usize,
    levels: Vec<Level>,
    /// After `key:` or `-`: what comes next goes on the same line.
    pending: Pending,
    /// Spaces that each dash of a sequence inside a mapping gets: 0 as go-yaml v2, 2 as v3.
    sequence_indent: usize,
    /// Values are written as they are, not as JSON that is read again, and by go-yaml v3.
    straight: bool,
    /// A text that go-yaml would not read back from JSON was written.
    refused: bool,
    /// The text that was written ends its line itself, by a line break of Unicode's.
    line_ended: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Pending {
    None,
    Key,
    Dash,
}

impl Default for Emitter {
    fn default() -> Self {
        Emitter::new()
    }
}

impl Emitter {
    /// An emitter in the style of go-yaml v2: dashes stand under the key.
    pub fn new() -> Self {
        Emitter {
            out: String::new(),
            line_start: 0,
            wide: 0,
            levels: Vec::new(),
            pending: Pending::None,
            sequence_indent: 0,
            straight: false,
            refused: false,
            line_ended: false,
        }
    }

    /// An emitter as Helm's `toYamlPretty` has it, in the style of go-yaml v3: sequences are indented below their key by two, no
    /// line is broken for its length, and texts of several lines may hold tabs.
    pub fn pretty() -> Self {
        Emitter { sequence_indent: 2, straight: true, ..Emitter::new() }
    }

    /// The text, ended by a line break.
    pub fn finish(self) -> String {
        self.out
    }

    /// Bytes written so far.
    pub fn written(&self) -> usize {
        self.out.len()
    }

    /// Whether a text held a character that go-yaml refuses to read (a control character beyond ASCII's): then
    /// `sigs.k8s.io/yaml` fails with `yaml: control characters are not allowed`, as it writes by reading JSON.
    pub fn refused(&self) -> bool {
        self.refused
    }

    /// Ends the line of a scalar, where the scalar has not.
    fn end_line(&mut self) {
        if !std::mem::take(&mut self.line_ended) {
            self.newline();
        }
    }

    fn newline(&mut self) {
        self.out.push('\n');
        self.line_start = self.out.len();
        self.wide = 0;
    }

    fn column(&self) -> usize {
        self.out.len() - self.line_start - self.wide
    }

    fn indent_to(&mut self, column: usize) {
        const SPACES: &str = "                                                                ";
        let mut left = column;
        while left > 0 {
            let n = left.min(SPACES.len());
            self.out.push_str(&SPACES[..n]);
            left -= n;
        }
    }

    /// Indentation that the continuation lines of a scalar get here.
    fn scalar_indent(&self) -> usize {
        match self.levels.last() {
            None => 2,
            Some(Level::Mapping(at) | Level::Sequence(at)) => at + 2,
        }
    }

    /// Puts what stands before a value on its line: a space, or a dash.
    fn before_value(&mut self, scalar: bool) {
        match self.levels.last() {
            Some(&Level::Sequence(at)) => {
                if self.pending == Pending::Dash {
                    // The first item of a sequence that begins on the line of a dash.
                    self.pending = Pending::None;
                } else {
                    self.indent_to(at);
                }
                self.out.push('-');
                if scalar {
                    self.out.push(' ');
                }
            }
            Some(Level::Mapping(_)) if scalar => self.out.push(' '),
            _ => {}
        }
    }

    /// Opens a mapping of `len` keys. An empty one is written at once and must not be ended.
    pub fn begin_mapping(&mut self, len: usize) {
        if len == 0 {
            return self.plain("{}");
        }
        self.before_value(false);
        let (at, pending) = match self.levels.last() {
            None => (0, Pending::None),
            Some(&Level::Mapping(at)) => {
                self.newline();
                (at + 2, Pending::None)
            }
            Some(&Level::Sequence(at)) => {
                self.out.push(' ');
                (at + 2, Pending::Dash)
            }
        };
        self.levels.push(Level::Mapping(at));
        self.pending = pending;
    }

    /// Opens a sequence of `len` items. An empty one is written at once and must not be ended.
    pub fn begin_sequence(&mut self, len: usize) {
        if len == 0 {
            return self.plain("[]");
        }
        self.before_value(false);
        let (at, pending) = match self.levels.last() {
            None => (0, Pending::None),
            Some(&Level::Mapping(at)) => {
                self.newline();
                (at + self.sequence_indent, Pending::None)
            }
            Some(&Level::Sequence(at)) => {
                self.out.push(' ');
                (at + 2, Pending::Dash)
            }
        };
        self.levels.push(Level::Sequence(at));
        self.pending = pending;
    }

    /// Closes the innermost open mapping or sequence.
    pub fn end(&mut self) {
        self.levels.pop();
        self.pending = Pending::None;
    }

    /// Writes a key of the innermost mapping.
    pub fn key(&mut self, key: &str) {
        // In JSON a line break of Unicode's makes it no key of one line, which is not read.
        self.refused |= !self.straight && (is_refused(key) || key.contains('\u{85}'));
        let style = self.style_of(key);
        self.key_as(key, style);
    }

    fn key_as(&mut self, key: &str, style: Chosen) {
        let Some(&Level::Mapping(at)) = self.levels.last() else { return };
        if self.pending == Pending::Dash {
            self.pending = Pending::None;
        } else {
            self.indent_to(at);
        }
        // libyaml: a simple key is at most 128 bytes on one line.
        if key.len() <= 128 && style.simple {
            match style.style {
                Style::Plain => self.push_text(key),
                Style::Single => self.single_quoted(key, false),
                _ => self.double_quoted(key, false),
            }
            self.out.push(':');
        } else {
            self.out.push_str("? ");
            self.scalar(key, style);
            self.end_line();
            self.indent_to(at);
            self.out.push(':');
        }
        self.pending = Pending::Key;
    }

    fn plain(&mut self, text: &str) {
        self.before_value(true);
        self.out.push_str(text);
        self.newline();
        self.pending = Pending::None;
    }

    /// Writes `null`.
    pub fn null(&mut self) {
        self.plain("null");
    }

    /// Writes a boolean.
    pub fn bool(&mut self, value: bool) {
        self.plain(if value { "true" } else { "false" });
    }

    /// Writes an integer.
    pub fn int(&mut self, value: i64) {
        self.plain(&value.to_string());
    }

    /// Writes an unsigned integer.
    pub fn uint(&mut self, value: u64) {
        self.plain(&value.to_string());
    }

    /// Writes a float that came through JSON: whole numbers in the range of integers have no exponent.
    pub fn float(&mut self, value: f64) {
        if value.fract() == 0.0 && value.abs() < 1e15 {
            return self.plain(&(value as i64).to_string());
        }
        if value.fract() == 0.0 && (-9_223_372_036_854_775_808.0..18_446_744_073_709_551_616.0).contains(&value) {
            // JSON gives the shortest digits, filled with zeroes: 1e19 stays exact, 2^63 does not.
            let digits = crate::number::json_float(value);
            if digits.parse::<i64>().is_ok() || digits.parse::<u64>().is_ok() {
                return self.plain(&digits);
            }
        }
        self.plain(&format_float(value));
    }

    /// Writes a scalar that needs no quotes: it stands as it is.
    pub fn verbatim(&mut self, text: &str) {
        self.plain(text);
    }

    /// Writes a text, quoted where reading it back would give something else.
    pub fn string(&mut self, text: &str) {
        if !self.straight && (!text.is_ascii() || text.contains('\x7f')) {
            self.refused |= is_refused(text);
            if text.contains('\u{85}') {
                // It passes through JSON unescaped and is folded there as a line break.
                let json = serde_json::Value::from(text).to_string();
                let json = json.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
                if let Ok(serde_json::Value::String(folded)) = crate::from_str(&json)
                    && !folded.contains('\u{85}')
                {
                    return self.string(&folded);
                }
            }
        }
        self.before_value(true);
        self.scalar(text, self.style_of(text));
        self.end_line();
        self.pending = Pending::None;
    }

    fn style_of(&self, text: &str) -> Chosen {
        scalar_style(text, self.straight)
    }

    /// The column after which a line is broken at a space.
    fn width(&self) -> usize {
        if self.straight { usize::MAX } else { WIDTH }
    }

    fn scalar(&mut self, text: &str, style: Chosen) {
        match style.style {
            Style::Plain => self.plain_scalar(text),
            Style::Single => self.single_quoted(text, true),
            Style::Double => self.double_quoted(text, true),
            Style::Literal => self.literal(text),
        }
    }

    fn push_text(&mut self, text: &str) {
        if !text.is_ascii() {
            self.wide += text.len() - text.chars().count();
        }
        self.out.push_str(text);
    }

    fn push_char(&mut self, c: char) {
        self.wide += c.len_utf8() - 1;
        self.out.push(c);
    }

    fn break_line(&mut self, indent: usize) {
        self.newline();
        self.indent_to(indent);
    }
}

/// Whether go-yaml refuses a character when it reads the text.
fn is_refused(text: &str) -> bool {
    let refused = |c: char| matches!(c, '\x7f'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}');
    !text.is_ascii() && text.chars().any(refused) || text.contains('\x7f')
}

/// Writes a [`serde_json::Value`].
pub fn emit_json(emitter: &mut Emitter, value: &serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::Null => emitter.null(),
        Value::Bool(b) => emitter.bool(*b),
        Value::Number(n) => {
            if let Some(i) = n.as_i64() {
                emitter.int(i);
            } else if let Some(u) = n.as_u64() {
                emitter.uint(u);
            } else {
                emitter.float(n.as_f64().unwrap_or(0.0));
            }
        }
        Value::String(s) => emitter.string(s),
        Value::Array(items) => {
            emitter.begin_sequence(items.len());
            items.iter().for_each(|item| emit_json(emitter, item));
            if !items.is_empty() {
                emitter.end();
            }
        }
        Value::Object(map) => {
            emitter.begin_mapping(map.len());
            let mut pairs: Vec<(&String, &Value)> = map.iter().collect();
            sort_keys(&mut pairs, |(k, _)| k.as_str());
            for (key, value) in pairs {
                emitter.key(key);
                emit_json(emitter, value);
            }
            if !map.is_empty() {
                emitter.end();
            }
        }
    }
}
