//! `Chart.yaml`.

use serde_json::{Map, Value as Json};

use crate::value::{Entries, MapTy, Value, time};

/// What `Chart.yaml` says. Numbers given for texts are the texts that Go makes of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    /// `name`
    pub name: String,
    /// `home`
    pub home: String,
    /// `sources`
    pub sources: Vec<String>,
    /// `version`
    pub version: String,
    /// `description`
    pub description: String,
    /// `keywords`
    pub keywords: Vec<String>,
    /// `maintainers`: name, email, url.
    pub maintainers: Vec<(String, String, String)>,
    /// `icon`
    pub icon: String,
    /// `apiVersion`
    pub api_version: String,
    /// `condition`
    pub condition: String,
    /// `tags`
    pub tags: String,
    /// `appVersion`
    pub app_version: String,
    /// `deprecated`
    pub deprecated: bool,
    /// `annotations`
    pub annotations: Option<Vec<(String, String)>>,
    /// `kubeVersion`
    pub kube_version: String,
    /// `dependencies`
    pub dependencies: Vec<Dependency>,
    /// `type`: `application`, `library` or empty.
    pub chart_type: String,
    /// Whether a maintainer is `null`, which Helm refuses.
    null_maintainer: bool,
    /// The dependencies that are `null`, which Helm refuses, by their place.
    null_dependencies: Vec<usize>,
}

/// The fields of `Chart.yaml`.
const FIELDS: &[&str] = &[
    "annotations",
    "apiVersion",
    "appVersion",
    "condition",
    "dependencies",
    "deprecated",
    "description",
    "home",
    "icon",
    "keywords",
    "kubeVersion",
    "maintainers",
    "name",
    "sources",
    "tags",
    "type",
    "version",
];

/// A dependency that `Chart.yaml` names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dependency {
    /// `name`
    pub name: String,
    /// `version`: a constraint.
    pub version: String,
    /// `repository`
    pub repository: String,
    /// `condition`
    pub condition: String,
    /// `tags`
    pub tags: Vec<String>,
    /// `enabled`: shown, and of no effect.
    pub enabled: bool,
    /// `import-values`
    pub import_values: Vec<Json>,
    /// `alias`
    pub alias: String,
}

fn scalar(v: &Json) -> Option<String> {
    match v {
        Json::String(s) => Some(s.clone()),
        Json::Bool(b) => Some(b.to_string()),
        Json::Number(n) => Some(match n.as_f64() {
            Some(f) if n.is_f64() => goyaml::format_float32(f),
            _ => n.to_string(),
        }),
        _ => None,
    }
}

fn kind(v: &Json) -> &'static str {
    match v {
        Json::Null => "null",
        Json::Bool(_) => "bool",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

/// White space becomes a space, what is not printed is dropped.
fn clean(text: &str) -> String {
    text.chars()
        .filter_map(|c| if c.is_whitespace() { Some(' ') } else { crate::value::quote::is_print(c).then_some(c) })
        .collect()
}

/// A table of a list; `None` for `null`.
type Table<'a> = Option<&'a Map<String, Json>>;

/// What Go's `encoding/json` says of values that a struct's field cannot hold. Of several the first is told, in the order of keys.
struct Reader<'a> {
    map: &'a Map<String, Json>,
    /// Go's name of the struct.
    of: &'static str,
    /// The fields above it, each with a dot.
    above: &'static str,
}

