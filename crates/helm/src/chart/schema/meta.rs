//! What each draft demands of a schema, as a schema.

use std::sync::OnceLock;

use serde_json::{Map, Value as Json, json};

use super::Draft;

/// The schema of a draft's schemas.
pub(super) fn schema(draft: Draft) -> &'static Json {
    static ALL: [OnceLock<Json>; 5] = [const { OnceLock::new() }; 5];
    let cell = &ALL[draft as usize];
    cell.get_or_init(|| match draft {
        Draft::D4 | Draft::D6 | Draft::D7 => flat(draft),
        Draft::D2019 | Draft::D2020 => layered(draft),
    })
}

/// Keywords that share a demand.
fn each(map: &mut Map<String, Json>, names: &str, demand: &Json) {
    for name in names.split(' ') {
        map.insert(name.to_owned(), demand.clone());
    }
}

fn object(of: Json) -> Json {
    json!({"type": "object", "additionalProperties": of})
}

/// `type`: a name, or several.
fn types() -> Json {
    let name = json!({"enum": ["array", "boolean", "integer", "null", "number", "object", "string"]});
    json!({"anyOf": [name, {"type": "array", "items": name, "minItems": 1, "uniqueItems": true}]})
}

fn texts(least: usize) -> Json {
    json!({"type": "array", "items": {"type": "string"}, "minItems": least, "uniqueItems": true})
}

/// Drafts 4, 6 and 7: every keyword in one place.
fn flat(draft: Draft) -> Json {
    let own = json!({"$ref": "#"});
    let many = json!({"type": "array", "minItems": 1, "items": own});
    let (text, number, yes_or_no) = (json!({"type": "string"}), json!({"type": "number"}), json!({"type": "boolean"}));
    let size = json!({"type": "integer", "minimum": 0});
    let mut map = Map::new();
    each(&mut map, "title description", &text);
    each(&mut map, "maximum minimum", &number);
    each(&mut map, "maxLength maxItems maxProperties", &size);
    each(&mut map, "minLength minItems minProperties", &json!({"allOf": [size, {}]}));
    each(&mut map, "pattern", &json!({"type": "string", "format": "regex"}));
    each(&mut map, "uniqueItems", &yes_or_no);
    each(&mut map, "definitions properties patternProperties", &object(own.clone()));
    each(&mut map, "items", &json!({"anyOf": [own, many]}));
    each(&mut map, "allOf anyOf oneOf", &many);
    each(&mut map, "not", &own);
    each(&mut map, "type", &types());
    each(&mut map, "format", &text);
    let strings = texts(usize::from(draft == Draft::D4));
    each(&mut map, "dependencies", &object(json!({"anyOf": [own, strings]})));
    each(&mut map, "required", &strings);
    let mut whole = json!({});
    if draft == Draft::D4 {
        each(&mut map, "id $schema", &text);
        each(&mut map, "multipleOf", &json!({"type": "number", "minimum": 0, "exclusiveMinimum": true}));
        each(&mut map, "exclusiveMaximum exclusiveMinimum", &yes_or_no);
        each(&mut map, "additionalItems additionalProperties", &json!({"anyOf": [{"type": "boolean"}, own]}));
        each(&mut map, "enum", &json!({"type": "array"}));
        whole["type"] = json!("object");
        whole["dependencies"] = json!({"exclusiveMaximum": ["maximum"], "exclusiveMinimum": ["minimum"]});
    } else {
        each(&mut map, "$id $ref", &json!({"type": "string", "format": "uri-reference"}));
        each(&mut map, "$schema", &json!({"type": "string", "format": "uri"}));
        each(&mut map, "multipleOf", &json!({"type": "number", "exclusiveMinimum": 0}));
        each(&mut map, "exclusiveMaximum exclusiveMinimum", &number);
        each(&mut map, "additionalItems additionalProperties contains propertyNames", &own);
        each(&mut map, "examples enum", &json!({"type": "array"}));
        whole["type"] = json!(["object", "boolean"]);
        if draft == Draft::D7 {
            each(&mut map, "$comment contentMediaType contentEncoding", &text);
            each(&mut map, "readOnly", &yes_or_no);
            each(&mut map, "if then else", &own);
        }
    }
    if let Some(patterns) = map.get_mut("patternProperties").filter(|_| draft > Draft::D4) {
        patterns["propertyNames"] = json!({"format": "regex"});
    }
    whole["properties"] = Json::Object(map);
    whole
}

