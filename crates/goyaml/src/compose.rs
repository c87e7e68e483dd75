//! Events to a graph of nodes: one arena per document, aliases as references into it.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::error::Error;
use crate::parser::{Parser, What};
use crate::token::{Mark, Style};

/// Index of a node in its document.
pub(crate) type Id = u32;

#[derive(Debug)]
pub(crate) enum Content<'a> {
    Scalar { value: Cow<'a, str>, style: Style, implicit: bool },
    Sequence { items: Vec<Id> },
    Mapping { pairs: Vec<(Id, Id)> },
    Alias { name: &'a str, target: Id },
}

#[derive(Debug)]
pub(crate) struct Node<'a> {
    pub content: Content<'a>,
    pub tag: Option<Box<str>>,
    pub start: Mark,
    pub end: Mark,
}

impl Node<'_> {
    pub(crate) fn is_scalar(&self) -> bool {
        matches!(self.content, Content::Scalar { .. })
    }
}

/// One document; the root is the node `root`.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    pub nodes: Vec<Node<'a>>,
    pub root: Id,
}

pub(crate) struct Composer<'a> {
    parser: Parser<'a>,
}

enum Frame {
    Sequence(Id),
    Mapping(Id, Option<Id>),
}

impl<'a> Composer<'a> {
    pub(crate) fn new(text: &'a str) -> Result<Self, Error> {
        Ok(Composer { parser: Parser::new(text)? })
    }

    /// The next document, or `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Result<Option<Document<'a>>, Error> {
        match self.parser.next()?.what {
            What::StreamEnd => return Ok(None),
            What::DocumentStart => {}
            other => unreachable!("the grammar begins a document, not {other:?}"),
        }
        let mut nodes: Vec<Node<'a>> = Vec::new();
        let mut anchors: HashMap<&'a str, Id> = HashMap::new();
        let mut stack: Vec<Frame> = Vec::new();
        let mut root: Option<Id> = None;
        loop {
            let event = self.parser.next()?;
            let content = match event.what {
                What::DocumentEnd => {
                    let root = root.unwrap_or(0);
                    return Ok(Some(Document { nodes, root }));
                }
                What::StreamEnd | What::DocumentStart => unreachable!("the grammar ends documents"),
                What::SequenceEnd | What::MappingEnd => {
                    if let Some(Frame::Sequence(id) | Frame::Mapping(id, _)) = stack.pop()
                        && let Some(node) = nodes.get_mut(id as usize)
                    {
                        node.end = event.end;
                    }
                    continue;
                }
                What::Alias(name) => match anchors.get(name) {
                    Some(&target) => Content::Alias { name, target },
                    None => {
                        return Err(Error::at(
                            format!("unknown anchor '{name}' referenced"),
                            0,
                            event.start.line + 1,
                            event.start.column + 1,
                        ));
                    }
                },
                What::Scalar { value, style, implicit } => Content::Scalar { value, style, implicit },
                What::SequenceStart => Content::Sequence { items: Vec::new() },
                What::MappingStart => Content::Mapping { pairs: Vec::new() },
            };
            let id = nodes.len() as Id;
            let open = match &content {
                Content::Sequence { .. } => Some(Frame::Sequence(id)),
                Content::Mapping { .. } => Some(Frame::Mapping(id, None)),
                _ => None,
            };
            if let Some(anchor) = event.anchor {
                anchors.insert(anchor, id);
            }
            nodes.push(Node {
                content,
                tag: event.tag.map(String::into_boxed_str),
                start: event.start,
                end: event.end,
            });
            match stack.last_mut() {
                None => root = Some(id),
                Some(Frame::Sequence(parent)) => {
                    if let Content::Sequence { items } = &mut nodes[*parent as usize].content {
                        items.push(id);
                    }
                }
                Some(Frame::Mapping(parent, pending)) => match pending.take() {
                    None => *pending = Some(id),
                    Some(key) => {
                        if let Content::Mapping { pairs } = &mut nodes[*parent as usize].content {
                            pairs.push((key, id));
                        }
                    }
                },
            }
            stack.extend(open);
        }
    }
}
