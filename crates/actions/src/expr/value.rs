//! Values and their coercions, as the workflow syntax defines them: numbers are IEEE doubles, comparison of strings
//! ignores case, arrays and objects are equal only to themselves.

mod convert;

use std::sync::Arc;

use indexmap::IndexMap;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

/// A value of the expression language.
#[derive(Debug, Clone, Default)]
pub enum Value {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A double.
    Number(f64),
    /// A string.
    String(Arc<str>),
    /// An array; identity counts in comparison.
    Array(Arc<Vec<Value>>),
    /// An object; identity counts in comparison.
    Object(Arc<Object>),
}

/// An object that keeps the order of its keys. Lookup ignores case unless it was built case-sensitive (the `env` context
/// on Linux).
#[derive(Debug, Clone, Default)]
pub struct Object {
    entries: IndexMap<String, (String, Value)>,
    case_sensitive: bool,
}

impl Object {
    /// An empty object whose lookup ignores case.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty object whose lookup respects case.
    pub fn case_sensitive() -> Self {
        Self { entries: IndexMap::new(), case_sensitive: true }
    }

    fn fold(&self, key: &str) -> String {
        if self.case_sensitive { key.to_owned() } else { upper(key) }
    }

    /// Sets a key; a later value for the same key replaces the earlier.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        let key = key.into();
        self.entries.insert(self.fold(&key), (key, value.into()));
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(&self.fold(key)).map(|(_, value)| value)
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.values().map(|(key, value)| (key.as_str(), value))
    }

    /// How many keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Object {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(iter: T) -> Self {
        let mut object = Object::new();
        for (key, value) in iter {
            object.insert(key, value);
        }
        object
    }
}

impl Value {
    /// A string value.
    pub fn string(text: impl AsRef<str>) -> Self {
        Value::String(Arc::from(text.as_ref()))
    }

    /// An object value.
    pub fn object(object: Object) -> Self {
        Value::Object(Arc::new(object))
    }

    /// An array value.
    pub fn array(items: Vec<Value>) -> Self {
        Value::Array(Arc::new(items))
    }

    /// The name of the kind, in the words of GitHub's tests: `Null`, `Boolean`, `Number`, `String`, `Array`, `Object`.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "Null",
            Value::Bool(_) => "Boolean",
            Value::Number(_) => "Number",
            Value::String(_) => "String",
            Value::Array(_) => "Array",
            Value::Object(_) => "Object",
        }
    }

    /// Whether the value counts as true.
    pub fn truthy(&self) -> bool {
        match self {
            Value::Null => false,
            Value::Bool(value) => *value,
            Value::Number(value) => *value != 0.0 && !value.is_nan(),
            Value::String(value) => !value.is_empty(),
            Value::Array(_) | Value::Object(_) => true,
        }
    }

    /// Whether this is neither an array nor an object.
    pub fn is_primitive(&self) -> bool {
        !matches!(self, Value::Array(_) | Value::Object(_))
    }

    /// The number it coerces to; NaN where there is none.
    pub fn to_number(&self) -> f64 {
        match self {
            Value::Null => 0.0,
            Value::Bool(value) => f64::from(u8::from(*value)),
            Value::Number(value) => *value,
            Value::String(value) => parse_number(value),
            Value::Array(_) | Value::Object(_) => f64::NAN,
        }
    }

    /// The string it coerces to; `Array` and `Object` for those.
    pub fn to_text(&self) -> String {
        match self {
            Value::Null => String::new(),
            Value::Bool(value) => value.to_string(),
            Value::Number(value) => format_number(*value),
            Value::String(value) => value.to_string(),
            Value::Array(_) => "Array".to_owned(),
            Value::Object(_) => "Object".to_owned(),
        }
    }

    /// The string, when it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(value) => Some(value),
            _ => None,
        }
    }

    /// The object, when it is one.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Value::Object(value) => Some(value),
            _ => None,
        }
    }

    /// The array, when it is one.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(value) => Some(value),
            _ => None,
        }
    }

    /// `value.key`, null where there is none.
    pub fn get(&self, key: &str) -> Value {
        self.as_object().and_then(|object| object.get(key)).cloned().unwrap_or_default()
    }

    /// `==` of the language.
    pub fn loosely_equals(&self, other: &Value) -> bool {
        match coerce(self, other) {
            Coerced::Numbers(a, b) => a == b,
            Coerced::Strings(a, b) => upper(&a) == upper(&b),
            Coerced::Bools(a, b) => a == b,
            Coerced::Nulls => true,
            Coerced::Arrays(a, b) => Arc::ptr_eq(&a, &b),
            Coerced::Objects(a, b) => Arc::ptr_eq(&a, &b),
            Coerced::Different => false,
        }
    }

    /// `>` of the language.
    pub fn greater_than(&self, other: &Value) -> bool {
        match coerce(self, other) {
            Coerced::Numbers(a, b) => a > b,
            Coerced::Strings(a, b) => utf16(&a).gt(utf16(&b)),
            Coerced::Bools(a, b) => a && !b,
            _ => false,
        }
    }

    /// `<` of the language.
    pub fn less_than(&self, other: &Value) -> bool {
        match coerce(self, other) {
            Coerced::Numbers(a, b) => a < b,
            Coerced::Strings(a, b) => utf16(&a).lt(utf16(&b)),
            Coerced::Bools(a, b) => !a && b,
            _ => false,
        }
    }

    /// The value as `toJSON` prints it: two spaces of indentation, keys in order.
    pub fn to_json_text(&self) -> String {
        let mut out = String::new();
        write_json(self, 0, &mut out);
        out
    }

    /// The value as `serde_json` has it; NaN and the infinities become strings, since JSON has no such numbers.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(value) => json_number(*value),
            Value::String(value) => Json::String(value.to_string()),
            Value::Array(items) => Json::Array(items.iter().map(Value::to_json).collect()),
            Value::Object(object) => {
                Json::Object(object.iter().map(|(key, value)| (key.to_owned(), value.to_json())).collect())
            }
        }
    }
}

