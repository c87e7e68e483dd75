//! Workflow commands in a step's output (`::error file=a.rs,line=1::text`, and the older `##[group]text`), and the files
//! through which a step sets variables. Pure parsing; what a command does is the job's business.

/// A command that a line holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its name in lower case.
    pub name: String,
    /// Its properties in order.
    pub properties: Vec<(String, String)>,
    /// Its data.
    pub data: String,
}

impl Command {
    /// The value of a property, by name in any case.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Parses a line; none when it holds no command.
pub fn parse(line: &str) -> Option<Command> {
    let line = line.trim_start();
    if let Some(rest) = line.strip_prefix("::")
        && let Some(end) = rest.find("::")
        && let Some((name, properties)) = head(&rest[..end], &NEW)
    {
        return Some(Command { name, properties, data: unescape(&rest[end + 2..], &[]) });
    }
    let at = line.find("##[")?;
    let rest = &line[at + 3..];
    let end = rest.find(']')?;
    let (name, properties) = head(&rest[..end], &OLD)?;
    Some(Command { name, properties, data: unescape(&rest[end + 1..], OLD.escapes) })
}

/// One of the two ways to write commands.
struct Style {
    /// Between properties.
    separator: char,
    /// What stands for other characters in properties, beside what does so everywhere.
    escapes: &'static [(&'static str, &'static str)],
}

/// `::name key=value,key=value::data`.
const NEW: Style = Style { separator: ',', escapes: &[("%3A", ":"), ("%2C", ",")] };
/// `##[name key=value;key=value]data`.
const OLD: Style = Style { separator: ';', escapes: &[("%3B", ";"), ("%5D", "]")] };

fn head(text: &str, style: &Style) -> Option<(String, Vec<(String, String)>)> {
    let (name, rest) = match text.find(' ') {
        Some(at) => (&text[..at], text[at + 1..].trim()),
        None => (text, ""),
    };
    if name.is_empty() {
        return None;
    }
    let properties = rest
        .split(style.separator)
        .filter_map(|pair| pair.split_once('='))
        .filter(|(key, _)| !key.trim().is_empty())
        .map(|(key, value)| (key.trim().to_owned(), unescape(value, style.escapes)))
        .collect();
    Some((name.to_ascii_lowercase(), properties))
}

fn unescape(text: &str, more: &[(&str, &str)]) -> String {
    let mut out = text.replace("%0D", "\r").replace("%0A", "\n");
    for (escape, character) in more {
        out = out.replace(escape, character);
    }
    out.replace("%25", "%")
}

/// The entries of `GITHUB_ENV`, `GITHUB_OUTPUT` or `GITHUB_STATE`: `name=value`, or `name<<DELIMITER`, lines, `DELIMITER`.
pub fn parse_file(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut out = Vec::new();
    let mut lines = text.split_inclusive('\n');
    while let Some(line) = lines.next() {
        let line = trim_line(line);
        if line.is_empty() {
            continue;
        }
        let equals = line.find('=');
        let heredoc = line.find("<<");
        match (equals, heredoc) {
            (Some(at), here) if here.is_none_or(|here| at < here) => {
                if at == 0 {
                    return Err(format!("Invalid format '{line}'. Name must not be empty"));
                }
                out.push((line[..at].to_owned(), line[at + 1..].to_owned()));
            }
            (_, Some(at)) => {
                let (name, delimiter) = (&line[..at], &line[at + 2..]);
                if name.is_empty() || delimiter.is_empty() {
                    return Err(format!(
                        "Invalid format '{line}'. Name must not be empty and delimiter must not be empty"
                    ));
                }
                let mut value: Vec<&str> = Vec::new();
                loop {
                    let Some(next) = lines.next() else {
                        return Err(format!("Invalid value. Matching delimiter not found '{delimiter}'"));
                    };
                    if trim_line(next) == delimiter {
                        break;
                    }
                    value.push(next);
                }
                let joined = value.concat();
                out.push((name.to_owned(), trim_line(&joined).to_owned()));
            }
            _ => return Err(format!("Invalid format '{line}'")),
        }
    }
    Ok(out)
}

/// Carriage returns stay, as on GitHub's Linux runners.
fn trim_line(line: &str) -> &str {
    line.strip_suffix('\n').unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        let command = parse("::error file=app.js,line=1,title=Bad%3A%2C thing::it%0Afails %25").unwrap();
        assert_eq!(command.name, "error");
        assert_eq!(command.property("File"), Some("app.js"));
        assert_eq!(command.property("title"), Some("Bad:, thing"));
        assert_eq!(command.data, "it\nfails %");
        assert_eq!(parse("  ::add-mask::x::y").unwrap().data, "x::y");
        assert_eq!(parse("::endgroup::").unwrap().name, "endgroup");
        assert_eq!(parse("text ##[group]Title").unwrap().data, "Title");
        let old = parse("x ##[error file=a%3Bb%5D.js;line=3]it%0Afails").unwrap();
        assert_eq!((old.property("file"), old.property("line")), (Some("a;b].js"), Some("3")));
        // A token that stops commands may be of any characters.
        assert_eq!(parse("::a+b/c=::").unwrap().name, "a+b/c=");
        for none in ["plain", "::", "::not a command", "a ::error::x", "::::", "##[", ":: ::x"] {
            assert_eq!(parse(none), None, "{none}");
        }
    }

    #[test]
    fn files() {
        let text = "a=1\n\nb<<EOF\nline 1\nline=2\nEOF\nc=x=y\r\nd<<E\nE\ne==<<z\n";
        let pairs = parse_file(text).unwrap();
        let expected = [("a", "1"), ("b", "line 1\nline=2"), ("c", "x=y\r"), ("d", ""), ("e", "=<<z")];
        assert_eq!(pairs, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert!(parse_file("a<<EOF\nx").unwrap_err().contains("Matching delimiter not found 'EOF'"));
        assert!(parse_file("nothing").unwrap_err().contains("Invalid format 'nothing'"));
        assert!(parse_file("=x").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_line_parses_or_not(line in "\\PC{0,80}", file in "[a-z=<\n]{0,80}") {
            let _ = parse(&line);
            let _ = parse_file(&file);
        }
    }
}
