//! Tokens to events: libyaml's grammar as a state machine, so that nesting costs heap and not stack.

use std::borrow::Cow;

use crate::error::Error;
use crate::scanner::Scanner;
use crate::token::{Kind, Mark, Style, Token};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    StreamStart,
    ImplicitDocumentStart,
    DocumentStart,
    DocumentContent,
    DocumentEnd,
    BlockNode,
    BlockSequenceFirst,
    BlockSequence,
    IndentlessSequence,
    BlockMappingFirst,
    BlockMappingKey,
    BlockMappingValue,
    FlowSequenceFirst,
    FlowSequence,
    FlowSequencePairKey,
    FlowSequencePairValue,
    FlowSequencePairEnd,
    FlowMappingFirst,
    FlowMappingKey,
    FlowMappingValue,
    FlowMappingEmptyValue,
    End,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What<'a> {
    DocumentStart,
    DocumentEnd,
    StreamEnd,
    Alias(&'a str),
    Scalar { value: Cow<'a, str>, style: Style, implicit: bool },
    SequenceStart,
    SequenceEnd,
    MappingStart,
    MappingEnd,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event<'a> {
    pub what: What<'a>,
    pub anchor: Option<&'a str>,
    pub tag: Option<String>,
    pub start: Mark,
    pub end: Mark,
}

pub(crate) struct Parser<'a> {
    scanner: Scanner<'a>,
    state: State,
    states: Vec<State>,
    tags: Vec<(String, String)>,
}

fn event<'a>(what: What<'a>, start: Mark, end: Mark) -> Event<'a> {
    Event { what, anchor: None, tag: None, start, end }
}

fn empty_scalar<'a>(mark: Mark) -> Event<'a> {
    event(What::Scalar { value: Cow::Borrowed(""), style: Style::Plain, implicit: true }, mark, mark)
}

fn problem<T>(text: &str, context: Mark, at: Mark) -> Result<T, Error> {
    // go-yaml gives parser errors with libyaml's line, counted from 0.
    let shown = if at.line != 0 { at.line } else { context.line };
    Err(Error::at(text, shown, at.line + 1, at.column + 1))
}

impl<'a> Parser<'a> {
    pub(crate) fn new(text: &'a str) -> Result<Self, Error> {
        Ok(Parser { scanner: Scanner::new(text)?, state: State::StreamStart, states: Vec::new(), tags: Vec::new() })
    }

