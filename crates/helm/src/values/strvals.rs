//! The grammar of `--set` and its kin: `a.b=c,list[0].x=1,names={a,b}`, with `\` before what should not divide.

use std::sync::Arc;

use crate::value::data::Map;
use crate::value::{Data, Str, quote};

/// Deepest name: `a.b.c...`.
const MAX_LEVEL: usize = 30;
/// Greatest index of a list.
const MAX_INDEX: i64 = 65_536;

/// How the text after `=` is read.
pub enum Mode<'f> {
    /// `--set`: numbers, booleans and `null` are what they look like.
    Typed,
    /// `--set-string`: texts.
    Text,
    /// `--set-json`: JSON.
    Json,
    /// `--set-file`: the contents of a file.
    File(&'f dyn Fn(&str) -> Result<String, String>),
    /// `--set-literal`: the whole rest is one text.
    Literal,
}

enum Stop {
    /// The end of the text.
    End,
    Fail(String),
}

impl From<String> for Stop {
    fn from(text: String) -> Stop {
        Stop::Fail(text)
    }
}

type Step<T> = Result<T, Stop>;

/// Sets into a mapping what a text says.
///
/// # Errors
/// Helm's message.
pub fn parse_into(text: &str, into: &mut Data, mode: &Mode<'_>) -> Result<(), String> {
    if !matches!(into, Data::Map(_)) {
        *into = Data::empty();
    }
    let Data::Map(map) = into else { return Ok(()) };
    let map = Arc::make_mut(map);
    let mut parser = Parser { text, at: 0, mode };
    loop {
        match parser.key(map, 0) {
            Ok(()) => {}
            Err(Stop::End) => return Ok(()),
            Err(Stop::Fail(message)) => return Err(message),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    mode: &'a Mode<'a>,
}

fn set(map: &mut Map, key: &str, value: Data) {
    if !key.is_empty() {
        map.insert(Str::from(key), value);
    }
}

fn type_name(d: &Data) -> &'static str {
    match d {
        Data::Null => "nil",
        Data::Bool(_) => "bool",
        Data::Int(_) => "int64",
        Data::Float(_) => "float64",
        Data::Str(_) => "string",
        Data::List(_) => "[]interface {}",
        Data::Map(_) => "map[string]interface {}",
    }
}

fn not_a(d: &Data, want: &str) -> Stop {
    Stop::Fail(format!("unable to parse key: interface conversion: interface {{}} is {}, not {want}", type_name(d)))
}

fn set_index(list: &mut Vec<Data>, i: usize, value: Data) {
    if list.len() <= i {
        list.resize(i + 1, Data::Null);
    }
    list[i] = value;
}

impl Parser<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.text[self.at..].chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// Text up to one of the signs; the sign, or nothing at the end.
    fn until(&mut self, stops: &str) -> (String, Option<char>) {
        let mut out = String::new();
        while let Some(c) = self.next() {
            if stops.contains(c) {
                return (out, Some(c));
            }
            if c == '\\' && !matches!(self.mode, Mode::Literal) {
                match self.next() {
                    Some(c) => out.push(c),
                    None => return (out, None),
                }
            } else {
                out.push(c);
            }
        }
        (out, None)
    }

    fn key(&mut self, map: &mut Map, level: usize) -> Step<()> {
        let literal = matches!(self.mode, Mode::Literal);
        let (key, stop) = self.until(if literal { "=[." } else { "=[,." });
        match stop {
            None => {
                if key.is_empty() {
                    return Err(Stop::End);
                }
                Err(Stop::Fail(format!("key {} has no value", quote::quote(&key))))
            }
            Some('[') => {
                let i = self.index()?;
                let mut list = match map.get(key.as_str()) {
                    None => Vec::new(),
                    Some(Data::List(list)) => list.to_vec(),
                    Some(other) => return Err(not_a(other, "[]interface {}")),
                };
                let result = self.list_item(&mut list, i, level);
                set(map, &key, Data::list(list));
                result
            }
            Some('=') => {
                let (value, _) = self.value()?;
                set(map, &key, value);
                Ok(())
            }
            Some(',') => {
                set(map, &key, Data::Str(Str::from("")));
                Err(Stop::Fail(format!("key {} has no value (cannot end with ,)", quote::quote(&key))))
            }
            Some(_) => {
                if level + 1 > MAX_LEVEL {
                    return Err(Stop::Fail(format!(
                        "value name nested level is greater than maximum supported nested level of {MAX_LEVEL}"
                    )));
                }
                let mut inner = match map.get(key.as_str()) {
                    None => Map::new(),
                    Some(Data::Map(inner)) => inner.as_ref().clone(),
                    Some(other) => return Err(not_a(other, "map[string]interface {}")),
                };
                let result = self.key(&mut inner, level + 1);
                if result.is_ok() && inner.is_empty() {
                    return Err(Stop::Fail(format!("key map {} has no value", quote::quote(&key))));
                }
                if !inner.is_empty() {
                    set(map, &key, Data::map(inner));
                }
                result
            }
        }
    }

    fn index(&mut self) -> Step<usize> {
        let (text, stop) = self.until("]");
        if stop.is_none() {
            return Err(Stop::End);
        }
        let Ok(i) = text.parse::<i64>() else {
            let kind = format!("strconv.Atoi: parsing {}: invalid syntax", quote::quote(&text));
            return Err(Stop::Fail(format!("error parsing index: {kind}")));
        };
        if i < 0 {
            return Err(Stop::Fail(format!("negative {i} index not allowed")));
        }
        if i > MAX_INDEX {
            return Err(Stop::Fail(format!("index of {i} is greater than maximum supported index of {MAX_INDEX}")));
        }
        Ok(i as usize)
    }

    fn list_item(&mut self, list: &mut Vec<Data>, i: usize, level: usize) -> Step<()> {
        let (text, stop) = self.until("[.=");
        if !text.is_empty() {
            let text = quote::quote(&text);
            return Err(Stop::Fail(format!("unexpected data at end of array index: {text}")));
        }
        match stop {
            None => Err(Stop::End),
            Some('=') => {
                let (value, _) = self.value()?;
                set_index(list, i, value);
                Ok(())
            }
            Some('[') => {
                if level + 1 > MAX_LEVEL {
                    return Err(Stop::Fail(format!(
                        "value name nested level is greater than maximum supported nested level of {MAX_LEVEL}"
                    )));
                }
                let next = self.index()?;
                let mut inner = match list.get(i) {
                    None | Some(Data::Null) => Vec::new(),
                    Some(Data::List(inner)) => inner.to_vec(),
                    Some(other) => return Err(not_a(other, "[]interface {}")),
                };
                let result = self.list_item(&mut inner, next, level + 1);
                set_index(list, i, Data::list(inner));
                result
            }
            Some(_) => {
                let mut inner = match list.get(i) {
                    Some(Data::Map(inner)) => inner.as_ref().clone(),
                    _ => Map::new(),
                };
                let result = self.key(&mut inner, level);
                set_index(list, i, Data::map(inner));
                result
            }
        }
    }

    /// The value after `=`, and whether the text ended with it.
    fn value(&mut self) -> Step<(Data, bool)> {
        match self.mode {
            Mode::Literal => {
                let text = self.text[self.at..].to_owned();
                self.at = self.text.len();
                return Ok((Data::Str(Str::from(text)), true));
            }
            Mode::Json => return self.json(),
            _ => {}
        }
        if self.text[self.at..].starts_with('{') {
            self.at += 1;
            return self.list();
        }
        if self.at >= self.text.len() {
            return Ok((self.read(String::new())?, true));
        }
        let (text, stop) = self.until(",");
        Ok((self.read(text)?, stop.is_none()))
    }

    fn list(&mut self) -> Step<(Data, bool)> {
        let mut items = Vec::new();
        loop {
            let (text, stop) = self.until(",}");
            match stop {
                None => return Err(Stop::Fail("list must terminate with '}'".to_owned())),
                Some('}') => {
                    items.push(self.read(text)?);
                    if self.text[self.at..].starts_with(',') {
                        self.at += 1;
                    }
                    return Ok((Data::list(items), false));
                }
                Some(_) => items.push(self.read(text)?),
            }
        }
    }

    fn json(&mut self) -> Step<(Data, bool)> {
        let rest = &self.text[self.at..];
        if rest.trim().is_empty() || rest.trim_start().starts_with(',') {
            let skipped = rest.len() - rest.trim_start().len();
            self.at += skipped + usize::from(!rest.trim().is_empty());
            return Ok((Data::Null, self.at >= self.text.len()));
        }
        // A number ends after its leading zero; what follows is the next key.
        let zero = rest.trim_start();
        if zero.starts_with('0')
            && zero[1..].starts_with(|c: char| c.is_ascii_alphanumeric() && !matches!(c, 'e' | 'E'))
        {
            self.at += rest.len() - zero.len() + 1;
            return Ok((Data::Float(0.0), false));
        }
        let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<serde_json::Value>();
        match stream.next() {
            Some(Ok(value)) => {
                self.at += stream.byte_offset();
                let rest = &self.text[self.at..];
                self.at += rest.len() - rest.trim_start().len();
                if self.text[self.at..].starts_with(',') {
                    self.at += 1;
                }
                Ok((floats(&value), self.at >= self.text.len()))
            }
            _ => {
                // Go's words for what is wrong.
                let message = match crate::value::json::decode(rest) {
                    Err(message) => message,
                    Ok(_) => "unexpected end of JSON input".to_owned(),
                };
                let word = rest.trim();
                let cut = !word.is_empty() && ["null", "true", "false"].iter().any(|w| w.starts_with(word));
                let ends = cut || message == "unexpected end of JSON input";
                let message = if ends { "unexpected EOF".to_owned() } else { message };
                Err(Stop::Fail(message))
            }
        }
    }

    fn read(&self, text: String) -> Step<Data> {
        match self.mode {
            Mode::Typed => Ok(typed(&text)),
            Mode::File(read) => Ok(Data::Str(Str::from(read(&text)?))),
            _ => Ok(Data::Str(Str::from(text))),
        }
    }
}

fn typed(text: &str) -> Data {
    if text.eq_ignore_ascii_case("true") {
        return Data::Bool(true);
    }
    if text.eq_ignore_ascii_case("false") {
        return Data::Bool(false);
    }
    if text.eq_ignore_ascii_case("null") {
        return Data::Null;
    }
    if text == "0" {
        return Data::Int(0);
    }
    if !text.is_empty()
        && !text.starts_with('0')
        && let Ok(n) = text.parse::<i64>()
    {
        return Data::Int(n);
    }
    Data::Str(Str::from(text))
}

/// JSON with every number a float, as Go decodes it.
pub(crate) fn floats(value: &serde_json::Value) -> Data {
    Data::from_json(value).floats()
}

/// What a text of `--set` would set, for messages and tests.
///
/// # Errors
/// Helm's message.
pub fn parse(text: &str) -> Result<Data, String> {
    let mut out = Data::empty();
    parse_into(text, &mut out, &Mode::Typed)?;
    Ok(out)
}
