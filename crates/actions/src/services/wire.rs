//! Protocol Buffers, as far as the messages of the results service need them, to and from JSON objects with the fields' own names.
//!
//! Twirp clients speak JSON or the binary form. Handlers see JSON only; a table of fields for each message does the rest.

use serde_json::{Map, Value as Json};

/// A field of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field(pub u64, pub &'static str, pub Kind);

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// `string`.
    Text,
    /// `repeated string`.
    Texts,
    /// `int64`, a string in JSON.
    Long,
    /// `int32`.
    Int,
    /// `bool`.
    Bool,
    /// `google.protobuf.StringValue`.
    TextValue,
    /// `google.protobuf.Int64Value`.
    LongValue,
    /// `google.protobuf.Timestamp`.
    Time,
    /// `repeated` messages.
    Messages(&'static [Field]),
    /// A message that nobody here reads.
    Ignored,
}

/// The bytes are no message of this kind.
#[derive(Debug, thiserror::Error)]
#[error("the body is not a valid message")]
pub(crate) struct Malformed;

fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or(Malformed)?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

/// A field's number and its content: a number, or bytes.
fn field<'a>(bytes: &mut &'a [u8]) -> Result<(u64, u64, &'a [u8]), Malformed> {
    let tag = varint(bytes)?;
    let mut take = |length: u64| {
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        let (taken, rest) = bytes.split_at_checked(length).ok_or(Malformed)?;
        *bytes = rest;
        Ok(taken)
    };
    match tag & 7 {
        0 => Ok((tag >> 3, varint(bytes)?, &[])),
        1 => take(8).map(|_| (tag >> 3, 0, &[] as &[u8])),
        5 => take(4).map(|_| (tag >> 3, 0, &[] as &[u8])),
        2 => {
            let length = varint(bytes)?;
            let length = usize::try_from(length).map_err(|_| Malformed)?;
            let (taken, rest) = bytes.split_at_checked(length).ok_or(Malformed)?;
            *bytes = rest;
            Ok((tag >> 3, 0, taken))
        }
        _ => Err(Malformed),
    }
}

fn text(bytes: &[u8]) -> Result<Json, Malformed> {
    std::str::from_utf8(bytes).map(Json::from).map_err(|_| Malformed)
}

/// The first two fields of a wrapper or time, as numbers and bytes.
fn inner(mut bytes: &[u8]) -> Result<(i64, i64, &[u8]), Malformed> {
    let (mut one, mut two, mut content) = (0, 0, &[] as &[u8]);
    while !bytes.is_empty() {
        let (number, value, taken) = field(&mut bytes)?;
        match number {
            1 => (one, content) = (value.cast_signed(), taken),
            2 => two = value.cast_signed(),
            _ => {}
        }
    }
    Ok((one, two, content))
}

/// Reads a message.
pub(crate) fn decode(mut bytes: &[u8], fields: &[Field]) -> Result<Map<String, Json>, Malformed> {
    let mut out = Map::new();
    while !bytes.is_empty() {
        let (number, value, content) = field(&mut bytes)?;
        let Some(Field(_, name, kind)) = fields.iter().find(|field| field.0 == number) else { continue };
        let value = match kind {
            Kind::Text => text(content)?,
            Kind::Long => Json::String(value.cast_signed().to_string()),
            Kind::Int => Json::from(value.cast_signed()),
            Kind::Bool => Json::Bool(value != 0),
            Kind::TextValue => text(inner(content)?.2)?,
            Kind::LongValue => Json::String(inner(content)?.0.to_string()),
            Kind::Time => {
                let (seconds, _, _) = inner(content)?;
                let time = jiff::Timestamp::from_second(seconds).map_err(|_| Malformed)?;
                Json::String(time.to_string())
            }
            Kind::Texts | Kind::Messages(_) => {
                let item = match kind {
                    Kind::Messages(fields) => Json::Object(decode(content, fields)?),
                    _ => text(content)?,
                };
                let list = out.entry(*name).or_insert_with(|| Json::Array(Vec::new()));
                if let Json::Array(list) = list {
                    list.push(item);
                }
                continue;
            }
            Kind::Ignored => continue,
        };
        out.insert((*name).to_owned(), value);
    }
    Ok(out)
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_number(number: u64, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        put_varint(number << 3, out);
        put_varint(value, out);
    }
}