    fn peek(&mut self) -> Result<&Token<'a>, Error> {
        self.scanner.peek_token()
    }

    fn take(&mut self) -> Result<Token<'a>, Error> {
        self.scanner.next_token()
    }

    fn pop(&mut self) -> State {
        self.states.pop().unwrap_or(State::End)
    }

    pub(crate) fn next(&mut self) -> Result<Event<'a>, Error> {
        match self.state {
            State::StreamStart => {
                self.take()?;
                self.state = State::ImplicitDocumentStart;
                self.document_start(true)
            }
            State::ImplicitDocumentStart => self.document_start(true),
            State::DocumentStart => self.document_start(false),
            State::DocumentContent => {
                let token = self.peek()?;
                if matches!(
                    token.kind,
                    Kind::VersionDirective
                        | Kind::TagDirective(..)
                        | Kind::DocumentStart
                        | Kind::DocumentEnd
                        | Kind::StreamEnd
                ) {
                    let mark = token.start;
                    self.state = self.pop();
                    return Ok(empty_scalar(mark));
                }
                self.node(true, false)
            }
            State::DocumentEnd => {
                let token = self.peek()?;
                let (start, mut end) = (token.start, token.start);
                if token.kind == Kind::DocumentEnd {
                    end = token.end;
                    self.take()?;
                }
                self.tags.clear();
                self.state = State::DocumentStart;
                Ok(event(What::DocumentEnd, start, end))
            }
            State::BlockNode => self.node(true, false),
            State::BlockSequenceFirst => {
                self.take()?;
                self.block_sequence()
            }
            State::BlockSequence => self.block_sequence(),
            State::IndentlessSequence => self.indentless_sequence(),
            State::BlockMappingFirst => {
                self.take()?;
                self.block_mapping_key()
            }
            State::BlockMappingKey => self.block_mapping_key(),
            State::BlockMappingValue => self.block_mapping_value(),
            State::FlowSequenceFirst => {
                self.take()?;
                self.flow_sequence(true)
            }
            State::FlowSequence => self.flow_sequence(false),
            State::FlowSequencePairKey => {
                let token = self.peek()?;
                if !matches!(token.kind, Kind::Value | Kind::FlowEntry | Kind::FlowSequenceEnd) {
                    self.states.push(State::FlowSequencePairValue);
                    return self.node(false, false);
                }
                // go-yaml passes over the token here, so that a value without a key in brackets is no value.
                let mark = token.end;
                self.take()?;
                self.state = State::FlowSequencePairValue;
                Ok(empty_scalar(mark))
            }
            State::FlowSequencePairValue => {
                if self.peek()?.kind == Kind::Value {
                    self.take()?;
                    if !matches!(self.peek()?.kind, Kind::FlowEntry | Kind::FlowSequenceEnd) {
                        self.states.push(State::FlowSequencePairEnd);
                        return self.node(false, false);
                    }
                }
                let mark = self.peek()?.start;
                self.state = State::FlowSequencePairEnd;
                Ok(empty_scalar(mark))
            }
            State::FlowSequencePairEnd => {
                let mark = self.peek()?.start;
                self.state = State::FlowSequence;
                Ok(event(What::MappingEnd, mark, mark))
            }
            State::FlowMappingFirst => {
                self.take()?;
                self.flow_mapping_key(true)
            }
            State::FlowMappingKey => self.flow_mapping_key(false),
            State::FlowMappingValue => self.flow_mapping_value(false),
            State::FlowMappingEmptyValue => self.flow_mapping_value(true),
            State::End => {
                let mark = self.scanner.mark;
                Ok(event(What::StreamEnd, mark, mark))
            }
        }
    }

    fn document_start(&mut self, implicit: bool) -> Result<Event<'a>, Error> {
        if !implicit {
            while self.peek()?.kind == Kind::DocumentEnd {
                self.take()?;
            }
        }
        let token = self.peek()?;
        let start = token.start;
        let special = matches!(
            token.kind,
            Kind::VersionDirective | Kind::TagDirective(..) | Kind::DocumentStart | Kind::StreamEnd
        );
        if implicit && !special {
            self.tags.clear();
            self.states.push(State::DocumentEnd);
            self.state = State::BlockNode;
            return Ok(event(What::DocumentStart, start, start));
        }
        if token.kind == Kind::StreamEnd {
            self.state = State::End;
            return Ok(event(What::StreamEnd, start, start));
        }
        self.directives()?;
        let token = self.peek()?;
        if token.kind != Kind::DocumentStart {
            let at = token.start;
            return problem("did not find expected <document start>", Mark::default(), at);
        }
        self.states.push(State::DocumentEnd);
        self.state = State::DocumentContent;
        let end = self.take()?.end;
        Ok(event(What::DocumentStart, start, end))
    }

    fn directives(&mut self) -> Result<(), Error> {
        self.tags.clear();
        let mut version = false;
        loop {
            let token = self.peek()?;
            let at = token.start;
            match &token.kind {
                Kind::VersionDirective => {
                    if version {
                        return problem("found duplicate %YAML directive", Mark::default(), at);
                    }
                    version = true;
                }
                Kind::TagDirective(handle, prefix) => {
                    let pair = (handle.clone(), prefix.clone());
                    if self.tags.iter().any(|(h, _)| *h == pair.0) {
                        return problem("found duplicate %TAG directive", Mark::default(), at);
                    }
                    self.tags.push(pair);
                }
                _ => return Ok(()),
            }
            self.take()?;
        }
    }

    fn resolve_tag(&self, handle: String, suffix: String, start: Mark, at: Mark) -> Result<String, Error> {
        if handle.is_empty() {
            return Ok(suffix);
        }
        if let Some((_, prefix)) = self.tags.iter().find(|(h, _)| *h == handle) {
            return Ok(format!("{prefix}{suffix}"));
        }
        match handle.as_str() {
            "!" => Ok(format!("!{suffix}")),
            "!!" => Ok(format!("tag:yaml.org,2002:{suffix}")),
            _ => problem("found undefined tag handle", start, at),
        }
    }

    fn node(&mut self, block: bool, indentless: bool) -> Result<Event<'a>, Error> {
        let token = self.peek()?;
        let start = token.start;
        if let Kind::Alias(name) = token.kind {
            let end = token.end;
            self.take()?;
            self.state = self.pop();
            return Ok(event(What::Alias(name), start, end));
        }
        let mut anchor = None;
        let mut tag: Option<String> = None;
        let mut properties_end = start;
        loop {
            let token = self.peek()?;
            match &token.kind {
                Kind::Anchor(name) if anchor.is_none() => {
                    anchor = Some(*name);
                    properties_end = token.end;
                    self.take()?;
                }
                Kind::Tag(..) if tag.is_none() => {
                    properties_end = token.end;
                    let Token { kind: Kind::Tag(handle, suffix), start: at, .. } = self.take()? else {
                        unreachable!("the peeked token is taken")
                    };
                    tag = Some(self.resolve_tag(handle, suffix, start, at)?);
                }
                _ => break,
            }
        }
        if tag.as_deref() == Some("") {
            tag = None;
        }
        let token = self.peek()?;
        let end = token.end;
        let (at, what) = match &token.kind {
            Kind::BlockEntry if indentless => {
                self.state = State::IndentlessSequence;
                return Ok(Event { what: What::SequenceStart, anchor, tag, start, end });
            }
            Kind::Scalar(..) => {
                let Token { kind: Kind::Scalar(value, style), .. } = self.take()? else {
                    unreachable!("the peeked token is taken")
                };
                let mut implicit = false;
                if (tag.is_none() && style == Style::Plain) || tag.as_deref() == Some("!") {
                    implicit = true;
                    tag = None;
                }
                self.state = self.pop();
                return Ok(Event { what: What::Scalar { value, style, implicit }, anchor, tag, start, end });
            }
            Kind::FlowSequenceStart => (State::FlowSequenceFirst, What::SequenceStart),
            Kind::FlowMappingStart => (State::FlowMappingFirst, What::MappingStart),
            Kind::BlockSequenceStart if block => (State::BlockSequenceFirst, What::SequenceStart),
            Kind::BlockMappingStart if block => (State::BlockMappingFirst, What::MappingStart),
            _ if anchor.is_some() || tag.is_some() => {
                self.state = self.pop();
                let implicit = tag.is_none();
                let what = What::Scalar { value: Cow::Borrowed(""), style: Style::Plain, implicit };
                return Ok(Event { what, anchor, tag, start, end: properties_end });
            }
            _ => {
                let at = token.start;
                return problem("did not find expected node content", start, at);
            }
        };
        self.state = at;
        Ok(Event { what, anchor, tag, start, end })
    }

    fn block_sequence(&mut self) -> Result<Event<'a>, Error> {
        let token = self.peek()?;
        let (start, end) = (token.start, token.end);
        match token.kind {
            Kind::BlockEntry => {
                self.take()?;
                if !matches!(self.peek()?.kind, Kind::BlockEntry | Kind::BlockEnd) {
                    self.states.push(State::BlockSequence);
                    return self.node(true, false);
                }
                self.state = State::BlockSequence;
                Ok(empty_scalar(end))
            }
            Kind::BlockEnd => {
                self.take()?;
                self.state = self.pop();
                Ok(event(What::SequenceEnd, start, end))
            }
            _ => problem("did not find expected '-' indicator", start, start),
        }
    }

    fn indentless_sequence(&mut self) -> Result<Event<'a>, Error> {
        let token = self.peek()?;
        let (start, end) = (token.start, token.end);
        if token.kind == Kind::BlockEntry {
            self.take()?;
            if !matches!(self.peek()?.kind, Kind::BlockEntry | Kind::Key | Kind::Value | Kind::BlockEnd) {
                self.states.push(State::IndentlessSequence);
                return self.node(true, false);
            }
            self.state = State::IndentlessSequence;
            return Ok(empty_scalar(end));
        }
        self.state = self.pop();
        Ok(event(What::SequenceEnd, start, start))
    }

    fn block_mapping_key(&mut self) -> Result<Event<'a>, Error> {
        let token = self.peek()?;
        let (start, end) = (token.start, token.end);
        match token.kind {
            Kind::Key => {
                self.take()?;
                if !matches!(self.peek()?.kind, Kind::Key | Kind::Value | Kind::BlockEnd) {
                    self.states.push(State::BlockMappingValue);
                    return self.node(true, true);
                }
                self.state = State::BlockMappingValue;
                Ok(empty_scalar(end))
            }
            Kind::BlockEnd => {
                self.take()?;
                self.state = self.pop();
                Ok(event(What::MappingEnd, start, end))
            }
            _ => problem("did not find expected key", start, start),
        }
    }

    fn block_mapping_value(&mut self) -> Result<Event<'a>, Error> {
        let token = self.peek()?;
        let (start, end) = (token.start, token.end);
        if token.kind == Kind::Value {
            self.take()?;
            if !matches!(self.peek()?.kind, Kind::Key | Kind::Value | Kind::BlockEnd) {
                self.states.push(State::BlockMappingKey);
                return self.node(true, true);
            }
            self.state = State::BlockMappingKey;
            return Ok(empty_scalar(end));
        }
        self.state = State::BlockMappingKey;
        Ok(empty_scalar(start))
    }

    fn flow_sequence(&mut self, first: bool) -> Result<Event<'a>, Error> {
        let token = self.peek()?;
        if token.kind != Kind::FlowSequenceEnd {
            if !first {
                if token.kind != Kind::FlowEntry {
                    let at = token.start;
                    return problem("did not find expected ',' or ']'", at, at);
                }
                self.take()?;
            }
            let token = self.peek()?;
            let (start, end) = (token.start, token.end);
            match token.kind {
                Kind::Key => {
                    self.take()?;
                    self.state = State::FlowSequencePairKey;
                    return Ok(event(What::MappingStart, start, end));
                }
                Kind::FlowSequenceEnd => {}
                _ => {
                    self.states.push(State::FlowSequence);
                    return self.node(false, false);
                }
            }
        }
        let token = self.take()?;
        self.state = self.pop();
        Ok(event(What::SequenceEnd, token.start, token.end))
    }

    fn flow_mapping_key(&mut self, first: bool) -> Result<Event<'a>, Error> {
        let token = self.peek()?;
        if token.kind != Kind::FlowMappingEnd {
            if !first {
                if token.kind != Kind::FlowEntry {
                    let at = token.start;
                    return problem("did not find expected ',' or '}'", at, at);
                }
                self.take()?;
            }
            match self.peek()?.kind {
                Kind::Key => {
                    self.take()?;
                    let token = self.peek()?;
                    if !matches!(token.kind, Kind::Value | Kind::FlowEntry | Kind::FlowMappingEnd) {
                        self.states.push(State::FlowMappingValue);
                        return self.node(false, false);
                    }
                    let mark = token.start;
                    self.state = State::FlowMappingValue;
                    return Ok(empty_scalar(mark));
                }
                Kind::FlowMappingEnd => {}
                _ => {
                    self.states.push(State::FlowMappingEmptyValue);
                    return self.node(false, false);
                }
            }
        }
        let token = self.take()?;
        self.state = self.pop();
        Ok(event(What::MappingEnd, token.start, token.end))
    }

    fn flow_mapping_value(&mut self, empty: bool) -> Result<Event<'a>, Error> {
        let mark = self.peek()?.start;
        if !empty && self.peek()?.kind == Kind::Value {
            self.take()?;
            if !matches!(self.peek()?.kind, Kind::FlowEntry | Kind::FlowMappingEnd) {
                self.states.push(State::FlowMappingKey);
                return self.node(false, false);
            }
        }
        self.state = State::FlowMappingKey;
        Ok(empty_scalar(mark))
    }
}
