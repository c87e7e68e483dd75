//! `/openapi/v2` in protobuf, as the `openapi.v2` messages of gnostic have it: what older kubectl and Helm ask for.

use serde_json::Value;

/// A message being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(&mut self, field: u32, content: &[u8]) -> &mut Self {
        self.varint(u64::from(field << 3 | 2));
        self.varint(content.len() as u64);
        self.0.extend_from_slice(content);
        self
    }

    fn message(&mut self, field: u32, inner: Message) -> &mut Self {
        self.bytes(field, &inner.0)
    }

    /// A text, where it is there.
    fn text(&mut self, field: u32, value: Option<&Value>) -> &mut Self {
        match value.and_then(Value::as_str).filter(|t| !t.is_empty()) {
            Some(text) => self.bytes(field, text.as_bytes()),
            None => self,
        }
    }

    fn texts(&mut self, field: u32, value: Option<&Value>) -> &mut Self {
        for text in value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            self.bytes(field, text.as_bytes());
        }
        self
    }

    fn flag(&mut self, field: u32, value: Option<&Value>) -> &mut Self {
        if value == Some(&Value::Bool(true)) {
            self.varint(u64::from(field << 3));
            self.varint(1);
        }
        self
    }

    fn whole(&mut self, field: u32, value: Option<&Value>) -> &mut Self {
        if let Some(n) = value.and_then(Value::as_i64).filter(|n| *n != 0) {
            self.varint(u64::from(field << 3));
            self.varint(n as u64);
        }
        self
    }

    fn double(&mut self, field: u32, value: Option<&Value>) -> &mut Self {
        if let Some(n) = value.and_then(Value::as_f64).filter(|n| *n != 0.0) {
            self.varint(u64::from(field << 3 | 1));
            self.0.extend_from_slice(&n.to_le_bytes());
        }
        self
    }

    /// The fields that begin with `x-`.
    fn extensions(&mut self, field: u32, value: &Value) -> &mut Self {
        for (name, value) in value.as_object().into_iter().flatten().filter(|(k, _)| k.starts_with("x-")) {
            let mut named = Message::default();
            named.bytes(1, name.as_bytes()).message(2, any(value));
            self.message(field, named);
        }
        self
    }

    fn named(&mut self, field: u32, name: &str, value: Message) -> &mut Self {
        let mut named = Message::default();
        named.bytes(1, name.as_bytes()).message(2, value);
        self.message(field, named)
    }
}

/// Any value, as the YAML that JSON is.
fn any(value: &Value) -> Message {
    let mut out = Message::default();
    out.bytes(2, value.to_string().as_bytes());
    out
}

/// Encodes a Swagger document.
pub(crate) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, document.get("swagger"));
    let mut info = Message::default();
    info.text(1, document.pointer("/info/title")).text(2, document.pointer("/info/version"));
    out.message(2, info);
    let mut paths = Message::default();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        paths.named(2, path, path_item(item));
    }
    out.message(8, paths);
    let mut definitions = Message::default();
    for (name, schema) in document["definitions"].as_object().into_iter().flatten() {
        definitions.named(1, name, self::schema(schema));
    }
    out.message(9, definitions);
    out.0
}

fn path_item(item: &Value) -> Message {
    let mut out = Message::default();
    for (field, verb) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (6, "options"), (7, "head"), (8, "patch")]
    {
        if let Some(operation) = item.get(verb) {
            out.message(field, self::operation(operation));
        }
    }
    parameters(&mut out, 9, item);
    out.extensions(10, item);
    out
}

fn operation(operation: &Value) -> Message {
    let mut out = Message::default();
    out.texts(1, operation.get("tags")).text(3, operation.get("description")).text(5, operation.get("operationId"));
    out.texts(6, operation.get("produces")).texts(7, operation.get("consumes"));
    parameters(&mut out, 8, operation);
    let mut responses = Message::default();
    for (code, response) in operation["responses"].as_object().into_iter().flatten() {
        let mut inner = Message::default();
        inner.text(1, response.get("description"));
        if let Some(schema) = response.get("schema") {
            let mut item = Message::default();
            item.message(1, self::schema(schema));
            inner.message(2, item);
        }
        let mut value = Message::default();
        value.message(1, inner);
        responses.named(1, code, value);
    }
    out.message(9, responses).texts(10, operation.get("schemes")).extensions(13, operation);
    out
}

fn parameters(out: &mut Message, field: u32, of: &Value) {
    for parameter in of["parameters"].as_array().into_iter().flatten() {
        let mut inner = Message::default();
        let place = parameter["in"].as_str().unwrap_or("query");
        if place == "body" {
            let mut body = Message::default();
            body.text(1, parameter.get("description")).text(2, parameter.get("name")).text(3, parameter.get("in"));
            body.flag(4, parameter.get("required"));
            body.message(5, schema(parameter.get("schema").unwrap_or(&Value::Null)));
            inner.message(1, body);
        } else {
            // Query parameters have a field more than those in paths, headers and forms.
            let (kind, shift) = match place {
                "header" => (1, 0),
                "formData" => (2, 1),
                "query" => (3, 1),
                _ => (4, 0),
            };
            let mut sub = Message::default();
            sub.flag(1, parameter.get("required")).text(2, parameter.get("in"));
            sub.text(3, parameter.get("description")).text(4, parameter.get("name"));
            sub.text(5 + shift, parameter.get("type")).text(6 + shift, parameter.get("format"));
            let mut other = Message::default();
            other.message(kind, sub);
            inner.message(2, other);
        }
        let mut item = Message::default();
        item.message(1, inner);
        out.message(field, item);
    }
}

fn schema(schema: &Value) -> Message {
    let get = |name: &str| schema.get(name);
    let mut out = Message::default();
    out.text(1, get("$ref")).text(2, get("format")).text(3, get("title")).text(4, get("description"));
    if let Some(default) = get("default") {
        out.message(5, any(default));
    }
    out.double(6, get("multipleOf")).double(7, get("maximum")).flag(8, get("exclusiveMaximum"));
    out.double(9, get("minimum")).flag(10, get("exclusiveMinimum"));
    out.whole(11, get("maxLength")).whole(12, get("minLength")).text(13, get("pattern"));
    out.whole(14, get("maxItems")).whole(15, get("minItems")).flag(16, get("uniqueItems"));
    out.whole(17, get("maxProperties")).whole(18, get("minProperties")).texts(19, get("required"));
    for allowed in get("enum").and_then(Value::as_array).into_iter().flatten() {
        out.message(20, any(allowed));
    }
    match get("additionalProperties") {
        Some(Value::Bool(true)) => {
            let mut item = Message::default();
            item.flag(2, Some(&Value::Bool(true)));
            out.message(21, item);
        }
        Some(additional @ Value::Object(_)) => {
            let mut item = Message::default();
            item.message(1, self::schema(additional));
            out.message(21, item);
        }
        _ => {}
    }
    if let Some(kind) = get("type") {
        let mut item = Message::default();
        item.text(1, Some(kind)).texts(1, Some(kind));
        out.message(22, item);
    }
    if let Some(items) = get("items") {
        let mut item = Message::default();
        item.message(1, self::schema(items));
        out.message(23, item);
    }
    for part in get("allOf").and_then(Value::as_array).into_iter().flatten() {
        out.message(24, self::schema(part));
    }
    if let Some(properties) = get("properties").and_then(Value::as_object) {
        let mut item = Message::default();
        for (name, property) in properties {
            item.named(1, name, self::schema(property));
        }
        out.message(25, item);
    }
    out.extensions(31, schema);
    out
}
