//! Short hashes for names and labels, written as Kubernetes writes them.

use serde_json::Value;

const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// FNV-1a, 32 bits.
pub fn fnv32a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// A number in letters that can form neither words nor numbers.
pub fn safe_encode(number: u32) -> String {
    number.to_string().bytes().map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()])).collect()
}

/// The hash of a document, independent of the order of keys and of fields that are empty; `collisions` varies it.
pub fn of(document: &Value, collisions: i64) -> String {
    let mut bytes = Vec::new();
    canonical(document, &mut bytes);
    if collisions > 0 {
        bytes.extend_from_slice(&collisions.to_le_bytes());
    }
    safe_encode(fnv32a(&bytes))
}

fn canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().filter(|(_, v)| !is_empty(v)).collect();
            keys.sort_by_key(|(k, _)| k.as_str());
            out.push(b'{');
            for (key, value) in keys {
                out.extend_from_slice(key.as_bytes());
                out.push(b':');
                canonical(value, out);
                out.push(b',');
            }
            out.push(b'}');
        }
        Value::Array(list) => {
            out.push(b'[');
            for value in list {
                canonical(value, out);
                out.push(b',');
            }
            out.push(b']');
        }
        scalar => out.extend_from_slice(scalar.to_string().as_bytes()),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_empty),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn known_values() {
        assert_eq!(fnv32a(b""), 2_166_136_261);
        assert_eq!(fnv32a(b"foobar"), 0xbf9c_f968);
        assert_eq!(safe_encode(0), "4");
        assert_eq!(of(&json!({"a": 1, "b": {}}), 0), of(&json!({"a": 1}), 0));
        assert_ne!(of(&json!({"a": 1}), 0), of(&json!({"a": 1}), 1));
    }
}