fn put_bytes(number: u64, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(number << 3 | 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn long(value: &Json) -> u64 {
    let number = value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    number.unwrap_or_default().cast_unsigned()
}

/// Writes a message.
pub(crate) fn encode(message: &Json, fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for Field(number, name, kind) in fields {
        let value = &message[*name];
        let string = value.as_str().unwrap_or_default();
        match kind {
            _ if value.is_null() => {}
            Kind::Text if string.is_empty() => {}
            Kind::Text => put_bytes(*number, string.as_bytes(), &mut out),
            Kind::Long | Kind::Int => put_number(*number, long(value), &mut out),
            Kind::Bool => put_number(*number, u64::from(value == true), &mut out),
            Kind::TextValue => {
                let mut wrapped = Vec::new();
                put_bytes(1, string.as_bytes(), &mut wrapped);
                put_bytes(*number, &wrapped, &mut out);
            }
            Kind::LongValue => {
                let mut wrapped = Vec::new();
                put_number(1, long(value), &mut wrapped);
                put_bytes(*number, &wrapped, &mut out);
            }
            Kind::Time => {
                let time = string.parse::<jiff::Timestamp>().unwrap_or_default();
                let mut wrapped = Vec::new();
                put_number(1, time.as_second().cast_unsigned(), &mut wrapped);
                put_bytes(*number, &wrapped, &mut out);
            }
            Kind::Texts | Kind::Messages(_) => {
                for item in value.as_array().into_iter().flatten() {
                    match kind {
                        Kind::Messages(fields) => put_bytes(*number, &encode(item, fields), &mut out),
                        _ => put_bytes(*number, item.as_str().unwrap_or_default().as_bytes(), &mut out),
                    }
                }
            }
            Kind::Ignored => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const INNER: &[Field] = &[Field(1, "name", Kind::Text)];
    const ALL: &[Field] = &[
        Field(1, "text", Kind::Text),
        Field(2, "texts", Kind::Texts),
        Field(3, "long", Kind::Long),
        Field(4, "int", Kind::Int),
        Field(5, "flag", Kind::Bool),
        Field(6, "wrapped", Kind::TextValue),
        Field(7, "number", Kind::LongValue),
        Field(8, "time", Kind::Time),
        Field(19, "items", Kind::Messages(INNER)),
    ];

    #[test]
    fn round_trip_and_known_bytes() {
        let message = json!({"text": "testing", "texts": ["a", ""], "long": "-1", "int": 150, "flag": true, "wrapped": "", "number": "9",
            "time": "2026-01-02T03:04:05Z", "items": [{"name": "x"}, {}]});
        let bytes = encode(&message, ALL);
        assert_eq!(Json::Object(decode(&bytes, ALL).unwrap()), message);
        // The examples of the encoding's own documentation: field 4 with 150, field 1 with "testing".
        assert_eq!(encode(&json!({"int": 150}), ALL), [0x20, 0x96, 0x01]);
        assert_eq!(encode(&json!({"text": "testing"}), ALL), b"\x0a\x07testing");
    }

    #[test]
    fn unknown_fields_are_skipped_and_damage_is_refused() {
        let bytes = [0x0a, 0x01, b'a', 0xf8, 0x01, 0x05, 0xf9, 0x01, 1, 2, 3, 4, 5, 6, 7, 8, 0xfd, 0x01, 1, 2, 3, 4];
        assert_eq!(Json::Object(decode(&bytes, ALL).unwrap()), json!({"text": "a"}));
        for bad in [&[0x0a, 0x05, b'a'][..], &[0x20], &[0x0b], &[0xff; 12], &[0x0a, 0x01, 0xff]] {
            assert!(decode(bad, ALL).is_err(), "{bad:?}");
        }
    }
}
