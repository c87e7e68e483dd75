//! Values to YAML text, as `sigs.k8s.io/yaml` marshals and Helm's `toYaml` shows.
//!
//! An [`Emitter`] is fed in document order, so that any value type can be written without a copy. Callers give mapping
//! keys in the order of [`key_less`] (see [`sort_keys`]).

use crate::resolve::{Resolved, is_base60_float, resolve};

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
    /// A text that go-yaml would not read back from JSON was written.
    refused: bool,
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
            refused: false,
        }
    }

    /// An emitter whose sequences are indented below their key by two, as Helm's `toYamlPretty`.
    pub fn pretty() -> Self {
        Emitter { sequence_indent: 2, ..Emitter::new() }
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
        let Some(&Level::Mapping(at)) = self.levels.last() else { return };
        if self.pending == Pending::Dash {
            self.pending = Pending::None;
        } else {
            self.indent_to(at);
        }
        let style = scalar_style(key);
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
            self.newline();
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
        if !text.is_ascii() || text.contains('\x7f') {
            self.refused |=
                text.chars().any(|c| matches!(c, '\x7f'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}'));
            if text.contains('\u{85}') {
                // It passes through JSON unescaped and is folded there as a line break.
                let json = serde_json::Value::from(text).to_string();
                if let Ok(serde_json::Value::String(folded)) = crate::from_str(&json)
                    && !folded.contains('\u{85}')
                {
                    return self.string(&folded);
                }
            }
        }
        self.before_value(true);
        self.scalar(text, scalar_style(text));
        self.newline();
        self.pending = Pending::None;
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

    fn plain_scalar(&mut self, text: &str) {
        if self.column() + text.len() <= WIDTH {
            return self.push_text(text);
        }
        let indent = self.scalar_indent();
        let bytes = text.as_bytes();
        let mut spaces = false;
        for (i, c) in text.char_indices() {
            if c == ' ' {
                if !spaces && self.column() > WIDTH && bytes.get(i + 1) != Some(&b' ') {
                    self.break_line(indent);
                } else {
                    self.out.push(' ');
                }
                spaces = true;
            } else {
                self.push_char(c);
                spaces = false;
            }
        }
    }

    fn single_quoted(&mut self, text: &str, allow_breaks: bool) {
        let indent = self.scalar_indent();
        let bytes = text.as_bytes();
        self.out.push('\'');
        let (mut spaces, mut breaks) = (false, false);
        for (i, c) in text.char_indices() {
            if c == ' ' {
                if allow_breaks
                    && !spaces
                    && self.column() > WIDTH
                    && i > 0
                    && i < text.len() - 1
                    && bytes.get(i + 1) != Some(&b' ')
                {
                    self.break_line(indent);
                } else {
                    self.out.push(' ');
                }
                spaces = true;
            } else if is_break(c) {
                if !breaks && c == '\n' {
                    self.newline();
                }
                self.write_break(c);
                breaks = true;
            } else {
                if breaks {
                    self.indent_to(indent);
                }
                if c == '\'' {
                    self.out.push('\'');
                }
                self.push_char(c);
                spaces = false;
                breaks = false;
            }
        }
        self.out.push('\'');
    }

    fn double_quoted(&mut self, text: &str, allow_breaks: bool) {
        let indent = self.scalar_indent();
        let bytes = text.as_bytes();
        self.out.push('"');
        let mut spaces = false;
        // go-yaml looks for the mark at the start only, and then takes every character for one.
        let marked = text.starts_with('\u{feff}');
        for (i, c) in text.char_indices() {
            if !is_printable(c) || marked || is_break(c) || c == '"' || c == '\\' {
                self.out.push('\\');
                match c {
                    '\0' => self.out.push('0'),
                    '\x07' => self.out.push('a'),
                    '\x08' => self.out.push('b'),
                    '\t' => self.out.push('t'),
                    '\n' => self.out.push('n'),
                    '\x0b' => self.out.push('v'),
                    '\x0c' => self.out.push('f'),
                    '\r' => self.out.push('r'),
                    '\x1b' => self.out.push('e'),
                    '"' => self.out.push('"'),
                    '\\' => self.out.push('\\'),
                    '\u{85}' => self.out.push('N'),
                    '\u{a0}' => self.out.push('_'),
                    '\u{2028}' => self.out.push('L'),
                    '\u{2029}' => self.out.push('P'),
                    c => {
                        let n = c as u32;
                        let text = match n {
                            0..=0xFF => format!("x{n:02X}"),
                            0x100..=0xFFFF => format!("u{n:04X}"),
                            _ => format!("U{n:08X}"),
                        };
                        self.out.push_str(&text);
                    }
                }
                spaces = false;
            } else if c == ' ' {
                if allow_breaks && !spaces && self.column() > WIDTH && i > 0 && i < text.len() - 1 {
                    self.break_line(indent);
                    if bytes.get(i + 1) == Some(&b' ') {
                        self.out.push('\\');
                    }
                } else {
                    self.out.push(' ');
                }
                spaces = true;
            } else {
                self.push_char(c);
                spaces = false;
            }
        }
        self.out.push('"');
    }

    fn write_break(&mut self, c: char) {
        if c == '\n' {
            self.newline();
        } else {
            self.out.push(c);
            self.line_start = self.out.len();
            self.wide = 0;
        }
    }

    fn literal(&mut self, text: &str) {
        let indent = self.scalar_indent();
        self.out.push('|');
        let first = text.chars().next().unwrap_or(' ');
        if first == ' ' || is_break(first) {
            self.out.push('2');
        }
        let mut back = text.chars().rev();
        match back.next() {
            Some(last) if !is_break(last) => self.out.push('-'),
            Some(_) => match back.next() {
                None => self.out.push('+'),
                Some(c) if is_break(c) => self.out.push('+'),
                Some(_) => {}
            },
            None => self.out.push('-'),
        }
        self.newline();
        let mut breaks = true;
        for c in text.chars() {
            if is_break(c) {
                self.write_break(c);
                breaks = true;
            } else {
                if breaks {
                    self.indent_to(indent);
                }
                self.push_char(c);
                breaks = false;
            }
        }
        if breaks {
            // The caller ends the line; the text already has.
            let end = self.out.len() - 1;
            self.out.truncate(end);
        }
    }
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// libyaml's idea of printable, as go-yaml v2 has it: no tab, nothing beyond the basic plane.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

#[derive(Clone, Copy)]
struct Chosen {
    style: Style,
    /// Whether it fits on one line, so that a key need not be written with `?`.
    simple: bool,
}

/// Chooses the style: go-yaml's encoder first, then libyaml's analysis.
fn scalar_style(text: &str) -> Chosen {
    if text.is_empty() {
        return Chosen { style: Style::Double, simple: true };
    }
    let bytes = text.as_bytes();
    // Nearly every text: letters, digits and harmless signs, beginning with a letter that begins no special word.
    if bytes[0].is_ascii_alphabetic()
        && !matches!(bytes[0], b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O')
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'))
    {
        return Chosen { style: Style::Plain, simple: true };
    }
    let seen = analyze(text);
    let wanted = if text.contains('\n') {
        Style::Literal
    } else if matches!(resolve(text), Resolved::Str) && !is_base60_float(text) {
        Style::Plain
    } else {
        Style::Double
    };
    let style = match wanted {
        Style::Plain if seen.plain => Style::Plain,
        Style::Plain if seen.single => Style::Single,
        Style::Literal if seen.block => Style::Literal,
        _ => Style::Double,
    };
    Chosen { style, simple: !seen.multiline }
}

struct Analysis {
    plain: bool,
    single: bool,
    block: bool,
    multiline: bool,
}

fn analyze(text: &str) -> Analysis {
    let (mut block_indicators, mut special, mut line_breaks) = (false, false, false);
    let (mut leading_space, mut leading_break, mut trailing_space, mut trailing_break) = (false, false, false, false);
    let (mut break_space, mut space_break) = (false, false);
    let (mut previous_space, mut previous_break) = (false, false);
    let mut preceded_by_whitespace = true;
    if text.starts_with("---") || text.starts_with("...") {
        block_indicators = true;
    }
    let mut chars = text.char_indices().peekable();
    while let Some((i, c)) = chars.next() {
        let next = chars.peek().map(|&(_, c)| c);
        let last = next.is_none();
        let followed_by_whitespace = next.is_none_or(|n| n == ' ' || n == '\t' || is_break(n));
        if i == 0 {
            match c {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => {
                    block_indicators = true;
                }
                '?' | ':' | '-' if followed_by_whitespace => block_indicators = true,
                _ => {}
            }
        } else {
            match c {
                ':' if followed_by_whitespace => block_indicators = true,
                '#' if preceded_by_whitespace => block_indicators = true,
                _ => {}
            }
        }
        if !is_printable(c) {
            special = true;
        }
        if c == ' ' {
            leading_space |= i == 0;
            trailing_space |= last;
            break_space |= previous_break;
            previous_space = true;
            previous_break = false;
        } else if is_break(c) {
            line_breaks = true;
            leading_break |= i == 0;
            trailing_break |= last;
            space_break |= previous_space;
            previous_space = false;
            previous_break = true;
        } else {
            previous_space = false;
            previous_break = false;
        }
        preceded_by_whitespace = c == ' ' || c == '\t' || is_break(c);
    }
    let mut out = Analysis { plain: true, single: true, block: true, multiline: line_breaks };
    if leading_space || leading_break || trailing_space || trailing_break || line_breaks || block_indicators {
        out.plain = false;
    }
    if trailing_space {
        out.block = false;
    }
    if break_space {
        out.plain = false;
        out.single = false;
    }
    if space_break || special {
        out.plain = false;
        out.single = false;
        out.block = false;
    }
    out
}

pub use crate::number::format_float;

/// go-yaml's natural order of keys: numbers inside texts by value, other signs before letters.
pub fn key_less(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() {
        return less(a.as_bytes(), b.as_bytes(), |c| c as char);
    }
    let ar: Vec<char> = a.chars().collect();
    let br: Vec<char> = b.chars().collect();
    less(&ar, &br, |c| c)
}

fn less<T: Copy + PartialEq>(a: &[T], b: &[T], char_of: impl Fn(T) -> char) -> bool {
    let digit = |c: char| c.is_ascii_digit() || (!c.is_ascii() && c.is_numeric());
    for i in 0..a.len().min(b.len()) {
        if a[i] == b[i] {
            continue;
        }
        let (ca, cb) = (char_of(a[i]), char_of(b[i]));
        let (al, bl) = (ca.is_alphabetic(), cb.is_alphabetic());
        if al && bl {
            return ca < cb;
        }
        if al || bl {
            return bl;
        }
        let (mut an, mut bn) = (0i64, 0i64);
        if ca == '0' || cb == '0' {
            for j in (0..i).rev() {
                let c = char_of(a[j]);
                if !digit(c) {
                    break;
                }
                if c != '0' {
                    an = 1;
                    bn = 1;
                    break;
                }
            }
        }
        let number = |s: &[T], mut n: i64| {
            let mut at = i;
            while at < s.len() && digit(char_of(s[at])) {
                n = n.wrapping_mul(10).wrapping_add(char_of(s[at]) as i64 - '0' as i64);
                at += 1;
            }
            (n, at)
        };
        let (an, ai) = number(a, an);
        let (bn, bi) = number(b, bn);
        if an != bn {
            return an < bn;
        }
        if ai != bi {
            return ai < bi;
        }
        return ca < cb;
    }
    a.len() < b.len()
}

/// Sorts by [`key_less`], which is no total order: a sort that needs one could panic.
pub fn sort_keys<T>(items: &mut Vec<T>, key: impl Fn(&T) -> &str + Copy) {
    let ordered = items.windows(2).all(|w| !key_less(key(&w[1]), key(&w[0])));
    if ordered {
        return;
    }
    let n = items.len();
    if n <= 12 {
        for i in 1..n {
            let mut j = i;
            while j > 0 && key_less(key(&items[j]), key(&items[j - 1])) {
                items.swap(j, j - 1);
                j -= 1;
            }
        }
        return;
    }
    let mut right = items.split_off(n / 2);
    sort_keys(items, key);
    sort_keys(&mut right, key);
    let left = std::mem::take(items);
    let mut left = left.into_iter().peekable();
    let mut right = right.into_iter().peekable();
    loop {
        let take_right = match (left.peek(), right.peek()) {
            (Some(l), Some(r)) => key_less(key(r), key(l)),
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (None, None) => return,
        };
        items.extend(if take_right { right.next() } else { left.next() });
    }
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
