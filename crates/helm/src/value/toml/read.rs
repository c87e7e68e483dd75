//! Reading TOML as BurntSushi's reader does: its values, its order of errors, its messages.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use super::super::time::{Zone, parse};
use super::super::{ListTy, Value, budget, quote::quote};
use super::scan::{Scan, Taken, Token, Wrong, is_blank, is_break};
use super::{MAX_DEPTH, key_text};

/// Decodes TOML into a map.
///
/// # Errors
/// What is wrong, with its line and the last key.
pub fn decode(text: &str) -> Result<Value, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.bytes().take(6).any(|b| b == 0) {
        let message = "files cannot contain NULL bytes; probably using UTF-16; TOML files must be UTF-8";
        return Err(format!("toml: line 1: {message}"));
    }
    let mut reader = Reader {
        scan: Scan::new(text),
        context: Vec::new(),
        current: String::new(),
        line: 1,
        implicit: HashSet::new(),
        lists: HashSet::new(),
        root: Table::new(),
    };
    match reader.all() {
        Ok(()) => Ok(table_value(reader.root)),
        Err(Wrong { line, message }) => Err(match reader.last_key() {
            key if key.is_empty() => format!("toml: line {line}: {message}"),
            key => format!("toml: line {line} (last key {}): {message}", quote(&key)),
        }),
    }
}

type Table = BTreeMap<String, Node>;

/// What a key holds.
enum Node {
    Leaf(Value),
    Table(Table),
    /// A list of tables, from `[[name]]` or from inline tables in a list.
    Tables(Vec<Table>),
}

fn table_value(table: Table) -> Value {
    Value::map(table.into_iter().map(|(key, node)| (key.as_str().into(), node_value(node))).collect())
}

fn node_value(node: Node) -> Value {
    match node {
        Node::Leaf(value) => value,
        Node::Table(table) => table_value(table),
        Node::Tables(tables) => Value::list_of(ListTy::Maps, tables.into_iter().map(table_value).collect()),
    }
}

struct Reader<'t> {
    scan: Scan<'t>,
    /// The table that keys are put into.
    context: Vec<String>,
    /// The key whose value is read.
    current: String,
    /// The line of the last key.
    line: usize,
    /// Tables that other keys imply.
    implicit: HashSet<String>,
    /// Keys whose values were lists.
    lists: HashSet<String>,
    root: Table,
}

fn shown(key: &[String]) -> String {
    key.iter().map(|part| key_text(part)).collect::<Vec<_>>().join(".")
}

