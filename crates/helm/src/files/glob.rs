//! Patterns of `.Files.Glob`, as gobwas/glob has them with `/` as separator.
//!
//! `*` any but the separator, `**` anything, `?` one but the separator, `[a-z]`, `[!a]`, `{a,b}`, `\` escapes.

#[derive(Debug, Clone)]
enum Part {
    Char(char),
    Any,
    Super,
    One,
    Class { not: bool, ranges: Vec<(char, char)> },
    Alternatives(Vec<Vec<Part>>),
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Glob {
    parts: Vec<Part>,
}

/// Steps that one match may take: a bound against patterns that backtrack without end.
const MAX_STEPS: usize = 200_000;

impl Glob {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// Brackets or braces without an end.
    pub fn parse(pattern: &str) -> Result<Glob, String> {
        let chars: Vec<char> = pattern.chars().collect();
        let mut at = 0;
        let parts = parse_parts(&chars, &mut at, 0)?;
        Ok(Glob { parts })
    }

    /// Whether a path matches as a whole.
    pub fn matches(&self, path: &str) -> bool {
        let chars: Vec<char> = path.chars().collect();
        let mut steps = 0;
        let parts: Vec<&Part> = self.parts.iter().collect();
        matches(&parts, &chars, &mut steps)
    }
}

fn parse_parts(chars: &[char], at: &mut usize, depth: usize) -> Result<Vec<Part>, String> {
    if depth > 20 {
        return Err("pattern is nested too deep".to_owned());
    }
    let mut parts = Vec::new();
    while let Some(&c) = chars.get(*at) {
        match c {
            '*' => {
                *at += 1;
                if chars.get(*at) == Some(&'*') {
                    *at += 1;
                    parts.push(Part::Super);
                } else {
                    parts.push(Part::Any);
                }
                continue;
            }
            '?' => parts.push(Part::One),
            '\\' => {
                *at += 1;
                parts.push(Part::Char(*chars.get(*at).ok_or("trailing backslash")?));
            }
            '[' => {
                *at += 1;
                let not = chars.get(*at) == Some(&'!');
                if not {
                    *at += 1;
                }
                let mut ranges = Vec::new();
                loop {
                    let mut from = *chars.get(*at).ok_or("unexpected end of input")?;
                    if from == ']' && !ranges.is_empty() {
                        break;
                    }
                    if from == '\\' {
                        *at += 1;
                        from = *chars.get(*at).ok_or("unexpected end of input")?;
                    }
                    *at += 1;
                    if chars.get(*at) == Some(&'-') && chars.get(*at + 1).is_some_and(|c| *c != ']') {
                        let to = chars[*at + 1];
                        *at += 2;
                        ranges.push((from, to));
                    } else {
                        ranges.push((from, from));
                    }
                }
                parts.push(Part::Class { not, ranges });
            }
            '{' => {
                *at += 1;
                let mut alternatives = Vec::new();
                loop {
                    alternatives.push(parse_parts(chars, at, depth + 1)?);
                    match chars.get(*at) {
                        Some(',') => *at += 1,
                        Some('}') => break,
                        _ => return Err("unexpected end of input".to_owned()),
                    }
                }
                parts.push(Part::Alternatives(alternatives));
            }
            ',' | '}' if depth > 0 => return Ok(parts),
            c => parts.push(Part::Char(c)),
        }
        *at += 1;
    }
    if depth > 0 { Err("unexpected end of input".to_owned()) } else { Ok(parts) }
}

fn matches(parts: &[&Part], text: &[char], steps: &mut usize) -> bool {
    *steps += 1;
    if *steps > MAX_STEPS {
        return false;
    }
    let Some((part, rest)) = parts.split_first() else { return text.is_empty() };
    match part {
        Part::Char(c) => text.first() == Some(c) && matches(rest, &text[1..], steps),
        Part::One => text.first().is_some_and(|c| *c != '/') && matches(rest, &text[1..], steps),
        Part::Class { not, ranges } => {
            text.first().is_some_and(|c| ranges.iter().any(|(a, b)| a <= c && c <= b) != *not)
                && matches(rest, &text[1..], steps)
        }
        Part::Any | Part::Super => {
            let end = if let Part::Any = part {
                text.iter().position(|c| *c == '/').unwrap_or(text.len())
            } else {
                text.len()
            };
            (0..=end).any(|n| matches(rest, &text[n..], steps))
        }
        Part::Alternatives(alternatives) => alternatives.iter().any(|alternative| {
            let joined: Vec<&Part> = alternative.iter().chain(rest.iter().copied()).collect();
            matches(&joined, text, steps)
        }),
    }
}
