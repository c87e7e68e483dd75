//! `docker/metadata-action`: names and labels of an image from what the run is about. Pure.

use serde_json::Value as Json;

/// The action's inputs.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub images: Vec<String>,
    pub tags: Vec<String>,
    pub flavor: Vec<String>,
    pub labels: Vec<String>,
}

/// What the run is about.
#[derive(Debug)]
pub(super) struct Facts {
    pub git_ref: String,
    pub sha: String,
    pub event: String,
    pub default_branch: String,
    pub base_ref: String,
    pub head_ref: String,
    pub repository: Json,
    pub full_name: String,
    pub server: String,
    pub now: jiff::Timestamp,
}

/// The action's outputs.
#[derive(Debug)]
pub(super) struct Metadata {
    pub version: String,
    pub tags: Vec<String>,
    pub names: Vec<String>,
    pub labels: Vec<String>,
}

struct Rule {
    kind: String,
    attributes: Vec<(String, String)>,
}

impl Rule {
    fn parse(line: &str) -> Self {
        let mut rule = Rule { kind: "raw".to_owned(), attributes: Vec::new() };
        for (i, part) in split(line).into_iter().enumerate() {
            match part.split_once('=') {
                Some(("type", kind)) => rule.kind = kind.trim().to_owned(),
                Some((name, value)) => rule.attributes.push((name.trim().to_owned(), value.trim().to_owned())),
                None if i == 0 => rule.attributes.push(("value".to_owned(), part.trim().to_owned())),
                None => rule.attributes.push((part.trim().to_owned(), String::new())),
            }
        }
        rule
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn priority(&self) -> i64 {
        self.get("priority").and_then(|text| text.parse().ok()).unwrap_or(match self.kind.as_str() {
            "schedule" => 1000,
            "semver" | "pep440" => 900,
            "match" => 800,
            "edge" => 700,
            "ref" => 600,
            "raw" => 200,
            _ => 100,
        })
    }
}

/// Splits at commas outside quotes.
fn split(line: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => out.push(String::new()),
            c => out.last_mut().expect("never empty").push(c),
        }
    }
    out
}

const DEFAULT: &[&str] = &["type=schedule", "type=ref,event=branch", "type=ref,event=tag", "type=ref,event=pr"];

pub(super) fn compute(request: &Request, facts: &Facts) -> Result<Metadata, String> {
    let lines: Vec<String> = if request.tags.is_empty() {
        DEFAULT.iter().map(|line| (*line).to_owned()).collect()
    } else {
        request.tags.clone()
    };
    let mut rules: Vec<Rule> = lines.iter().map(|line| Rule::parse(line)).collect();
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.priority()));
    let mut flavor_latest = "auto".to_owned();
    let (mut prefix, mut suffix) = (String::new(), String::new());
    for line in &request.flavor {
        for part in split(line) {
            match part.split_once('=') {
                Some(("latest", value)) => flavor_latest = expand(value, facts)?,
                Some(("prefix", value)) => prefix = expand(value, facts)?,
                Some(("suffix", value)) => suffix = expand(value, facts)?,
                Some(("onlatest", "false")) | None => {}
                _ => return Err(format!("the flavor '{part}' is not supported by the builtin action")),
            }
        }
    }
    let mut names: Vec<String> = Vec::new();
    let mut latest = flavor_latest == "true";
    for rule in &rules {
        if let Some(enable) = rule.get("enable")
            && expand(enable, facts)? != "true"
        {
            continue;
        }
        let Some((value, makes_latest)) = value_of(rule, facts)? else { continue };
        let value = format!(
            "{}{}{}",
            rule.get("prefix").map_or(Ok(prefix.clone()), |text| expand(text, facts))?,
            value,
            rule.get("suffix").map_or(Ok(suffix.clone()), |text| expand(text, facts))?
        );
        let value = sanitize(&value);
        if !value.is_empty() && !names.contains(&value) {
            names.push(value);
        }
        latest |= makes_latest && flavor_latest == "auto";
    }
    if latest && !names.is_empty() && !names.contains(&"latest".to_owned()) {
        names.push("latest".to_owned());
    }
    let version = names.first().cloned().unwrap_or_default();
    let images: Vec<String> = request
        .images
        .iter()
        .map(|image| image.split(',').next().unwrap_or(image).trim().trim_start_matches("name=").to_lowercase())
        .collect();
    let tags = images.iter().flat_map(|image| names.iter().map(move |name| format!("{image}:{name}"))).collect();
    let text = |pointer: &str| facts.repository.pointer(pointer).and_then(Json::as_str).unwrap_or_default().to_owned();
    let url = format!("{}/{}", facts.server, facts.full_name);
    let mut labels = vec![
        format!("org.opencontainers.image.created={}", facts.now.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")),
        format!("org.opencontainers.image.description={}", text("/description")),
        format!("org.opencontainers.image.licenses={}", text("/license/spdx_id")),
        format!("org.opencontainers.image.revision={}", facts.sha),
        format!("org.opencontainers.image.source={url}"),
        format!("org.opencontainers.image.title={}", facts.full_name.rsplit('/').next().unwrap_or_default()),
        format!("org.opencontainers.image.url={url}"),
        format!("org.opencontainers.image.version={version}"),
    ];
    for label in &request.labels {
        let name = label.split('=').next().unwrap_or_default();
        labels.retain(|known| known.split('=').next() != Some(name));
        labels.push(expand(label, facts)?);
    }
    Ok(Metadata { version, tags, names, labels })
}

