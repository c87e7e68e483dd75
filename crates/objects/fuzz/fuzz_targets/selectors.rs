//! Any text as a selector of labels and of fields; any JSON as a LabelSelector.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use objects::fields::FieldSelector;
use objects::labels::Selector;

fuzz_target!(|text: &str| {
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned()), ("x/y".to_owned(), String::new())]);
    if let Ok(selector) = Selector::parse(text) {
        let again = Selector::parse(&selector.to_string()).expect("what is printed parses");
        assert_eq!(selector.matches(&labels), again.matches(&labels));
    }
    if let Ok(selector) = FieldSelector::parse(text) {
        selector.matches(|field| (field == "a").then_some("b"));
    }
    if let Ok(value) = serde_json::from_str(text)
        && let Ok(selector) = Selector::from_label_selector(&value)
    {
        selector.matches(&labels);
    }
});
