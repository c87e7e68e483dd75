//! Objects and arrays.

use serde_json::Value as Json;

use super::checker::{Checker, Place, Scope, Seen, asked_for, bounds, equal};
use super::words::{count, join, quote, quoted};
use super::{Draft, Problem, Tester};

type Keywords<'s> = &'s serde_json::Map<String, Json>;

impl<'s> Checker<'s> {
    pub(super) fn object(
        &mut self,
        map: Keywords<'s>,
        object: &serde_json::Map<String, Json>,
        whole: &Json,
        place: Place<'_, 's>,
        out: &mut Vec<Problem>,
        seen: &mut Seen,
    ) {
        let at = place.at;
        bounds(map, "minProperties", "maxProperties", object.len(), &mut |text| out.push(Problem::new(at, text)));
        let absent = |list: &'s Json| -> Vec<&'s str> {
            let names = list.as_array().into_iter().flatten().filter_map(Json::as_str);
            names.filter(|n| !object.contains_key(*n)).collect()
        };
        if let Some(list) = map.get("required") {
            let missing = absent(list);
            match missing.as_slice() {
                [] => {}
                [one] => out.push(Problem::new(at, format!("missing property {}", quote(one)))),
                _ => out.push(Problem::new(at, format!("missing properties {}", quoted(missing)))),
            }
        }
        self.dependent(map, "dependencies", object, whole, place, out, seen);
        self.properties(map, object, place, out, seen);
        if place.draft >= Draft::D6
            && let Some(rule) = map.get("propertyNames")
        {
            for name in object.keys() {
                let problem = self.below(rule, &Json::String(name.clone()), "", Scope::Key("propertyNames"), place);
                if let Some(problem) = problem {
                    out.push(Problem::under("", format!("invalid propertyName {}", quote(name)), problem.parts()));
                }
            }
        }
        if place.draft >= Draft::D2019 {
            self.dependent(map, "dependentSchemas", object, whole, place, out, seen);
            self.dependent(map, "dependentRequired", object, whole, place, out, seen);
        }
    }

    /// What some properties ask for when they are there: other properties, or a schema.
    #[expect(clippy::too_many_arguments, reason = "a keyword, its value and where they are")]
    fn dependent(
        &mut self,
        map: Keywords<'s>,
        key: &'static str,
        object: &serde_json::Map<String, Json>,
        whole: &Json,
        place: Place<'_, 's>,
        out: &mut Vec<Problem>,
        seen: &mut Seen,
    ) {
        let Some(Json::Object(all)) = map.get(key) else { return };
        for (name, rule) in all.iter().filter(|(n, _)| object.contains_key(*n)) {
            if let Json::Array(names) = rule {
                let names = names.iter().filter_map(Json::as_str);
                let missing: Vec<&str> = names.filter(|n| !object.contains_key(*n)).collect();
                if !missing.is_empty() {
                    out.push(Problem::new(place.at, asked_for(missing, name)));
                }
            } else {
                out.extend(self.same(rule, whole, place, Scope::Name(key, name), seen));
            }
        }
    }

    fn properties(
        &mut self,
        map: Keywords<'s>,
        object: &serde_json::Map<String, Json>,
        place: Place<'_, 's>,
        out: &mut Vec<Problem>,
        seen: &mut Seen,
    ) {
        let patterns: Vec<(Tester, &'s String, &'s Json)> = match map.get("patternProperties") {
            Some(Json::Object(all)) => {
                let compiled = all.iter().filter_map(|(p, s)| Some((self.patterns.get(p).ok()?, p, s)));
                compiled.collect()
            }
            _ => Vec::new(),
        };
        let declared = map.get("properties").and_then(Json::as_object);
        let mut additional: Vec<&str> = Vec::new();
        for (name, value) in object {
            let at = join(place.at, name);
            let mut known = false;
            if let Some((name, schema)) = declared.and_then(|p| p.get_key_value(name)) {
                known = true;
                out.extend(self.below(schema, value, &at, Scope::Name("properties", name), place));
            }
            for (pattern, text, schema) in &patterns {
                if pattern.is_match(name.as_str()) {
                    known = true;
                    out.extend(self.below(schema, value, &at, Scope::Name("patternProperties", text), place));
                }
            }
            if !known && let Some(rest) = map.get("additionalProperties") {
                known = true;
                match rest {
                    Json::Bool(false) => additional.push(name),
                    rest => out.extend(self.below(rest, value, &at, Scope::Key("additionalProperties"), place)),
                }
            }
            if known {
                seen.properties.insert(name.clone());
            }
        }
        if !additional.is_empty() {
            let text = format!("additional properties {} not allowed", quoted(additional));
            out.push(Problem::new(place.at, text));
        }
    }