impl<'a> Reader<'a> {
    /// The values of known fields, with the fields' names, in the order of keys: a key that is a field's name in other
    /// letters (`appversion`) is that field too.
    fn fields(&self, known: &[&'static str]) -> Vec<(&'static str, &'a Json)> {
        let mut pairs: Vec<(&String, &Json)> = self.map.iter().collect();
        pairs.sort_by_key(|(key, _)| key.as_str());
        pairs
            .into_iter()
            .filter_map(|(key, value)| {
                let exact = known.iter().find(|field| *field == key);
                exact.or_else(|| known.iter().find(|field| folded(field) == folded(key))).map(|field| (*field, value))
            })
            .collect()
    }

    fn wrong(&self, key: &str, v: &Json, want: &str) -> String {
        format!(
            "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go struct field {}.{}{key} of type {want}",
            kind(v),
            self.of,
            self.above,
        )
    }

    fn text(&self, key: &str, v: &Json, to: &mut String) -> Result<(), String> {
        if !v.is_null() {
            *to = scalar(v).ok_or_else(|| self.wrong(key, v, "string"))?;
        }
        Ok(())
    }

    fn texts(&self, key: &str, v: &Json, to: &mut Vec<String>) -> Result<(), String> {
        *to = match v {
            Json::Null => Vec::new(),
            Json::Array(items) => {
                let text = |item: &Json| match item {
                    Json::Null => Ok(String::new()),
                    item => scalar(item).ok_or_else(|| self.wrong(key, item, "string")),
                };
                items.iter().map(text).collect::<Result<_, _>>()?
            }
            v => return Err(self.wrong(key, v, "[]string")),
        };
        Ok(())
    }

    fn bool(&self, key: &str, v: &Json, to: &mut bool) -> Result<(), String> {
        match v {
            Json::Null => {}
            Json::Bool(b) => *to = *b,
            v => return Err(self.wrong(key, v, "bool")),
        }
        Ok(())
    }

    /// The items of a list of tables.
    fn tables(&self, key: &str, v: &'a Json, of: &str) -> Result<Vec<Result<Table<'a>, String>>, String> {
        match v {
            Json::Null => Ok(Vec::new()),
            Json::Array(items) => Ok(items
                .iter()
                .map(|item| match item {
                    Json::Null => Ok(None),
                    Json::Object(map) => Ok(Some(map)),
                    item => Err(self.wrong(key, item, &format!("v2.{of}"))),
                })
                .collect()),
            v => Err(self.wrong(key, v, &format!("[]*v2.{of}"))),
        }
    }
}

/// A key without regard to the case of its letters, as Go compares names of fields.
fn folded(key: &str) -> String {
    key.chars().flat_map(char::to_lowercase).map(|c| if c == '\u{17f}' { 's' } else { c }).collect()
}

fn merge_dependency(d: &mut Dependency, map: &Map<String, Json>, above: &'static str) -> Result<(), String> {
    let known = ["alias", "condition", "enabled", "import-values", "name", "repository", "tags", "version"];
    let r = Reader { map, of: "Dependency", above };
    for (key, v) in r.fields(&known) {
        match key {
            "alias" => r.text(key, v, &mut d.alias)?,
            "condition" => r.text(key, v, &mut d.condition)?,
            "enabled" => r.bool(key, v, &mut d.enabled)?,
            "import-values" => match v {
                Json::Null => d.import_values.clear(),
                Json::Array(items) => d.import_values.clone_from(items),
                v => return Err(r.wrong(key, v, "[]interface {}")),
            },
            "name" => r.text(key, v, &mut d.name)?,
            "repository" => r.text(key, v, &mut d.repository)?,
            "tags" => r.texts(key, v, &mut d.tags)?,
            _ => r.text(key, v, &mut d.version)?,
        }
    }
    Ok(())
}

/// Dependencies as Helm's structs take them, onto those that are there: of what `requirements.yaml` adds to a field the rest stays.
fn merge_dependencies(
    r: &Reader<'_>,
    v: &Json,
    to: &mut Vec<Dependency>,
    nulls: &mut Vec<usize>,
) -> Result<(), String> {
    let items = r.tables("dependencies", v, "Dependency")?;
    nulls.clear();
    to.resize(items.len(), Dependency::default());
    for (i, (item, d)) in items.into_iter().zip(to).enumerate() {
        match item? {
            Some(map) => merge_dependency(d, map, "dependencies.")?,
            None => nulls.push(i),
        }
    }
    Ok(())
}

/// Checks `Chart.lock`, which is read when it is needed.
///
/// # Errors
/// What is not YAML, or not of the types that Helm wants.
pub(crate) fn check_lock(text: &str) -> Result<(), String> {
    let value = goyaml::from_str(text).map_err(|e| format!("error converting YAML to JSON: {e}"))?;
    let map = match &value {
        Json::Object(map) => map,
        Json::Null => return Ok(()),
        v => return Err(not_a(v, "v2.Lock")),
    };
    let r = Reader { map, of: "Lock", above: "" };
    for (key, v) in r.fields(&["dependencies", "digest", "generated"]) {
        match key {
            "dependencies" => merge_dependencies(&r, v, &mut Vec::new(), &mut Vec::new())?,
            "digest" => r.text(key, v, &mut String::new())?,
            _ => generated(v)?,
        }
    }
    Ok(())
}

/// Checks the time at which a lock was written.
fn generated(v: &Json) -> Result<(), String> {
    const RFC3339: &str = "2006-01-02T15:04:05Z07:00";
    let wrong = |reason: String| format!("error unmarshaling JSON: while decoding JSON: {reason}");
    match v {
        Json::Null => Ok(()),
        Json::String(text) => time::parse(RFC3339, text, &time::Zone::Utc).map(drop).map_err(wrong),
        _ => Err(wrong("Time.UnmarshalJSON: input is not a JSON string".to_owned())),
    }
}

fn not_a(v: &Json, want: &str) -> String {
    format!(
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of type {want}",
        kind(v)
    )
}

impl Metadata {
    /// Reads `Chart.yaml`.
    ///
    /// # Errors
    /// What is not YAML, or not the type Helm wants.
    pub fn parse(text: &str) -> Result<Metadata, String> {
        let mut out = Metadata::default();
        out.merge(text)?;
        // A chart that does not say is of the first version.
        if out.api_version.is_empty() {
            out.api_version = "v1".to_owned();
        }
        Ok(out)
    }

    /// Adds what a text says: `Chart.yaml`, or the `requirements.yaml` beside it, which may hold any of its fields.
    ///
    /// # Errors
    /// As [`Metadata::parse`].
    pub fn merge(&mut self, text: &str) -> Result<(), String> {
        let value = goyaml::from_str(text).map_err(|e| format!("error converting YAML to JSON: {e}"))?;
        let map = match &value {
            Json::Object(map) => map,
            Json::Null => return Ok(()),
            v => return Err(not_a(v, "v2.Metadata")),
        };
        let r = Reader { map, of: "Metadata", above: "" };
        for (key, v) in r.fields(FIELDS) {
            match key {
                "annotations" => self.merge_annotations(&r, v)?,
                "apiVersion" => r.text(key, v, &mut self.api_version)?,
                "appVersion" => r.text(key, v, &mut self.app_version)?,
                "condition" => r.text(key, v, &mut self.condition)?,
                "dependencies" => merge_dependencies(&r, v, &mut self.dependencies, &mut self.null_dependencies)?,
                "deprecated" => r.bool(key, v, &mut self.deprecated)?,
                "description" => r.text(key, v, &mut self.description)?,
                "home" => r.text(key, v, &mut self.home)?,
                "icon" => r.text(key, v, &mut self.icon)?,
                "keywords" => r.texts(key, v, &mut self.keywords)?,
                "kubeVersion" => r.text(key, v, &mut self.kube_version)?,
                "maintainers" => self.merge_maintainers(&r, v)?,
                "name" => r.text(key, v, &mut self.name)?,
                "sources" => r.texts(key, v, &mut self.sources)?,
                "tags" => r.text(key, v, &mut self.tags)?,
                "type" => r.text(key, v, &mut self.chart_type)?,
                _ => r.text(key, v, &mut self.version)?,
            }
        }
        Ok(())
    }

    fn merge_annotations(&mut self, r: &Reader<'_>, v: &Json) -> Result<(), String> {
        let inner = match v {
            Json::Null => {
                self.annotations = None;
                return Ok(());
            }
            Json::Object(inner) => inner,
            v => return Err(r.wrong("annotations", v, "map[string]string")),
        };
        let pairs = self.annotations.get_or_insert_default();
        for (key, v) in inner {
            let mut text = String::new();
            r.text("annotations", v, &mut text)?;
            match pairs.iter_mut().find(|(k, _)| k == key) {
                Some((_, old)) => *old = text,
                None => pairs.push((key.clone(), text)),
            }
        }
        Ok(())
    }

    fn merge_maintainers(&mut self, r: &Reader<'_>, v: &Json) -> Result<(), String> {
        let items = r.tables("maintainers", v, "Maintainer")?;
        self.null_maintainer = false;
        self.maintainers.resize(items.len(), Default::default());
        for (item, person) in items.into_iter().zip(&mut self.maintainers) {
            let Some(map) = item? else {
                self.null_maintainer = true;
                continue;
            };
            let r = Reader { map, of: "Maintainer", above: "maintainers." };
            for (key, v) in r.fields(&["email", "name", "url"]) {
                match key {
                    "email" => r.text(key, v, &mut person.1)?,
                    "name" => r.text(key, v, &mut person.0)?,
                    _ => r.text(key, v, &mut person.2)?,
                }
            }
        }
        Ok(())
    }

    /// Normalises texts as Helm does when it checks a chart: white space, and what is not printed.
    fn clean(&mut self) {
        let texts = [
            &mut self.name,
            &mut self.description,
            &mut self.home,
            &mut self.icon,
            &mut self.condition,
            &mut self.tags,
            &mut self.app_version,
            &mut self.kube_version,
        ];
        let people = self.maintainers.iter_mut().flat_map(|(name, email, url)| [name, email, url]);
        let needed = self.dependencies.iter_mut().flat_map(|d| {
            [&mut d.name, &mut d.version, &mut d.repository, &mut d.condition].into_iter().chain(&mut d.tags)
        });
        let lists = self.sources.iter_mut().chain(&mut self.keywords);
        for text in texts.into_iter().chain(people).chain(needed).chain(lists) {
            if !text.bytes().all(|b| matches!(b, b' '..=b'~')) {
                *text = clean(text);
            }
        }
    }

    /// What Helm requires, with texts made as Helm makes them.
    ///
    /// # Errors
    /// Helm's message.
    pub fn validate(&mut self) -> Result<(), String> {
        self.clean();
        if self.name.is_empty() {
            return Err("chart.metadata.name is required".to_owned());
        }
        if self.name.contains('/') && self.name != "/" {
            return Err(format!("chart.metadata.name {} is invalid", crate::value::quote::quote(&self.name)));
        }
        if self.version.is_empty() {
            return Err("chart.metadata.version is required".to_owned());
        }
        if crate::funcs::semver::Version::parse(&self.version).is_err() {
            return Err(format!("chart.metadata.version {} is invalid", crate::value::quote::quote(&self.version)));
        }
        if !matches!(self.chart_type.as_str(), "" | "application" | "library") {
            return Err("chart.metadata.type must be application or library".to_owned());
        }
        let alias_ok = |a: &str| a.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        if self.null_maintainer {
            return Err("maintainers must not contain empty or null nodes".to_owned());
        }
        let mut seen = std::collections::BTreeSet::new();
        for (i, d) in self.dependencies.iter().enumerate() {
            if self.null_dependencies.contains(&i) {
                return Err("dependencies must not contain empty or null nodes".to_owned());
            }
            if !alias_ok(&d.alias) {
                return Err(format!(
                    "dependency {} has disallowed characters in the alias",
                    crate::value::quote::quote(&d.name)
                ));
            }
            let key = if d.alias.is_empty() { &d.name } else { &d.alias };
            if !seen.insert(key) {
                return Err(format!("more than one dependency with name or alias {}", crate::value::quote::quote(key)));
            }
        }
        Ok(())
    }

    /// `.Chart` as templates see it, under the name that a parent may have given it.
    pub(crate) fn to_value(&self, name: &str, root: bool, dependencies: &[Dependency]) -> Value {
        let texts = |items: &[String]| Value::list(items.iter().map(Value::str).collect());
        let maintainers = self.maintainers.iter().map(|(name, email, url)| maintainer(name, email, url)).collect();
        let annotations = match &self.annotations {
            None => Value::map_of(MapTy::NilStr, Entries::new()),
            Some(pairs) => {
                Value::map_of(MapTy::Str, pairs.iter().map(|(k, v)| (k.as_str().into(), Value::str(v))).collect())
            }
        };
        let fields: [(&str, Value); 18] = [
            ("APIVersion", Value::str(&self.api_version)),
            ("Annotations", annotations),
            ("AppVersion", Value::str(&self.app_version)),
            ("Condition", Value::str(&self.condition)),
            ("Dependencies", Value::list(dependencies.iter().map(dependency).collect())),
            ("Deprecated", Value::Bool(self.deprecated)),
            ("Description", Value::str(&self.description)),
            ("Home", Value::str(&self.home)),
            ("Icon", Value::str(&self.icon)),
            ("IsRoot", Value::Bool(root)),
            ("Keywords", texts(&self.keywords)),
            ("KubeVersion", Value::str(&self.kube_version)),
            ("Maintainers", Value::list(maintainers)),
            ("Name", Value::str(name)),
            ("Sources", texts(&self.sources)),
            ("Tags", Value::str(&self.tags)),
            ("Type", Value::str(&self.chart_type)),
            ("Version", Value::str(&self.version)),
        ];
        Value::map(fields.into_iter().map(|(k, v)| (k.into(), v)).collect())
    }
}

fn maintainer(name: &str, email: &str, url: &str) -> Value {
    let fields = [("Name", name), ("Email", email), ("URL", url)];
    Value::map(fields.into_iter().map(|(k, v)| (k.into(), Value::str(v))).collect())
}

fn dependency(d: &Dependency) -> Value {
    let fields = [
        ("Name", Value::str(&d.name)),
        ("Version", Value::str(&d.version)),
        ("Repository", Value::str(&d.repository)),
        ("Condition", Value::str(&d.condition)),
        ("Tags", Value::list(d.tags.iter().map(Value::str).collect())),
        ("Enabled", Value::Bool(true)),
        ("ImportValues", Value::list(d.import_values.iter().map(crate::value::json::from_serde).collect())),
        ("Alias", Value::str(&d.alias)),
    ];
    Value::map(fields.into_iter().map(|(k, v)| (k.into(), v)).collect())
}
