//! Messages of others than Kubernetes, in whose fields Kubernetes' own messages may stand.

use super::{Error, Field, INLINE, Known, META, OMIT_EMPTY, POINTER, Table, message, write};
use serde_json::Value;

/// Definitions of messages (Protocol Buffers, "Encoding"): between them and JSON, as generated code of Go has it.
///
/// The text has a line with the name for each message, and behind it a line for each field, indented: number, JSON name, type. Types are
/// `string`, `bool`, `int`, `double`, `bytes` and names of messages; `[]` before a type is a list, `{}` a map from text, `&` behind it
/// says that the empty value differs from none. The field name `.` gives its message's fields to the message around it. Kubernetes'
/// messages are called as in `meta/v1.Time`, `core/v1.Event` and `runtime.RawExtension`.
pub struct Messages(Table);

impl Messages {
    /// Reads definitions.
    ///
    /// # Errors
    /// Names the first line that is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut table = Table::new();
        let mut name = "";
        for (at, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                [] => {}
                [word, ..] if word.starts_with('#') => {}
                [word] if !line.starts_with(' ') => {
                    name = word;
                    table.insert(name.to_owned(), Vec::new());
                }
                [number, json, form] => {
                    let number = number.parse().map_err(|_| format!("line {}: {number} is no number", at + 1))?;
                    let fields =
                        table.get_mut(name).ok_or_else(|| format!("line {}: a field of no message", at + 1))?;
                    fields.push(field(number, json, form));
                }
                _ => return Err(format!("line {}: neither a message nor a field: {line}", at + 1)),
            }
        }
        table.values_mut().for_each(|fields| fields.sort_by_key(|field| field.0));
        Ok(Self(table))
    }

    /// The JSON of a message of this name.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn read(&self, name: &str, bytes: &[u8]) -> Result<Value, Error> {
        message(Known(Some(&self.0)), bytes, name, 0)
    }

    /// The bytes of a message of this name, in the order of its fields. What JSON has beside them is left out.
    ///
    /// # Errors
    /// When a value does not fit its field.
    pub fn write(&self, name: &str, value: &Value) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        write::message(Known(Some(&self.0)), name, value, &mut out)?;
        Ok(out)
    }
}

fn field(number: u32, json: &str, form: &str) -> Field {
    let (form, pointer) = form.strip_suffix('&').map_or((form, 0), |form| (form, POINTER));
    let (inline, json) = if json == "." { (INLINE, "-") } else { (0, json) };
    let (prefix, form) = match (form.strip_prefix("[]"), form.strip_prefix("{}")) {
        (Some(form), _) => ("[", form),
        (_, Some(form)) => ("{", form),
        _ => ("", form),
    };
    let form = match form {
        "string" => "s".to_owned(),
        "bool" => "b".to_owned(),
        "int" => "i".to_owned(),
        "double" => "f".to_owned(),
        "bytes" => "y".to_owned(),
        name => match name.split_once('/') {
            Some(("meta", _)) => format!("@{META}.{}", name.rsplit('.').next().unwrap_or(name)),
            Some(_) => format!("@k8s.io/api/{name}"),
            None => format!("@{name}"),
        },
    };
    (number, json.to_owned(), format!("{prefix}{form}"), OMIT_EMPTY | pointer | inline)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "
# A comment.
Shelf
  1 metadata meta/v1.ObjectMeta
  2 books []Book
  3 counts {}int
  4 open bool&
  5 . Place
  6 free runtime.RawExtension
  7 sizes []int
Book
  1 title string
  2 read meta/v1.Time
  3 size intstr.IntOrString
Place
  1 room string
  2 row int
";

    #[test]
    fn what_is_written_is_read_again() {
        let messages = Messages::parse(TEXT).unwrap();
        let shelf = json!({
            "metadata": {"name": "one", "labels": {"a": "b"}, "creationTimestamp": "2026-01-02T03:04:05Z",
                "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}]},
            "books": [{"title": "T", "read": "2026-01-02T03:04:05Z", "size": 3}, {"size": "80%"}, {}],
            "counts": {"x": 1, "y": -1},
            "open": false,
            "room": "north", "row": 7,
            "free": {"any": [1, "two", null]},
            "sizes": [1, 300, 0],
        });
        let bytes = messages.write("Shelf", &shelf).unwrap();
        assert_eq!(messages.read("Shelf", &bytes).unwrap(), shelf);
    }

    #[test]
    fn the_bytes_are_those_of_protocol_buffers() {
        let messages =
            Messages::parse("M\n  1 a int\n  2 b string\n  3 c M\n  4 d []string\n  6 e bool\n  9 f {}string\n")
                .unwrap();
        // The examples of the specification's page "Encoding": 150 is 08 96 01, "testing" is 12 07 74 65 73 74 69 6e 67.
        let value = json!({"a": 150, "b": "testing", "c": {"a": 150}, "d": ["x", ""], "e": true, "f": {"k": "v"}, "unknown": 1});
        let expected = "089601 120774657374696e67 1a03089601 220178 2200 3001 4a060a016b120176".replace(' ', "");
        let bytes: String = messages.write("M", &value).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(bytes, expected);
        let negative = messages.write("M", &json!({"a": -1})).unwrap();
        assert_eq!(negative, [[8].as_slice(), &[0xff; 9], &[1]].concat());
    }

    #[test]
    fn quotes_that_are_missing_or_too_many_do_not_matter() {
        let messages = Messages::parse("M\n  1 a string\n  2 b int\n  3 c bool\n").unwrap();
        let bytes = messages.write("M", &json!({"a": 1.5, "b": "7", "c": "true"})).unwrap();
        assert_eq!(messages.read("M", &bytes).unwrap(), json!({"a": "1.5", "b": 7, "c": true}));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let messages = Messages::parse(TEXT).unwrap();
        for (value, expected) in [
            (json!({"books": [{"title": [7]}]}), "title of Book cannot be [7]"),
            (json!({"books": {}}), "books of Shelf cannot be {}"),
            (json!({"metadata": {"creationTimestamp": "yesterday"}}), "cannot be \"yesterday\""),
            (json!({"open": "yes"}), "open of Shelf cannot be \"yes\""),
        ] {
            let error = messages.write("Shelf", &value).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(messages.write("Nothing", &json!({})).is_err());
        assert_eq!(Messages::parse("  1 a string\n").err().unwrap(), "line 1: a field of no message");
        assert_eq!(Messages::parse("M\n  x a string\n").err().unwrap(), "line 2: x is no number");
    }
}
