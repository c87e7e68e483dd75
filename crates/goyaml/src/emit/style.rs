//! Which style a scalar is written in.

use crate::resolve::{Resolved, is_base60_float, resolve};

pub(super) fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// libyaml's idea of printable, as go-yaml v2 has it: no tab, nothing beyond the basic plane.
pub(super) fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

#[derive(Clone, Copy)]
pub(super) struct Chosen {
    pub(super) style: Style,
    /// Whether it fits on one line, so that a key need not be written with `?`.
    pub(super) simple: bool,
}

/// Chooses the style: go-yaml's encoder first, then libyaml's analysis; `tabs` are for v3 no reason against a literal.
pub(super) fn scalar_style(text: &str, tabs: bool) -> Chosen {
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
    let seen = analyze(text, tabs);
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

pub(super) struct Analysis {
    pub(super) plain: bool,
    pub(super) single: bool,
    pub(super) block: bool,
    pub(super) multiline: bool,
}

pub(super) fn analyze(text: &str, tabs: bool) -> Analysis {
    let (mut block_indicators, mut special, mut tabbed, mut line_breaks) = (false, false, false, false);
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
        if c == '\t' && tabs {
            tabbed = true;
        } else if !is_printable(c) {
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
    if space_break || special || tabbed {
        out.plain = false;
        out.single = false;
        out.block &= tabbed && !space_break && !special;
    }
    out
}