impl Reader<'_> {
    fn last_key(&self) -> String {
        match (self.context.is_empty(), self.current.is_empty()) {
            (_, true) => shown(&self.context),
            (true, false) => self.current.clone(),
            (false, false) => format!("{}.{}", shown(&self.context), self.current),
        }
    }

    fn all(&mut self) -> Taken<()> {
        loop {
            self.scan.skip(|c| is_blank(c) || is_break(c))?;
            match self.scan.next()? {
                None => return Ok(()),
                Some('#') => self.scan.comment()?,
                Some('[') => {
                    let (key, line, listed) = self.scan.table_name()?;
                    self.line = line;
                    self.enter(&key, listed)?;
                    self.scan.end_of_line()?;
                }
                Some(_) => {
                    self.scan.back();
                    let outer = self.context.clone();
                    self.pair(0)?;
                    self.context = outer;
                    self.current.clear();
                    self.scan.end_of_line()?;
                }
            }
        }
    }

    /// A key and its value. The context is left as the key has it.
    fn pair(&mut self, depth: usize) -> Taken<()> {
        let (mut key, line) = self.scan.key()?;
        self.line = line;
        self.current = key.pop().unwrap_or_default();
        for part in key {
            let mut context = self.context.clone();
            context.push(part);
            self.implicit.insert(shown(&context));
            // What was a list gives way to what is said to be below it, each time anew.
            if self.lists.contains(&shown(&context))
                && let Some((last, parents)) = context.split_last()
                && let Some(table) = walk(&mut self.root, parents)
            {
                table.remove(last);
            }
            self.enter(&context, false)?;
        }
        let token = self.scan.value()?;
        let value = self.value(token, false, depth)?;
        let name = self.current.clone();
        let is_list = matches!(value, Node::Leaf(Value::List(_)));
        self.put(&name, value)?;
        if is_list {
            let mut key = self.context.clone();
            key.push(name);
            self.lists.insert(shown(&key));
        }
        Ok(())
    }

    fn value(&mut self, token: Token, in_list: bool, depth: usize) -> Taken<Node> {
        if depth > MAX_DEPTH || !budget::goes_on(0) {
            return self.scan.wrong("nested too deep");
        }
        Ok(Node::Leaf(match token {
            Token::Text(text) => Value::str(text),
            Token::Bool(b) => Value::Bool(b),
            Token::Integer(text) => self.integer(&text)?,
            Token::Float(text) => self.float(&text)?,
            Token::Date(text) => self.date(&text)?,
            Token::Array => self.list(depth)?,
            Token::Table => return self.inline_table(in_list, depth),
        }))
    }

    fn integer(&self, text: &str) -> Taken<Value> {
        self.number_form(text, "integer", text)?;
        let digits = text.replace('_', "");
        let parsed = match digits.get(..2) {
            Some("0x") => i64::from_str_radix(&digits[2..], 16),
            Some("0o") => i64::from_str_radix(&digits[2..], 8),
            Some("0b") => i64::from_str_radix(&digits[2..], 2),
            _ => digits.parse(),
        };
        match parsed {
            Ok(n) => Ok(Value::int64(n)),
            Err(_) => self.scan.wrong(format!("{text} is out of range for int64")),
        }
    }

    fn float(&self, text: &str) -> Taken<Value> {
        if !text.ends_with("inf") && !text.ends_with("nan") {
            for (i, part) in text.split(['.', 'e', 'E']).filter(|part| !part.is_empty()).enumerate() {
                if !underscores_fit(part) {
                    return self.number_form(part, "float", text).and(Ok(Value::Nil));
                }
                if i == 0 {
                    self.number_form(part, "float", text)?;
                }
            }
            let dots = text.as_bytes().windows(2).all(|w| w[0] != b'.' || w[1].is_ascii_digit());
            if !dots || text.ends_with('.') {
                let text = quote(text);
                return self.scan.wrong(format!("Invalid float {text}: '.' must be followed by one or more digits"));
            }
        }
        match text.replace('_', "").parse::<f64>() {
            Ok(f) if f.is_infinite() && !text.ends_with("inf") => {
                self.scan.wrong(format!("{text} is out of range for float64"))
            }
            Ok(_) if text == "-nan" => Ok(Value::Float(f64::NAN.copysign(-1.0))),
            Ok(f) => Ok(Value::Float(f)),
            Err(_) => self.scan.wrong(format!("Invalid float value: {}", quote(text))),
        }
    }

    /// Refuses underscores that stand alone, and zeros in front.
    fn number_form(&self, part: &str, kind: &str, whole: &str) -> Taken<()> {
        let whole = quote(whole);
        if !underscores_fit(part) {
            return self.scan.wrong(format!("Invalid {kind} {whole}: underscores must be surrounded by digits"));
        }
        let unsigned = part.trim_start_matches(['+', '-']);
        let signed = unsigned.len() < part.len();
        let based = !signed && ["0x", "0o", "0b"].iter().any(|base| part.starts_with(base));
        if unsigned.len() > 1 && unsigned.starts_with('0') && !based {
            return self.scan.wrong(format!("Invalid {kind} {whole}: cannot have leading zeroes"));
        }
        Ok(())
    }

    fn date(&self, text: &str) -> Taken<Value> {
        let text = text.replace('z', "Z").replace(['t', ' '], "T");
        const FORMS: [(&str, &str); 7] = [
            ("2006-01-02T15:04:05.999999999Z07:00", ""),
            ("2006-01-02T15:04:05.999999999", "datetime-local"),
            ("2006-01-02", "date-local"),
            ("15:04:05.999999999", "time-local"),
            ("2006-01-02T15:04Z07:00", ""),
            ("2006-01-02T15:04", "datetime-local"),
            ("15:04", "time-local"),
        ];
        for (layout, name) in FORMS {
            let zone = if name.is_empty() { Zone::Utc } else { Zone::Fixed(0, name.into()) };
            let Ok(time) = parse(layout, &text, &zone) else { continue };
            let separators = layout.bytes().zip(text.bytes()).take_while(|(l, _)| !matches!(l, b'.' | b'Z'));
            if separators.into_iter().any(|(l, c)| !l.is_ascii_digit() && l != c) {
                break;
            }
            return Ok(Value::Time(Rc::new(time)));
        }
        self.scan.wrong(format!("invalid datetime: {}", quote(&text)))
    }

    fn list(&mut self, depth: usize) -> Taken<Value> {
        let mut items = Vec::new();
        loop {
            if let Some(()) = self.list_gap(|c| match c {
                Some(',') => Err("unexpected comma".to_owned()),
                Some(']') => Ok(Some(())),
                _ => Ok(None),
            })? {
                break;
            }
            let token = self.scan.value()?;
            items.push(node_value(self.value(token, true, depth + 1)?));
            let end = self.list_gap(|c| match c {
                Some(',') => Ok(Some(false)),
                Some(']') => Ok(Some(true)),
                Some(c) => Err(format!("expected a comma (',') or array terminator (']'), but got '{c}'")),
                None => Err("expected a comma (',') or array terminator (']'), but got end of file".to_owned()),
            })?;
            if end == Some(true) {
                break;
            }
        }
        Ok(Value::list(items))
    }

    /// Blanks, line breaks and comments in a list, and what comes then: taken when it is known.
    fn list_gap<T>(&mut self, known: impl Fn(Option<char>) -> Result<Option<T>, String>) -> Taken<Option<T>> {
        loop {
            self.scan.skip(|c| is_blank(c) || is_break(c))?;
            match self.scan.next()? {
                Some('#') => self.scan.comment()?,
                c => match known(c) {
                    Ok(Some(found)) => return Ok(Some(found)),
                    Ok(None) => {
                        self.scan.back();
                        return Ok(None);
                    }
                    Err(message) => return self.scan.wrong_last(message),
                },
            }
        }
    }

    /// An inline table. In a list it has nothing to do with what else is under the list's key.
    fn inline_table(&mut self, in_list: bool, depth: usize) -> Taken<Node> {
        let (outer, outer_key) = (self.context.clone(), std::mem::take(&mut self.current));
        let mut own = outer.clone();
        own.push(outer_key.clone());
        let known = walk(&mut self.root, &outer).and_then(|table| table.get(&outer_key));
        if in_list && known.is_some() {
            self.context = outer;
            let text = format!("Key '{}' was already created and cannot be used as an array.", shown(&own));
            return self.said(text);
        }
        // A list that is there already is told when all is read.
        let over_list = matches!(known, Some(Node::Leaf(Value::List(_))));
        let aside =
            (in_list || over_list).then(|| (std::mem::take(&mut self.root), std::mem::take(&mut self.implicit)));
        self.context.clone_from(&own);
        self.implicit.insert(shown(&own));
        self.enter(&own, false)?;
        loop {
            match self.inline_gap()? {
                Some(',') => return self.scan.wrong("unexpected comma"),
                Some('}') => break,
                _ => self.scan.back(),
            }
            self.pair(depth + 1)?;
            self.context.clone_from(&own);
            match self.inline_gap()? {
                Some(',') => {}
                Some('}') => break,
                c => {
                    let got = c.map_or_else(|| "end of file".to_owned(), |c| format!("'{c}'"));
                    let text = format!("expected a comma or an inline table terminator '}}', but got {got} instead");
                    return self.scan.wrong_last(text);
                }
            }
        }
        self.context = outer;
        self.current = outer_key;
        // What was read stands where it belongs.
        let read = self.taken(&own);
        if let Some((root, implicit)) = aside {
            (self.root, self.implicit) = (root, implicit);
        }
        Ok(Node::Table(read))
    }

    fn inline_gap(&mut self) -> Taken<Option<char>> {
        loop {
            self.scan.skip(is_blank)?;
            match self.scan.next()? {
                Some('#') => self.scan.comment()?,
                Some(c) if is_break(c) => {}
                c => return Ok(c),
            }
        }
    }

    /// The table at a path, taken from where it is.
    fn taken(&mut self, path: &[String]) -> Table {
        let Some((last, parents)) = path.split_last() else { return Table::new() };
        match walk(&mut self.root, parents).and_then(|table| table.get_mut(last)) {
            Some(Node::Table(table)) => std::mem::take(table),
            Some(Node::Tables(tables)) => tables.last_mut().map(std::mem::take).unwrap_or_default(),
            _ => Table::new(),
        }
    }

    fn said<T>(&self, message: String) -> Taken<T> {
        Err(Wrong { line: self.line, message })
    }

    /// Makes a table the context, and first the tables above it where they are not there.
    fn enter(&mut self, key: &[String], listed: bool) -> Taken<()> {
        let Some((last, parents)) = key.split_last() else { return Ok(()) };
        let mut table = &mut self.root;
        for (i, part) in parents.iter().enumerate() {
            if !table.contains_key(part) {
                self.implicit.insert(shown(&key[..=i]));
                table.insert(part.clone(), Node::Table(Table::new()));
            }
            table = match table.get_mut(part).and_then(below) {
                Some(below) => below,
                None => {
                    let text = format!("Key '{}' was already created as a hash.", shown(&key[..=i]));
                    return Err(Wrong { line: self.line, message: text });
                }
            };
        }
        self.context = parents.to_vec();
        if listed {
            match table.entry(last.clone()).or_insert_with(|| Node::Tables(Vec::new())) {
                Node::Tables(tables) => tables.push(Table::new()),
                _ => {
                    return self
                        .said(format!("Key '{}' was already created and cannot be used as an array.", shown(key)));
                }
            }
        } else {
            self.put(last, Node::Table(Table::new()))?;
        }
        self.context.push(last.clone());
        Ok(())
    }

    /// Puts a value under a key of the context.
    fn put(&mut self, name: &str, value: Node) -> Taken<()> {
        let mut path = self.context.clone();
        let mut table = &mut self.root;
        for (i, part) in self.context.iter().enumerate() {
            table = match table.get_mut(part).and_then(below) {
                Some(below) => below,
                None => {
                    let text = format!("Key '{}' has already been defined.", shown(&self.context[..=i]));
                    return Err(Wrong { line: self.line, message: text });
                }
            };
        }
        path.push(name.to_owned());
        let key = shown(&path);
        if let Some(old) = table.get_mut(name) {
            if !self.implicit.remove(&key) {
                return self.said(format!("Key '{key}' has already been defined."));
            }
            // An inline table was read into its place and taken from there.
            if let (Node::Table(old), Node::Table(new)) = (old, value)
                && old.is_empty()
            {
                *old = new;
            }
            return Ok(());
        }
        table.insert(name.to_owned(), value);
        Ok(())
    }
}

/// The table that a key leads to: of a list of tables the last.
fn below(node: &mut Node) -> Option<&mut Table> {
    match node {
        Node::Table(table) => Some(table),
        Node::Tables(tables) => tables.last_mut(),
        Node::Leaf(_) => None,
    }
}

fn walk<'t>(root: &'t mut Table, path: &[String]) -> Option<&'t mut Table> {
    path.iter().try_fold(root, |table, part| table.get_mut(part).and_then(below))
}

/// Whether each underscore stands between digits.
fn underscores_fit(text: &str) -> bool {
    let mut accept = false;
    for c in text.chars() {
        if c == '_' && !accept {
            return false;
        }
        accept = c.is_ascii_hexdigit();
    }
    accept
}