/// The name that a rule gives, and whether it makes `latest` too.
fn value_of(rule: &Rule, facts: &Facts) -> Result<Option<(String, bool)>, String> {
    let tag = facts.git_ref.strip_prefix("refs/tags/");
    let branch = facts.git_ref.strip_prefix("refs/heads/");
    let pull = facts.git_ref.strip_prefix("refs/pull/").and_then(|rest| rest.split('/').next());
    Ok(match rule.kind.as_str() {
        "ref" => match rule.get("event").unwrap_or("branch") {
            "branch" => branch.map(|name| (name.to_owned(), false)),
            "tag" => tag.map(|name| (name.to_owned(), true)),
            "pr" => pull.map(|number| {
                (if rule.get("prefix").is_none() { format!("pr-{number}") } else { number.to_owned() }, false)
            }),
            other => return Err(format!("the event '{other}' of type=ref is not one of branch, tag, pr")),
        },
        "sha" => {
            let sha = if rule.get("format") == Some("long") {
                facts.sha.as_str()
            } else {
                facts.sha.get(..7).unwrap_or(&facts.sha)
            };
            Some((if rule.get("prefix").is_none() { format!("sha-{sha}") } else { sha.to_owned() }, false))
        }
        "raw" => Some((expand(rule.get("value").unwrap_or_default(), facts)?, false)),
        "edge" => branch
            .filter(|name| *name == rule.get("branch").unwrap_or(&facts.default_branch))
            .map(|_| ("edge".to_owned(), false)),
        "schedule" => (facts.event == "schedule").then(|| {
            let pattern = rule.get("pattern").unwrap_or("nightly");
            (pattern.replace("{{date 'YYYYMMDD'}}", &facts.now.strftime("%Y%m%d").to_string()), false)
        }),
        "match" => {
            let Some(text) = rule.get("value").filter(|v| !v.is_empty()).or(tag) else { return Ok(None) };
            let pattern = rule.get("pattern").unwrap_or_default();
            let (pattern, mut group) = match pattern.strip_prefix('/').and_then(|rest| rest.rsplit_once('/')) {
                Some((pattern, _)) => (pattern, 0),
                None => (pattern, 0),
            };
            if let Some(number) = rule.get("group") {
                group = number.parse().map_err(|_| format!("the group '{number}' is not a number"))?;
            }
            let regex = regex::Regex::new(pattern)
                .map_err(|error| format!("the pattern '{pattern}' is not supported: {error}"))?;
            regex.captures(text).and_then(|found| found.get(group).map(|m| (m.as_str().to_owned(), true)))
        }
        "semver" | "pep440" => {
            let Some(text) = rule.get("value").filter(|v| !v.is_empty()).or(tag) else { return Ok(None) };
            let text = expand(text, facts)?;
            semver(rule.get("pattern").unwrap_or("{{version}}"), text.trim_start_matches('v'), &text)
        }
        other => return Err(format!("the tag type '{other}' is not supported by the builtin docker/metadata-action")),
    })
}

