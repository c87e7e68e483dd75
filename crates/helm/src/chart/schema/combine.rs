//! `not`, `allOf`, `anyOf`, `oneOf`, `if`, and what no keyword looked at.

use serde_json::Value as Json;

use super::checker::{Checker, Place, Scope, Seen};
use super::words::join;
use super::{Draft, Problem};

type Keywords<'s> = &'s serde_json::Map<String, Json>;

impl<'s> Checker<'s> {
    /// The subschemas of a keyword that do not hold, and the numbers of those that do.
    fn each(
        &mut self,
        key: &'static str,
        all: &'s [Json],
        value: &Json,
        place: Place<'_, 's>,
        seen: &mut Seen,
        enough: usize,
    ) -> (Vec<Problem>, Vec<String>) {
        let mut causes = Vec::new();
        let mut matched = Vec::new();
        for (i, sub) in all.iter().enumerate() {
            match self.same(sub, value, place, Scope::Index(key, i), seen) {
                Some(problem) => causes.push(problem),
                None => matched.push(i.to_string()),
            }
            if matched.len() == enough {
                break;
            }
        }
        (causes, matched)
    }

    pub(super) fn combined(
        &mut self,
        map: Keywords<'s>,
        value: &Json,
        place: Place<'_, 's>,
        out: &mut Vec<Problem>,
        seen: &mut Seen,
    ) {
        let at = place.at;
        let mut unused = Seen::default();
        if let Some(not) = map.get("not")
            && self.same(not, value, place, Scope::Key("not"), &mut unused).is_none()
        {
            out.push(Problem::new(at, "'not' failed".to_owned()));
        }
        if let Some(Json::Array(all)) = map.get("allOf") {
            let (causes, _) = self.each("allOf", all, value, place, seen, usize::MAX);
            if !causes.is_empty() {
                out.push(Problem::under(at, "'allOf' failed", causes));
            }
        }
        if let Some(Json::Array(any)) = map.get("anyOf") {
            let (causes, matched) = self.each("anyOf", any, value, place, seen, usize::MAX);
            if matched.is_empty() && !any.is_empty() {
                out.push(Problem::under(at, "'anyOf' failed", causes));
            }
        }
        if let Some(Json::Array(one)) = map.get("oneOf") {
            let (causes, matched) = self.each("oneOf", one, value, place, seen, 2);
            match matched.len() {
                0 if one.is_empty() => {}
                0 => out.push(Problem::under(at, "'oneOf' failed, none matched", causes)),
                1 => {}
                _ => out.push(Problem::new(at, format!("'oneOf' failed, subschemas {} matched", matched.join(", ")))),
            }
        }
        if place.draft >= Draft::D7
            && let Some(condition) = map.get("if")
        {
            let holds = self.same(condition, value, place, Scope::Key("if"), seen).is_none();
            let key = if holds { "then" } else { "else" };
            if let Some(branch) = map.get(key) {
                out.extend(self.same(branch, value, place, Scope::Key(key), seen));
            }
        }
    }

    pub(super) fn unevaluated(
        &mut self,
        map: Keywords<'s>,
        value: &Json,
        place: Place<'_, 's>,
        out: &mut Vec<Problem>,
        seen: &mut Seen,
    ) {
        if place.draft < Draft::D2019 {
            return;
        }
        if let (Some(rest), Json::Object(object)) = (map.get("unevaluatedProperties"), value) {
            for (name, value) in object {
                if seen.properties.insert(name.clone()) {
                    out.extend(self.below(
                        rest,
                        value,
                        &join(place.at, name),
                        Scope::Key("unevaluatedProperties"),
                        place,
                    ));
                }
            }
        }
        if let (Some(rest), Json::Array(items)) = (map.get("unevaluatedItems"), value)
            && !seen.all_items
        {
            for (i, value) in items.iter().enumerate().skip(seen.items) {
                if !seen.single.contains(&i) {
                    let at = join(place.at, &i.to_string());
                    out.extend(self.below(rest, value, &at, Scope::Key("unevaluatedItems"), place));
                }
            }
            seen.all_items = true;
        }
    }
}