    pub(super) fn array(
        &mut self,
        map: Keywords<'s>,
        items: &[Json],
        place: Place<'_, 's>,
        out: &mut Vec<Problem>,
        seen: &mut Seen,
    ) {
        let at = place.at;
        bounds(map, "minItems", "maxItems", items.len(), &mut |text| out.push(Problem::new(at, text)));
        if map.get("uniqueItems") == Some(&Json::Bool(true)) && items.len() < 2000 {
            let pair =
                (1..items.len()).flat_map(|j| (0..j).map(move |i| (i, j))).find(|&(i, j)| equal(&items[i], &items[j]));
            if let Some((i, j)) = pair {
                out.push(Problem::new(at, format!("items at {} and {} are equal", count(i), count(j))));
            }
        }
        self.items(map, items, place, out, seen);
        if place.draft >= Draft::D6
            && let Some(rule) = map.get("contains")
        {
            self.contains(map, rule, items, place, out, seen);
        }
    }

    /// A list of schemas by position, and one for the rest.
    fn items(
        &mut self,
        map: Keywords<'s>,
        items: &[Json],
        place: Place<'_, 's>,
        out: &mut Vec<Problem>,
        seen: &mut Seen,
    ) {
        let new = place.draft >= Draft::D2020;
        let (first, rest): (&'s [Json], Option<&'s Json>) = match (map.get("prefixItems"), map.get("items")) {
            (Some(Json::Array(first)), rest) if new => (first, rest),
            (_, Some(Json::Array(first))) if !new => (first, map.get("additionalItems")),
            (_, rest) => (&[], rest),
        };
        for (i, (schema, value)) in first.iter().zip(items).enumerate() {
            let key = if new { "prefixItems" } else { "items" };
            out.extend(self.below(schema, value, &join(place.at, &i.to_string()), Scope::Index(key, i), place));
        }
        let looked_at = first.len().min(items.len());
        seen.items = seen.items.max(looked_at);
        let Some(schema) = rest else { return };
        if *schema == Json::Bool(false) && !new && !first.is_empty() {
            if looked_at < items.len() {
                let left = count(items.len() - looked_at);
                out.push(Problem::new(place.at, format!("last {left} additionalItem(s) not allowed")));
            }
            return;
        }
        for (i, value) in items.iter().skip(looked_at).enumerate() {
            // The validator counts what follows the first items from 0 again.
            out.extend(self.below(schema, value, &join(place.at, &i.to_string()), Scope::Key("items"), place));
        }
        seen.all_items = true;
    }

    fn contains(
        &mut self,
        map: Keywords<'s>,
        rule: &'s Json,
        items: &[Json],
        place: Place<'_, 's>,
        out: &mut Vec<Problem>,
        seen: &mut Seen,
    ) {
        let mut causes = Vec::new();
        let mut matched = Vec::new();
        for (i, value) in items.iter().enumerate() {
            match self.below(rule, value, &join(place.at, &i.to_string()), Scope::Key("contains"), place) {
                Some(problem) => causes.push(problem),
                None => matched.push(i),
            }
        }
        if place.draft >= Draft::D2020 {
            seen.single.extend(&matched);
        }
        let bound = |key: &str| {
            let counted = place.draft >= Draft::D2019;
            map.get(key).filter(|_| counted).and_then(Json::as_f64).map(|f| f as usize)
        };
        let at_places = || matched.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let said = |word: &str, want: usize| {
            let want = count(want);
            match matched.len() {
                0 => format!("{word} {want} items required to match contains schema, but none matched"),
                got => format!(
                    "{word} {want} items required to match contains schema, but matched {} items at {}",
                    count(got),
                    at_places()
                ),
            }
        };
        match bound("minContains") {
            Some(least) if matched.len() < least => out.push(Problem::under(place.at, said("min", least), causes)),
            None if matched.is_empty() => {
                out.push(Problem::under(place.at, "no items match contains schema", causes));
            }
            _ => {}
        }
        if let Some(most) = bound("maxContains").filter(|&most| matched.len() > most) {
            out.push(Problem::new(place.at, said("max", most)));
        }
    }
}
