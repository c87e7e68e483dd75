//! A document written anew, as go-yaml v3 writes the tree that it has read: the style of each scalar, the order of keys and
//! comments stay; indentation, blank lines and the breaks inside of plain scalars do not.
//!
//! Only forms whose result is certain are taken: comments that stand on lines of their own before a key or an item, and those
//! after a scalar, a key or brackets. For others, for anchors and for tags [`Anew::read`] gives `None`.

use super::style::{Chosen, Style as Form, analyze};
use super::{Emitter, Level, Pending};
use crate::compose::{Composer, Content, Document, Id};
use crate::token::{Mark, Style};

/// A node with what is kept of its form.
#[derive(Debug, Clone, PartialEq)]
pub enum Anew {
    /// A scalar: its text, how it was written, and the comment after it.
    Scalar(String, Style, Option<String>),
    /// A sequence; `true` in brackets. Each item has the comments before it.
    Sequence(bool, Vec<(Vec<String>, Anew)>),
    /// A mapping; `true` in braces.
    Mapping(bool, Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The lines of comments before it.
    pub comments: Vec<String>,
    /// The key.
    pub key: String,
    /// How the key was written.
    pub style: Style,
    /// The value.
    pub value: Anew,
    /// The comment on the line of the key of what stands below it, or on that of brackets.
    pub after: Option<String>,
}

impl Entry {
    /// An entry of a plain key without comments.
    pub fn new(key: &str, value: Anew) -> Entry {
        Entry { comments: Vec::new(), key: key.to_owned(), style: Style::Plain, value, after: None }
    }
}

impl Anew {
    /// Reads a text of one document, a mapping in block style; `None` for a form that is not taken, and for what is no YAML.
    pub fn read(text: &str) -> Option<Anew> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut composer = Composer::new(text).ok()?;
        let document = composer.next().ok()??;
        if composer.next().ok()?.is_some() {
            return None;
        }
        let mut reader = Reader { text, document: &document, comments: comments(text, &document)? };
        let mut root = reader.node(document.root, false)?;
        if let Anew::Mapping(false, entries) = &mut root
            && let Some(first) = entries.first_mut()
        {
            reader.above_all(first);
        }
        let whole = matches!(root, Anew::Mapping(false, _)) && reader.comments.iter().all(|comment| comment.taken);
        whole.then_some(root)
    }

    /// The entries of a mapping.
    pub fn entries(&mut self) -> Option<&mut Vec<Entry>> {
        match self {
            Anew::Mapping(_, entries) => Some(entries),
            _ => None,
        }
    }

    /// Whether it is a mapping with nothing in it, or `null`.
    pub fn is_nothing(&self) -> bool {
        match self {
            Anew::Mapping(_, entries) => entries.is_empty(),
            Anew::Scalar(text, Style::Plain, _) => matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"),
            _ => false,
        }
    }

    /// The text, ended by a line break.
    pub fn write(&self) -> String {
        let mut emitter = Emitter { straight: true, ..Emitter::new() };
        emitter.anew(self);
        emitter.finish()
    }
}

struct Comment<'a> {
    mark: Mark,
    text: &'a str,
    /// Whether nothing stands before it on its line.
    is_whole: bool,
    taken: bool,
}

/// Every comment of a document; `None` where one stands in a place that is not looked at.
fn comments<'a>(text: &'a str, document: &Document<'_>) -> Option<Vec<Comment<'a>>> {
    let mut scalars: Vec<(usize, usize)> = Vec::new();
    for node in &document.nodes {
        if let Content::Scalar { style, .. } = &node.content {
            let header = text.get(node.start.index..)?.lines().next()?;
            if matches!(style, Style::Literal | Style::Folded) && header.contains('#') {
                return None;
            }
            scalars.push((node.start.index, node.end.index));
        }
    }
    scalars.sort_unstable();
    let mut scalars = scalars.into_iter().peekable();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 0);
    for whole in text.split_inclusive('\n') {
        let mut from = at;
        loop {
            while scalars.next_if(|(_, end)| *end <= from).is_some() {}
            let stop = scalars.peek().map_or(at + whole.len(), |(start, _)| (*start).min(at + whole.len()));
            if from < stop
                && let Some(sign) = text.get(from..stop)?.find('#')
            {
                let index = from + sign;
                let before = text.get(at..index)?;
                let mark = Mark { index, line, column: before.chars().count() };
                let comment = text.get(index..at + whole.len())?.trim_end();
                found.push(Comment { mark, text: comment, is_whole: before.trim().is_empty(), taken: false });
                break;
            }
            match scalars.peek() {
                Some((_, end)) if *end < at + whole.len() => from = *end,
                _ => break,
            }
        }
        at += whole.len();
        line += 1;
    }
    Some(found)
}

