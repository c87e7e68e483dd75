//! A job's log as HTML: time stamps, GitHub's `##[...]` commands, ANSI colours. Pure.

use maud::{Markup, PreEscaped, html};

/// The lines of a piece of log.
pub(crate) fn lines(text: &str) -> Markup {
    html! { @for line in text.lines() { (one(line)) } }
}

fn one(line: &str) -> Markup {
    let (stamp, rest) = stamped(line);
    let (class, rest) = command(rest);
    html! {
        div class=(format!("l {class}")) {
            @if let Some(stamp) = stamp { span.t { (stamp) } }
            span.x { (PreEscaped(ansi(rest))) }
        }
    }
}

/// Splits `2026-11-23T02:52:38.1234567Z text` into the time of day and the text.
fn stamped(line: &str) -> (Option<&str>, &str) {
    let is_stamp = |word: &str| {
        word.len() >= 20 && word.ends_with('Z') && word.as_bytes().get(10) == Some(&b'T') && word.starts_with("20")
    };
    match line.split_once(' ') {
        Some((word, rest)) if is_stamp(word) => (word.get(11..19), rest),
        None if is_stamp(line) => (line.get(11..19), ""),
        _ => (None, line),
    }
}

/// Splits `##[error]text` and its kin into a class and the text.
fn command(text: &str) -> (&'static str, &str) {
    for (prefix, class) in [
        ("##[error]", "error"),
        ("##[warning]", "warning"),
        ("##[notice]", "notice"),
        ("##[debug]", "debug"),
        ("##[group]", "group"),
        ("##[section]", "group"),
        ("##[command]", "command"),
        ("##[endgroup]", "endgroup"),
    ] {
        if let Some(rest) = text.strip_prefix(prefix) {
            return (class, rest);
        }
    }
    ("", text)
}

/// Text with SGR sequences as spans with classes; every other escape sequence is dropped. The result is safe HTML.
pub(crate) fn ansi(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut style = Style::default();
    let mut open = false;
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        escape(&rest[..at], &mut out);
        rest = &rest[at + 1..];
        let Some(body) = rest.strip_prefix('[') else { continue };
        let Some(end) = body.find(|c: char| ('@'..='~').contains(&c)) else {
            rest = "";
            break;
        };
        if body[end..].starts_with('m') {
            style.apply(&body[..end]);
            if open {
                out.push_str("</span>");
            }
            open = style != Style::default();
            if open {
                out.push_str(&format!("<span class=\"{}\">", style.classes()));
            }
        }
        rest = &body[end + 1..];
    }
    escape(rest, &mut out);
    if open {
        out.push_str("</span>");
    }
    out
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' => out.push('\t'),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
}

#[derive(Default, PartialEq, Clone, Copy)]
struct Style {
    bold: bool,
    dim: bool,
    /// 1 to 16: the eight colours and their bright kin.
    colour: u8,
}

impl Style {
    fn apply(&mut self, parameters: &str) {
        let mut numbers = parameters.split(';').map(|text| text.parse::<u16>().unwrap_or(0));
        while let Some(number) = numbers.next() {
            match number {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                22 => (self.bold, self.dim) = (false, false),
                30..=37 => self.colour = (number - 29) as u8,
                90..=97 => self.colour = (number - 81) as u8,
                39 => self.colour = 0,
                // Extended colours: the sixteen first keep their classes, others are left plain.
                38 => match numbers.next() {
                    Some(5) => self.colour = numbers.next().filter(|n| *n < 16).map_or(0, |n| n as u8 + 1),
                    Some(2) => {
                        let _ = numbers.by_ref().take(3).count();
                        self.colour = 0;
                    }
                    _ => {}
                },
                48 => match numbers.next() {
                    Some(5) => {
                        let _ = numbers.next();
                    }
                    Some(2) => {
                        let _ = numbers.by_ref().take(3).count();
                    }
                    _ => {}
                },
                _ => {}
            }
        }
    }

    fn classes(self) -> String {
        let mut classes = Vec::new();
        if self.bold {
            classes.push("b".to_owned());
        }
        if self.dim {
            classes.push("dim".to_owned());
        }
        if self.colour > 0 {
            classes.push(format!("c{}", self.colour));
        }
        classes.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn colours_become_classes() {
        for (text, expected) in [
            ("plain <b>", "plain &lt;b&gt;"),
            ("\u{1b}[31mred\u{1b}[0m after", "<span class=\"c2\">red</span> after"),
            ("\u{1b}[1;32mok", "<span class=\"b c3\">ok</span>"),
            ("\u{1b}[38;5;9mx\u{1b}[39my", "<span class=\"c10\">x</span>y"),
            ("\u{1b}[38;2;1;2;3mx", "x"),
            ("\u{1b}[2K\u{1b}[1Gx\u{1b}", "x"),
            ("a\u{1b}[31", "a"),
        ] {
            assert_eq!(ansi(text), expected, "{text:?}");
        }
    }

    #[test]
    fn stamps_and_commands() {
        assert_eq!(stamped("2026-11-23T02:52:38.1234567Z hello"), (Some("02:52:38"), "hello"));
        assert_eq!(stamped("hello there"), (None, "hello there"));
        assert_eq!(command("##[error]no"), ("error", "no"));
        assert_eq!(command("no"), ("", "no"));
    }

    proptest! {
        #[test]
        fn nothing_escapes(text in "\\PC{0,40}(\u{1b}\\[[0-9;]{0,6}[a-zA-Z]?)?[<>&\"]{0,5}\\PC{0,40}") {
            let html = ansi(&text);
            let without = html.replace("</span>", "");
            prop_assert!(without.split("<span class=\"").skip(1).all(|part| part.contains("\">")));
            prop_assert_eq!(without.matches('<').count(), without.matches("<span class=\"").count());
        }
    }
}
