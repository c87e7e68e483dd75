//! Which targets a command line means, and what each of them is in the end: groups opened, parents laid under, `--set` done.
//! Pure.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::definition::{Definition, Group};
use super::target::{Override, Target};

/// What `--set` says, by target and key.
type Overrides = BTreeMap<String, BTreeMap<String, Override>>;

/// What is to be built.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Plan {
    pub groups: BTreeMap<String, Group>,
    pub targets: BTreeMap<String, Target>,
    /// Those that are only built because others need them.
    pub linked: BTreeSet<String>,
}

/// Fields of which `--set` may give more than one value.
const LISTS: &[&str] = &[
    "output",
    "cache-to",
    "cache-from",
    "tags",
    "platform",
    "secrets",
    "ssh",
    "attest",
    "entitlements",
    "network",
    "annotations",
];

/// Whether a name matches a pattern of `*`, `?` and `[...]`.
fn matches(pattern: &str, name: &str) -> bool {
    let mut text = String::from("^");
    for c in pattern.chars() {
        match c {
            '*' => text.push_str("[^/]*"),
            '?' => text.push_str("[^/]"),
            '[' | ']' => text.push(c),
            c => text.push_str(&regex::escape(&c.to_string())),
        }
    }
    regex::Regex::new(&format!("{text}$")).is_ok_and(|pattern| pattern.is_match(name))
}