/// Drafts 2019-09 and 2020-12: a layer for each vocabulary.
fn layered(draft: Draft) -> Json {
    let new = draft == Draft::D2020;
    let own = json!({"$ref": "#"});
    let many = json!({"type": "array", "minItems": 1, "items": own});
    let (text, number, yes_or_no) = (json!({"type": "string"}), json!({"type": "number"}), json!({"type": "boolean"}));
    let size = json!({"type": "integer", "minimum": 0});
    let mut core = Map::new();
    let reference = json!({"type": "string", "format": "uri-reference"});
    let anchor = json!({"type": "string", "pattern": if new { "^[A-Za-z_][-A-Za-z0-9._]*$" } else { "^[A-Za-z][-A-Za-z0-9.:_]*$" }});
    each(&mut core, "$id", &json!({"type": "string", "format": "uri-reference", "pattern": "^[^#]*#?$"}));
    each(&mut core, "$schema", &json!({"type": "string", "format": "uri"}));
    each(&mut core, "$anchor", &anchor);
    each(&mut core, "$comment", &text);
    each(&mut core, "$ref", &reference);
    each(&mut core, "$defs", &object(own.clone()));
    each(&mut core, "$vocabulary", &object(yes_or_no.clone()));
    if new {
        each(&mut core, "$dynamicRef", &reference);
        each(&mut core, "$dynamicAnchor", &anchor);
    } else {
        each(&mut core, "$recursiveRef", &reference);
        each(&mut core, "$recursiveAnchor", &yes_or_no);
    }
    let mut applicator = Map::new();
    let schemas = "contains additionalProperties propertyNames if then else not";
    each(&mut applicator, schemas, &own);
    each(&mut applicator, "properties patternProperties dependentSchemas", &object(own.clone()));
    applicator["patternProperties"]["propertyNames"] = json!({"format": "regex"});
    each(&mut applicator, "allOf anyOf oneOf", &many);
    let mut rest = Map::new();
    if new {
        each(&mut applicator, "prefixItems", &many);
        each(&mut applicator, "items", &own);
        each(&mut rest, "unevaluatedItems unevaluatedProperties", &own);
    } else {
        each(&mut applicator, "additionalItems unevaluatedItems unevaluatedProperties", &own);
        each(&mut applicator, "items", &json!({"anyOf": [own, many]}));
    }
    let mut validation = Map::new();
    let strings = texts(0);
    each(&mut validation, "type", &types());
    each(&mut validation, "enum", &json!({"type": "array"}));
    each(&mut validation, "multipleOf", &json!({"type": "number", "exclusiveMinimum": 0}));
    each(&mut validation, "maximum exclusiveMaximum minimum exclusiveMinimum", &number);
    let sizes = "maxLength minLength maxItems minItems maxContains minContains maxProperties minProperties";
    each(&mut validation, sizes, &size);
    each(&mut validation, "pattern", &json!({"type": "string", "format": "regex"}));
    each(&mut validation, "uniqueItems", &yes_or_no);
    each(&mut validation, "required", &strings);
    each(&mut validation, "dependentRequired", &object(strings.clone()));
    let mut data = Map::new();
    each(&mut data, "title description", &text);
    each(&mut data, "deprecated readOnly writeOnly", &yes_or_no);
    each(&mut data, "examples", &json!({"type": "array"}));
    let format = json!({"format": text});
    let mut content = Map::new();
    each(&mut content, "contentEncoding contentMediaType", &text);
    each(&mut content, "contentSchema", &own);
    let kinds = json!(["object", "boolean"]);
    let mut layers: Vec<Json> = [core, applicator, rest, validation, data]
        .into_iter()
        .filter(|map| !map.is_empty())
        .map(|map| json!({"type": kinds, "properties": map}))
        .collect();
    layers.push(json!({"type": kinds, "properties": format}));
    layers.push(json!({"type": kinds, "properties": content}));
    let old = json!({
        "definitions": object(own.clone()),
        "dependencies": object(json!({"anyOf": [own, strings]})),
    });
    // A layer is referred to: several problems of one are shown as a group.
    let named: Map<String, Json> = layers.into_iter().enumerate().map(|(i, l)| (i.to_string(), l)).collect();
    let all: Vec<Json> = (0..named.len()).map(|i| json!({"$ref": format!("#/$defs/{i}")})).collect();
    json!({"type": kinds, "allOf": all, "properties": old, "$defs": named})
}