struct Reader<'d, 'a> {
    text: &'a str,
    document: &'d Document<'a>,
    comments: Vec<Comment<'a>>,
}

impl Reader<'_, '_> {
    /// The column of the first sign on a line.
    fn first_column(&self, line: usize) -> Option<usize> {
        let line = self.text.split('\n').nth(line)?;
        Some(line.len() - line.trim_start_matches(' ').len())
    }

    /// The comments that end on the line before `line`, where that begins in `column`.
    fn before(&mut self, line: usize, column: usize) -> Vec<String> {
        if self.first_column(line) != Some(column) {
            return Vec::new();
        }
        let mut wanted = line;
        let mut out = Vec::new();
        for comment in self.comments.iter_mut().rev() {
            let fits = comment.is_whole && !comment.taken && comment.mark.column == column;
            if fits && comment.mark.line + 1 == wanted {
                comment.taken = true;
                out.push(comment.text.to_owned());
                wanted -= 1;
            }
        }
        out.reverse();
        out
    }

    /// Takes the comments at the start of the document that a blank line parts from its first key.
    fn above_all(&mut self, first: &mut Entry) {
        let lines: Vec<&str> = self.text.split('\n').take_while(|line| line.starts_with('#')).collect();
        let blank = self.text.split('\n').nth(lines.len()).is_some_and(|line| line.trim().is_empty());
        let own =
            self.comments.iter().filter(|comment| !comment.taken).take_while(|c| c.mark.line < lines.len()).count();
        if lines.is_empty() || !blank || own != lines.len() || !first.comments.is_empty() {
            return;
        }
        for (comment, line) in self.comments.iter_mut().zip(lines) {
            comment.taken = true;
            first.comments.push(line.trim_end().to_owned());
        }
        first.comments.push(String::new());
    }

    /// The comment after a scalar that ends on a line.
    fn after(&mut self, end: Mark) -> Option<String> {
        let comment = self.comments.iter_mut().find(|c| c.mark.line == end.line && c.mark.index >= end.index)?;
        let free = !comment.is_whole && !comment.taken;
        comment.taken |= free;
        free.then(|| comment.text.to_owned())
    }

    fn node(&mut self, id: Id, in_flow: bool) -> Option<Anew> {
        let document = self.document;
        let node = document.nodes.get(id as usize)?;
        let first = self.text.as_bytes().get(node.start.index).copied();
        if node.tag.is_some() || matches!(first, Some(b'&' | b'!')) && !self.is_quoted(id) {
            return None;
        }
        match &node.content {
            Content::Alias { .. } => None,
            Content::Scalar { style: Style::Folded, .. } => None,
            Content::Scalar { value, style, .. } => {
                let ends_line = matches!(style, Style::Plain | Style::SingleQuoted | Style::DoubleQuoted);
                let single = node.start.line == node.end.line;
                let is_empty = value.is_empty() && *style == Style::Plain;
                if in_flow && is_empty {
                    return None;
                }
                let comment = if ends_line && single && !in_flow && !is_empty { self.after(node.end) } else { None };
                Some(Anew::Scalar(value.to_string(), *style, comment))
            }
            Content::Sequence { items } => {
                let flow = first == Some(b'[');
                if in_flow && !flow {
                    return None;
                }
                let mut out = Vec::with_capacity(items.len());
                for &item in items {
                    let start = document.nodes.get(item as usize)?.start;
                    let dash = self.first_column(start.line)?;
                    let has_dash = !flow && self.line_begins_with_dash(start.line);
                    let above = if has_dash { self.before(start.line, dash) } else { Vec::new() };
                    out.push((above, self.node(item, flow)?));
                }
                Some(Anew::Sequence(flow, out))
            }
            Content::Mapping { pairs } => {
                let flow = first == Some(b'{');
                if in_flow && !flow {
                    return None;
                }
                let mut out = Vec::with_capacity(pairs.len());
                for &(key, value) in pairs {
                    let node = document.nodes.get(key as usize)?;
                    let Content::Scalar { value: name, style, .. } = &node.content else { return None };
                    let simple = node.tag.is_none() && node.start.line == node.end.line && name.len() <= 128;
                    let quoted = matches!(style, Style::SingleQuoted | Style::DoubleQuoted);
                    let sign = self.text.as_bytes().get(node.start.index).copied();
                    let named = !name.is_empty() && *style != Style::Literal && *style != Style::Folded;
                    if !simple || !named || !quoted && matches!(sign, Some(b'&' | b'!' | b'?')) || name == "<<" {
                        return None;
                    }
                    let above = if flow { Vec::new() } else { self.before(node.start.line, node.start.column) };
                    let below = document.nodes.get(value as usize)?;
                    let value = self.node(value, flow)?;
                    let after = match &value {
                        Anew::Scalar(..) => None,
                        _ if flow => None,
                        Anew::Sequence(true, _) | Anew::Mapping(true, _) if below.start.line != below.end.line => None,
                        Anew::Sequence(true, _) | Anew::Mapping(true, _) => self.after(below.end),
                        _ => self.after(node.end),
                    };
                    out.push(Entry { comments: above, key: name.to_string(), style: *style, value, after });
                }
                Some(Anew::Mapping(flow, out))
            }
        }
    }