fn json_number(value: f64) -> serde_json::Value {
    if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
        serde_json::Value::from(value as i64)
    } else if let Some(number) = serde_json::Number::from_f64(value) {
        serde_json::Value::Number(number)
    } else {
        serde_json::Value::String(format_number(value))
    }
}

enum Coerced {
    Nulls,
    Bools(bool, bool),
    Numbers(f64, f64),
    Strings(Arc<str>, Arc<str>),
    Arrays(Arc<Vec<Value>>, Arc<Vec<Value>>),
    Objects(Arc<Object>, Arc<Object>),
    Different,
}

fn coerce(left: &Value, right: &Value) -> Coerced {
    use Value::{Array, Bool, Null, Number, Object, String};
    match (left, right) {
        (Null, Null) => Coerced::Nulls,
        (Bool(a), Bool(b)) => Coerced::Bools(*a, *b),
        (String(a), String(b)) => Coerced::Strings(a.clone(), b.clone()),
        (Array(a), Array(b)) => Coerced::Arrays(a.clone(), b.clone()),
        (Object(a), Object(b)) => Coerced::Objects(a.clone(), b.clone()),
        (Array(_) | Object(_), _) | (_, Array(_) | Object(_)) => Coerced::Different,
        (Number(_) | Null | Bool(_) | String(_), _) => Coerced::Numbers(left.to_number(), right.to_number()),
    }
}

fn utf16(text: &str) -> impl Iterator<Item = u16> {
    upper(text).encode_utf16().collect::<Vec<_>>().into_iter()
}

/// Upper case for comparison, letter by letter: ß stays what it is, and no other letter becomes one of ASCII (ı is not I).
pub(crate) fn upper(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_uppercase();
    }
    let one = |c: char| {
        let mut upper = c.to_uppercase();
        match (upper.next(), upper.next()) {
            (Some(only), None) if only.is_ascii() == c.is_ascii() => only,
            _ => c,
        }
    };
    text.chars().map(one).collect()
}

/// The number in a string: decimal, `0x`, `0o`, `Infinity`; empty or blank is 0; anything else is NaN.
pub(crate) fn parse_number(text: &str) -> f64 {
    let text = text.trim();
    if text.is_empty() {
        return 0.0;
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    match text {
        "Infinity" | "+Infinity" => return f64::INFINITY,
        "-Infinity" => return f64::NEG_INFINITY,
        _ => {}
    }
    let decimal = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'+' | b'-' | b'e' | b'E'));
    if decimal { text.parse().unwrap_or(f64::NAN) } else { f64::NAN }
}

fn radix(digits: &str, radix: u32) -> f64 {
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return f64::NAN;
    }
    u32::from_str_radix(digits, radix).map_or(f64::NAN, |bits| f64::from(bits.cast_signed()))
}

/// A number with 15 significant digits, as .NET's `G15`.
pub(crate) fn format_number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() };
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{value:.14e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("the e format has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a number");
    let negative = mantissa.starts_with('-');
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_end_matches('0');
    let digits = if digits.is_empty() { "0" } else { digits };
    let mut out = String::new();
    if negative {
        out.push('-');
    }
    if !(-4..15).contains(&exponent) {
        out.push_str(&digits[..1]);
        if digits.len() > 1 {
            out.push('.');
            out.push_str(&digits[1..]);
        }
        out.push_str(&format!("E{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()));
    } else if exponent < 0 {
        out.push_str("0.");
        out.push_str(&"0".repeat(usize::try_from(-exponent - 1).unwrap_or(0)));
        out.push_str(digits);
    } else {
        let whole = usize::try_from(exponent + 1).unwrap_or(0);
        if digits.len() <= whole {
            out.push_str(digits);
            out.push_str(&"0".repeat(whole - digits.len()));
        } else {
            out.push_str(&digits[..whole]);
            out.push('.');
            out.push_str(&digits[whole..]);
        }
    }
    out
}

fn write_json(value: &Value, depth: usize, out: &mut String) {
    let indent = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(value) => out.push_str(&format_number(*value)),
        Value::String(value) => out.push_str(&serde_json::Value::from(&**value).to_string()),
        Value::Array(items) if items.is_empty() => out.push_str("[]"),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                indent(out, depth + 1);
                write_json(item, depth + 1, out);
            }
            indent(out, depth);
            out.push(']');
        }
        Value::Object(object) if object.is_empty() => out.push_str("{}"),
        Value::Object(object) => {
            out.push('{');
            for (i, (key, value)) in object.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                indent(out, depth + 1);
                out.push_str(&serde_json::Value::from(key).to_string());
                out.push_str(": ");
                write_json(value, depth + 1, out);
            }
            indent(out, depth);
            out.push('}');
        }
    }
}

impl PartialEq for Value {
    /// Structural equality, for tests and for matrix filters; the language's `==` is [`Value::loosely_equals`].
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Number(a), Value::Number(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Value::String(a), Value::String(b)) => a == b,
            (Value::Array(a), Value::Array(b)) => a == b,
            (Value::Object(a), Value::Object(b)) => {
                a.len() == b.len() && a.iter().all(|(key, value)| b.get(key) == Some(value))
            }
            _ => false,
        }
    }
}