fn semver(pattern: &str, version: &str, raw: &str) -> Option<(String, bool)> {
    let core = version.split(['-', '+']).next()?;
    let numbers: Vec<&str> = core.split('.').collect();
    if numbers.len() != 3 || numbers.iter().any(|n| n.parse::<u64>().is_err()) {
        return None;
    }
    let plain = version.split('+').next().unwrap_or(version);
    // A pre-release has no shorter names, as in the original.
    if version.contains('-') {
        let value = if pattern.contains("{{raw}}") { raw.to_owned() } else { plain.to_owned() };
        return Some((value, false));
    }
    let value = pattern
        .replace("{{version}}", plain)
        .replace("{{raw}}", raw)
        .replace("{{major}}", numbers[0])
        .replace("{{minor}}", numbers[1])
        .replace("{{patch}}", numbers[2]);
    Some((value, true))
}

/// Global expressions such as `{{branch}}`.
fn expand(text: &str, facts: &Facts) -> Result<String, String> {
    let strip = |prefix: &str| facts.git_ref.strip_prefix(prefix).unwrap_or_default().to_owned();
    let base = if facts.base_ref.is_empty() { String::new() } else { facts.base_ref.clone() };
    let out = text
        .replace("{{branch}}", &strip("refs/heads/"))
        .replace("{{tag}}", &strip("refs/tags/"))
        .replace("{{sha}}", facts.sha.get(..7).unwrap_or(&facts.sha))
        .replace("{{base_ref}}", &base)
        .replace("{{head_ref}}", &facts.head_ref)
        .replace("{{is_default_branch}}", if strip("refs/heads/") == facts.default_branch { "true" } else { "false" })
        .replace("{{date 'YYYYMMDD'}}", &facts.now.strftime("%Y%m%d").to_string())
        .replace("{{date 'YYYYMMDD-HHmmss'}}", &facts.now.strftime("%Y%m%d-%H%M%S").to_string());
    if out.contains("{{") {
        return Err(format!("the expression in '{text}' is not supported by the builtin docker/metadata-action"));
    }
    Ok(out)
}

fn sanitize(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
        .collect::<String>()
        .trim_start_matches(['.', '-'])
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(git_ref: &str, tags: &[&str]) -> Vec<String> {
        let facts = Facts {
            git_ref: git_ref.to_owned(),
            sha: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            event: "push".to_owned(),
            default_branch: "main".to_owned(),
            base_ref: String::new(),
            head_ref: String::new(),
            repository: Json::Null,
            full_name: "o/r".to_owned(),
            server: "https://github.com".to_owned(),
            now: "2026-11-23T10:00:00Z".parse().unwrap(),
        };
        let request = Request {
            images: vec!["user/App".to_owned()],
            tags: tags.iter().map(|t| (*t).to_owned()).collect(),
            ..Request::default()
        };
        compute(&request, &facts).unwrap().names
    }

    #[test]
    fn the_documented_cases() {
        assert_eq!(names("refs/heads/main", &[]), ["main"]);
        assert_eq!(names("refs/heads/my/feature", &[]), ["my-feature"]);
        assert_eq!(names("refs/tags/v1.2.3", &[]), ["v1.2.3", "latest"]);
        assert_eq!(names("refs/pull/2/merge", &[]), ["pr-2"]);
        assert_eq!(
            names("refs/tags/v1.2.3", &["type=semver,pattern={{version}}", "type=semver,pattern={{major}}.{{minor}}"]),
            ["1.2.3", "1.2", "latest"]
        );
        assert_eq!(names("refs/tags/v2.0.8-beta.67", &["type=semver,pattern={{version}}"]), ["2.0.8-beta.67"]);
        assert_eq!(
            names("refs/heads/main", &["type=sha", "type=raw,value=x,enable={{is_default_branch}}"]),
            ["x", "sha-0123456"]
        );
        assert_eq!(names("refs/heads/dev", &["type=edge,branch=dev"]), ["edge"]);
    }
}
