//! What holds for every text and every value.

use proptest::prelude::*;
use serde_json::Value;

fn values() -> impl Strategy<Value = Value> {
    // Go writes this key, too, as it reads a merge.
    let keys = "[ -~]{0,8}".prop_filter("a merge", |key| key != "<<");
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        "[ -~\n\té☃]{0,12}".prop_map(Value::from),
        "[-0-9a-fnxoyYN:._+]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(keys.clone(), inner, 0..5).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        _ => a == b,
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(value in values()) {
        let text = goyaml::to_string(&value);
        let back = goyaml::from_str(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        prop_assert!(same(&value, &back), "{value}\n{text}\n{back}");
    }

    #[test]
    fn no_text_makes_it_panic(text in "[ \n\t:a\\-?{}\\[\\],&*!|>'\"%#0x.~<]{0,60}|\\PC{0,80}") {
        let _ = goyaml::documents(&text);
        let _ = goyaml::tree::parse(&text);
    }
}