impl Definition {
    /// What these names, changed so, come to.
    ///
    /// # Errors
    /// Names that are not there, cycles, values that do not fit.
    pub fn plan(&self, wanted: &[String], set: &[String], env: super::Lookup<'_>) -> Result<Plan, String> {
        let overrides = self.overrides(set, env)?;
        let mut names: Vec<String> = Vec::new();
        for pattern in wanted {
            // Services may have dots in their names; targets may not.
            for name in self.named(&pattern.replace('.', "_"))? {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let mut plan = Plan::default();
        for name in &names {
            let (targets, groups) = self.open(name, &mut BTreeSet::new());
            for target in targets {
                if let Entry::Vacant(place) = plan.targets.entry(target) {
                    let resolved = self.resolve(place.key(), &overrides)?;
                    place.insert(resolved);
                }
            }
            for group in groups {
                if let Some(found) = self.groups.iter().find(|one| one.name == group) {
                    plan.groups.insert(group, found.clone());
                }
            }
        }
        for name in names {
            if name == "default" && plan.groups.contains_key("default") {
                continue;
            }
            let default = plan.groups.entry("default".to_owned()).or_default();
            if !default.targets.contains(&name) {
                default.targets.push(name);
            }
        }
        if let Some(default) = plan.groups.get_mut("default") {
            default.targets.sort();
        }
        for name in plan.targets.keys().cloned().collect::<Vec<_>>() {
            self.link(&name, &overrides, &mut plan, &mut Vec::new())?;
        }
        Ok(plan)
    }

    fn named(&self, pattern: &str) -> Result<Vec<String>, String> {
        if !pattern.contains(['*', '?', '[', ']']) {
            return Ok(vec![pattern.to_owned()]);
        }
        let groups = self.groups.iter().map(|group| &group.name);
        let all = groups.chain(self.targets.iter().map(|target| &target.name));
        let found: Vec<String> = all.filter(|name| matches(pattern, name)).cloned().collect();
        match found.is_empty() {
            true => Err(format!("could not find any target matching {pattern:?}")),
            false => Ok(found),
        }
    }

    fn overrides(&self, set: &[String], env: super::Lookup<'_>) -> Result<Overrides, String> {
        let mut out = Overrides::new();
        for text in set {
            let (key, value) = text.split_once('=').map_or((text.as_str(), None), |(key, value)| (key, Some(value)));
            let (key, append) = key.strip_suffix('+').map_or((key, false), |key| (key, true));
            let parts: Vec<&str> = key.splitn(3, '.').collect();
            let [pattern, field, ..] = parts.as_slice() else {
                return Err(format!("invalid override key {key}, expected target.name"));
            };
            if value.is_none() && *field != "args" {
                return Err(format!("invalid override {text}, expected target.name=value"));
            }
            if matches!(*field, "args" | "contexts") && parts.len() != 3 {
                return Err(format!("invalid key {key}, {field} requires name"));
            }
            let value = match value {
                Some(value) => value.to_owned(),
                // An argument without a value takes that of the surroundings.
                None => match env(parts[2]) {
                    Some(value) => value,
                    None => continue,
                },
            };
            let exact = self.targets.iter().any(|target| target.name == *pattern);
            let names: Vec<&String> = self
                .targets
                .iter()
                .map(|target| &target.name)
                .filter(|name| if exact { name == pattern } else { matches(pattern, name) })
                .collect();
            if names.is_empty() {
                return Err(format!("could not find any target matching '{pattern}'"));
            }
            for name in names {
                let entry = out.entry(name.clone()).or_default().entry(parts[1..].join(".")).or_default();
                entry.append = append;
                if LISTS.contains(field) {
                    entry.values.push(value.clone());
                } else {
                    entry.value.clone_from(&value);
                }
            }
        }
        Ok(out)
    }

    /// The targets below a name, and the groups on the way.
    fn open(&self, name: &str, seen: &mut BTreeSet<String>) -> (Vec<String>, Vec<String>) {
        let Some(group) = self.groups.iter().find(|group| group.name == name) else {
            return (vec![name.to_owned()], Vec::new());
        };
        if !seen.insert(name.to_owned()) {
            return (Vec::new(), Vec::new());
        }
        let mut targets = Vec::new();
        let mut groups = vec![name.to_owned()];
        for member in &group.targets {
            // A group may hold a target of its own name.
            let own = member == name && self.targets.iter().any(|target| target.name == *member);
            let (inner, more) = if own { (vec![member.clone()], Vec::new()) } else { self.open(member, seen) };
            targets.extend(inner);
            groups.extend(more);
        }
        (targets, groups)
    }

    fn resolve(&self, name: &str, overrides: &Overrides) -> Result<Target, String> {
        let mut target = self.inherit(name, overrides, &mut BTreeMap::new())?.unwrap_or_default();
        target.inherits.clear();
        target.context.get_or_insert_with(|| ".".to_owned());
        if target.dockerfile.as_deref().is_none_or(str::is_empty) {
            target.dockerfile = Some("Dockerfile".to_owned());
        }
        Ok(target)
    }

    /// A target over its parents; none while it is being made, as that of a cycle is.
    fn inherit(
        &self,
        name: &str,
        overrides: &Overrides,
        seen: &mut BTreeMap<String, Option<Target>>,
    ) -> Result<Option<Target>, String> {
        if let Some(known) = seen.get(name) {
            return Ok(known.clone());
        }
        seen.insert(name.to_owned(), None);
        let own = self.targets.iter().find(|target| target.name == name);
        let own = own.ok_or_else(|| format!("failed to find target {name}"))?;
        let mut target = Target::default();
        for parent in &own.inherits {
            if let Some(parent) = self.inherit(parent, overrides, seen)? {
                target.merge(&parent);
            }
        }
        target.merge(own);
        target.name = name.to_owned();
        for (key, by) in overrides.get(name).into_iter().flatten() {
            target.change(key, by).map_err(|why| format!("target {name}: {why}"))?;
        }
        target.normalize();
        seen.insert(name.to_owned(), Some(target.clone()));
        Ok(Some(target))
    }

    /// Adds the targets that a target's contexts name.
    fn link(&self, name: &str, overrides: &Overrides, plan: &mut Plan, above: &mut Vec<String>) -> Result<(), String> {
        above.push(name.to_owned());
        let contexts: Vec<String> =
            plan.targets.get(name).map(|target| target.contexts.values().cloned().collect()).unwrap_or_default();
        for other in contexts.iter().filter_map(|value| value.strip_prefix("target:")) {
            if other == name {
                return Err(format!("target {other} cannot link to itself"));
            }
            if above.iter().any(|one| one == other) {
                return Err(format!("infinite loop from {name} to {other}"));
            }
            if !plan.targets.contains_key(other) {
                let mut linked = self.resolve(other, overrides)?;
                let kept = ["type=cacheonly".to_owned()];
                linked.output = Some(super::entry::Entries::from_texts(super::entry::Kind::Output, &kept)?);
                plan.targets.insert(other.to_owned(), linked);
                plan.linked.insert(other.to_owned());
            }
            self.link(other, overrides, plan, above)?;
            let needed = plan.targets.get(other).map(|target| target.entitlements.clone()).unwrap_or_default();
            if let Some(target) = plan.targets.get_mut(name) {
                let fresh: Vec<String> = needed.into_iter().filter(|one| !target.entitlements.contains(one)).collect();
                target.entitlements.extend(fresh);
            }
        }
        above.pop();
        Ok(())
    }
}

impl Plan {
    /// The targets in an order in which each comes after those it needs.
    pub fn order(&self) -> Vec<&Target> {
        fn visit<'a>(plan: &'a Plan, name: &str, done: &mut BTreeSet<String>, out: &mut Vec<&'a Target>) {
            let Some(target) = plan.targets.get(name).filter(|_| done.insert(name.to_owned())) else { return };
            for other in target.contexts.values().filter_map(|value| value.strip_prefix("target:")) {
                visit(plan, other, done, out);
            }
            out.push(target);
        }
        let (mut done, mut out) = (BTreeSet::new(), Vec::new());
        self.targets.keys().for_each(|name| visit(self, name, &mut done, &mut out));
        out
    }
}