    fn is_quoted(&self, id: Id) -> bool {
        let quoted = |style: &Style| matches!(style, Style::SingleQuoted | Style::DoubleQuoted);
        self.document
            .nodes
            .get(id as usize)
            .is_some_and(|node| matches!(&node.content, Content::Scalar { style, .. } if quoted(style)))
    }

    fn line_begins_with_dash(&self, line: usize) -> bool {
        self.text.split('\n').nth(line).is_some_and(|line| line.trim_start_matches(' ').starts_with('-'))
    }
}

/// The form that libyaml takes for a text whose style is wished.
fn form(text: &str, wanted: Style, flow: bool, key: bool) -> Chosen {
    let seen = analyze(text, true);
    let open = !flow || !text.contains([',', '?', '[', ']', '{', '}', ':']);
    let plain = seen.plain && open && !(text.is_empty() && (flow || key));
    let style = match wanted {
        Style::Plain if plain => Form::Plain,
        Style::Plain | Style::SingleQuoted if seen.single => Form::Single,
        Style::Literal | Style::Folded if seen.block && !flow && !key => Form::Literal,
        _ => Form::Double,
    };
    Chosen { style, simple: !seen.multiline }
}

impl Emitter {
    fn anew(&mut self, node: &Anew) {
        match node {
            Anew::Scalar(text, style, comment) => {
                let is_empty = text.is_empty() && *style == Style::Plain;
                self.before_value(!is_empty);
                if !is_empty {
                    self.scalar(text, form(text, *style, false, false));
                }
                if let Some(comment) = comment {
                    self.push_text(" ");
                    self.push_text(comment);
                }
                self.end_line();
                self.pending = Pending::None;
            }
            Anew::Sequence(false, items) if !items.is_empty() => {
                self.begin_sequence(items.len());
                for (comments, item) in items {
                    self.comments(comments);
                    self.anew(item);
                }
                self.end();
            }
            Anew::Mapping(false, entries) if !entries.is_empty() => {
                self.begin_mapping(entries.len());
                for entry in entries {
                    self.comments(&entry.comments);
                    self.key_as(&entry.key, form(&entry.key, entry.style, false, true));
                    let inline = matches!(&entry.value, Anew::Sequence(flow, items) if *flow || items.is_empty())
                        || matches!(&entry.value, Anew::Mapping(flow, items) if *flow || items.is_empty());
                    match &entry.after {
                        Some(comment) if inline => {
                            self.before_value(true);
                            self.flow(&entry.value);
                            self.push_text(" ");
                            self.push_text(comment);
                            self.newline();
                            self.pending = Pending::None;
                        }
                        Some(comment) => {
                            self.push_text(" ");
                            self.push_text(comment);
                            self.anew(&entry.value);
                        }
                        None => self.anew(&entry.value),
                    }
                }
                self.end();
            }
            node => {
                self.before_value(true);
                self.flow(node);
                self.newline();
                self.pending = Pending::None;
            }
        }
    }

    fn comments(&mut self, lines: &[String]) {
        let at = match self.levels.last() {
            Some(Level::Mapping(at) | Level::Sequence(at)) => *at,
            None => 0,
        };
        for line in lines {
            if !line.is_empty() {
                self.indent_to(at);
                self.push_text(line);
            }
            self.newline();
        }
    }

    /// Brackets and braces, on one line.
    fn flow(&mut self, node: &Anew) {
        match node {
            Anew::Scalar(text, style, _) => self.scalar(text, form(text, *style, true, false)),
            Anew::Sequence(_, items) => {
                self.push_text("[");
                for (i, (_, item)) in items.iter().enumerate() {
                    self.push_text(if i > 0 { ", " } else { "" });
                    self.flow(item);
                }
                self.push_text("]");
            }
            Anew::Mapping(_, entries) => {
                self.push_text("{");
                for (i, entry) in entries.iter().enumerate() {
                    self.push_text(if i > 0 { ", " } else { "" });
                    self.scalar(&entry.key, form(&entry.key, entry.style, true, true));
                    self.push_text(": ");
                    self.flow(&entry.value);
                }
                self.push_text("}");
            }
        }
    }
}
