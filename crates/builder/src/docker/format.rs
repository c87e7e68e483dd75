//! `--format`: Go templates on what a command shows, its tables, and human sizes.

use serde_json::{Map, Value};

use super::{Docker, Failure};

/// Bytes as docker prints them: decimal units, three significant digits.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

/// Renders a Go template, with docker's functions, on a value. `json` alone is the whole value.
///
/// # Errors
/// What is wrong with it, as docker says it.
pub(super) fn template(text: &str, value: &Value) -> Result<String, Failure> {
    if text == "json" {
        return Ok(value.to_string());
    }
    helm::funcs::docker::render(text, value).map_err(|wrong| {
        // What cannot be read is a mistake of the command line.
        let code = if wrong.contains(": executing ") { 1 } else { 64 };
        Failure { code, ..Failure::new(format!("template parsing error: {wrong}")) }
    })
}

/// What a command lists, and how it shows it when `--format` says nothing.
pub(super) struct Listing {
    /// The table that is shown when nothing else is asked for.
    pub table: &'static str,
    /// What stands above the columns of each field.
    pub headers: &'static [(&'static str, &'static str)],
    /// The fields of each line.
    pub rows: Vec<Value>,
}

impl Listing {
    /// Prints it: a table (`table ...`, or nothing), `json`, or a template for each line.
    ///
    /// # Errors
    /// When the template is wrong, or nobody reads.
    pub fn show(&self, docker: &mut Docker, format: Option<&str>) -> Result<(), Failure> {
        let format = format.unwrap_or_default().trim();
        let as_table = format.is_empty() || format == "table" || format.starts_with("table ");
        let body = match format.strip_prefix("table").filter(|_| as_table).unwrap_or(format).trim() {
            "" => self.table,
            "json" => "{{json .}}",
            body => body,
        };
        let body = body.replace("\\t", "\t").replace("\\n", "\n");
        let template = |text: &str, value: &Value| template(text, value).map_err(|wrong| Failure { code: 1, ..wrong });
        let mut lines = Vec::new();
        if as_table {
            let above: Map<String, Value> =
                self.headers.iter().map(|(field, text)| ((*field).to_owned(), Value::from(*text))).collect();
            lines.push(template(&body, &Value::Object(above))?);
        }
        for row in &self.rows {
            lines.push(template(&body, row)?);
        }
        let lines = if as_table { columns(&lines) } else { lines };
        lines.iter().try_for_each(|line| docker.say(line))
    }
}

/// Aligns what tabs separate as docker's table writer does: at least ten wide, three blanks between.
pub(super) fn columns(lines: &[String]) -> Vec<String> {
    const LEAST: usize = 10;
    const GAP: usize = 3;
    let table: Vec<Vec<&str>> = lines.iter().map(|line| line.split('\t').collect()).collect();
    let count = table.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        let cells = table.iter().filter(|row| at + 1 < row.len());
        cells.map(|row| row[at].chars().count() + GAP).max().unwrap_or(0).max(LEAST)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let aligned = |row: &Vec<&str>| {
        let last = row.len() - 1;
        row.iter()
            .enumerate()
            .map(|(at, cell)| {
                let blanks = if at < last { widths[at] - cell.chars().count() } else { 0 };
                format!("{cell}{}", " ".repeat(blanks))
            })
            .collect()
    };
    table.iter().map(aligned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sizes_read_as_docker_prints_them() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (5_613_130, "5.61MB"),
            (77_900_000, "77.9MB"),
            (1_234_000_000, "1.23GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn templates_are_gos() {
        let value = json!({"Id": "sha256:1", "Config": {"Env": ["A=b", "C=d"]}});
        assert_eq!(template("{{.Id}}: {{range .Config.Env}}{{.}};{{end}}", &value).unwrap(), "sha256:1: A=b;C=d;");
        let wrong = template("{{.Nope}}", &value).unwrap_err();
        assert!(
            wrong.message.starts_with("template parsing error: template: :1:2: executing \"\""),
            "{}",
            wrong.message
        );
    }

    #[test]
    fn columns_are_at_least_ten_wide() {
        let lines = ["REPOSITORY\tTAG\tSIZE".to_owned(), "a/very/long/name\t1\t5MB".to_owned()];
        assert_eq!(columns(&lines), ["REPOSITORY         TAG       SIZE", "a/very/long/name   1         5MB"]);
    }
}
