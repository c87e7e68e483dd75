//! `Chart.yaml`.

use serde_json::Value as Json;

use crate::value::{Entries, MapTy, Value};

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
}

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
    /// `import-values`
    pub import_values: Vec<Json>,
    /// `alias`
    pub alias: String,
}

fn scalar(v: &Json) -> Option<String> {
    match v {
        Json::String(s) => Some(s.clone()),
        Json::Bool(b) => Some(b.to_string()),
        Json::Number(n) => Some(match (n.as_i64(), n.as_f64()) {
            (Some(i), _) => i.to_string(),
            (None, Some(f)) => goyaml::format_float(f),
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

struct Reader<'a> {
    map: &'a serde_json::Map<String, Json>,
    of: &'static str,
}

impl Reader<'_> {
    fn wrong(&self, key: &str, v: &Json, want: &str) -> String {
        format!(
            "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go struct field {}.{key} of type {want}",
            kind(v),
            self.of
        )
    }

    fn text(&self, key: &str) -> Result<String, String> {
        match self.map.get(key) {
            None | Some(Json::Null) => Ok(String::new()),
            Some(v) => scalar(v).ok_or_else(|| self.wrong(key, v, "string")),
        }
    }

    fn texts(&self, key: &str) -> Result<Vec<String>, String> {
        match self.map.get(key) {
            None | Some(Json::Null) => Ok(Vec::new()),
            Some(Json::Array(items)) => {
                items.iter().map(|i| scalar(i).ok_or_else(|| self.wrong(key, i, "string"))).collect()
            }
            Some(v) => Err(self.wrong(key, v, "[]string")),
        }
    }

    fn bool(&self, key: &str) -> Result<bool, String> {
        match self.map.get(key) {
            None | Some(Json::Null) => Ok(false),
            Some(Json::Bool(b)) => Ok(*b),
            Some(v) => Err(self.wrong(key, v, "bool")),
        }
    }

    fn objects(&self, key: &str, of: &str) -> Result<Vec<&serde_json::Map<String, Json>>, String> {
        match self.map.get(key) {
            None | Some(Json::Null) => Ok(Vec::new()),
            Some(Json::Array(items)) => items
                .iter()
                .filter(|i| !i.is_null())
                .map(|i| i.as_object().ok_or_else(|| self.wrong(key, i, &format!("v2.{of}"))))
                .collect(),
            Some(v) => Err(self.wrong(key, v, &format!("[]*v2.{of}"))),
        }
    }
}

fn dependencies(reader: &Reader<'_>) -> Result<Vec<Dependency>, String> {
    reader
        .objects("dependencies", "Dependency")?
        .into_iter()
        .map(|map| {
            let r = Reader { map, of: "Dependency" };
            let text = |key: &str| r.text(key).map(|t| clean(&t));
            Ok(Dependency {
                name: text("name")?,
                version: text("version")?,
                repository: text("repository")?,
                condition: text("condition")?,
                tags: r.texts("tags")?.iter().map(|t| clean(t)).collect(),
                import_values: map.get("import-values").and_then(Json::as_array).cloned().unwrap_or_default(),
                alias: r.text("alias")?,
            })
        })
        .collect()
}

impl Metadata {
    /// Reads `Chart.yaml`.
    ///
    /// # Errors
    /// What is not YAML, or not the type Helm wants.
    pub fn parse(text: &str) -> Result<Metadata, String> {
        let value = goyaml::from_str(text).map_err(|e| format!("error converting YAML to JSON: {e}"))?;
        let empty = serde_json::Map::new();
        let map = match &value {
            Json::Object(map) => map,
            Json::Null => &empty,
            v => {
                return Err(format!(
                    "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of type v2.Metadata",
                    kind(v)
                ));
            }
        };
        let r = Reader { map, of: "Metadata" };
        // In the order of keys: of several wrong fields the first is named.
        let annotations = match map.get("annotations") {
            None | Some(Json::Null) => None,
            Some(Json::Object(inner)) => {
                let text = |v: &Json| match v {
                    Json::Null => Ok(String::new()),
                    v => scalar(v).ok_or_else(|| r.wrong("annotations", v, "string")),
                };
                Some(inner.iter().map(|(k, v)| Ok((k.clone(), text(v)?))).collect::<Result<_, String>>()?)
            }
            Some(v) => return Err(r.wrong("annotations", v, "map[string]string")),
        };
        let text = |key: &str| r.text(key).map(|t| clean(&t));
        let texts = |key: &str| r.texts(key).map(|t| t.iter().map(|t| clean(t)).collect());
        Ok(Metadata {
            annotations,
            // A chart that does not say is of the first version.
            api_version: Some(r.text("apiVersion")?).filter(|v| !v.is_empty()).unwrap_or_else(|| "v1".to_owned()),
            app_version: text("appVersion")?,
            condition: text("condition")?,
            dependencies: dependencies(&r)?,
            deprecated: r.bool("deprecated")?,
            description: text("description")?,
            home: text("home")?,
            icon: text("icon")?,
            keywords: texts("keywords")?,
            kube_version: text("kubeVersion")?,
            maintainers: r
                .objects("maintainers", "Maintainer")?
                .into_iter()
                .map(|map| {
                    let r = Reader { map, of: "Maintainer" };
                    let email = r.text("email")?;
                    Ok((r.text("name")?, email, r.text("url")?))
                })
                .collect::<Result<_, String>>()?,
            name: text("name")?,
            sources: texts("sources")?,
            tags: text("tags")?,
            chart_type: r.text("type")?,
            version: r.text("version")?,
        })
    }

    /// Adds what `requirements.yaml` of a chart of version 1 says.
    ///
    /// # Errors
    /// As [`Metadata::parse`].
    pub fn add_requirements(&mut self, text: &str) -> Result<(), String> {
        let value = goyaml::from_str(text).map_err(|e| format!("error converting YAML to JSON: {e}"))?;
        if let Json::Object(map) = &value {
            self.dependencies.extend(dependencies(&Reader { map, of: "Metadata" })?);
        }
        Ok(())
    }

    /// What Helm requires.
    ///
    /// # Errors
    /// Helm's message.
    pub fn validate(&self) -> Result<(), String> {
        if self.name.is_empty() {
            return Err("chart.metadata.name is required".to_owned());
        }
        if self.name.contains('/') {
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
        let mut seen = std::collections::BTreeSet::new();
        for d in &self.dependencies {
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
