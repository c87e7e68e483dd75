//! `.helmignore`.

use crate::files::glob::Glob;

/// The rules of a `.helmignore`, with Helm's own `templates/.?*` in front.
#[derive(Debug, Clone)]
pub struct Rules {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    negate: bool,
    dir_only: bool,
    /// Matches the whole path rather than the last name.
    whole: bool,
    glob: Glob,
}

impl Default for Rules {
    fn default() -> Self {
        let mut rules = Rules { rules: Vec::new() };
        // Files in templates/ that begin with a point.
        if let Ok(Some(rule)) = Rule::parse("templates/.?*") {
            rules.rules.push(rule);
        }
        rules
    }
}

impl Rules {
    /// Parses the text of a `.helmignore`.
    ///
    /// # Errors
    /// A rule that Helm does not support (`**`), or no pattern.
    pub fn parse(text: &str) -> Result<Rules, String> {
        let mut rules = Vec::new();
        for line in text.trim_start_matches('\u{feff}').lines() {
            rules.extend(Rule::parse(line.trim())?);
        }
        rules.extend(Rules::default().rules);
        Ok(Rules { rules })
    }

    /// Whether a path in the chart is left out.
    pub fn ignores(&self, path: &str, is_dir: bool) -> bool {
        if path.is_empty() || path == "." || path == "./" {
            return false;
        }
        for rule in &self.rules {
            let target = if rule.whole { path } else { path.rsplit('/').next().unwrap_or(path) };
            let hit = rule.glob.matches(target);
            if rule.negate {
                if rule.dir_only && !is_dir {
                    return true;
                }
                if !hit {
                    return true;
                }
                continue;
            }
            if rule.dir_only && !is_dir {
                continue;
            }
            if hit {
                return true;
            }
        }
        false
    }
}

impl Rule {
    fn parse(line: &str) -> Result<Option<Rule>, String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        if line.contains("**") {
            return Err("double-star (**) syntax is not supported".to_owned());
        }
        let (negate, line) = match line.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let (dir_only, line) = match line.strip_suffix('/') {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let (whole, line) = match line.strip_prefix('/') {
            Some(rest) => (true, rest),
            None => (line.contains('/'), line),
        };
        // filepath.Match has no braces: they stand for themselves.
        let escaped = line.replace('{', "\\{").replace('}', "\\}").replace("[^", "[!");
        let glob = Glob::parse(&escaped).map_err(|_| "syntax error in pattern".to_owned())?;
        Ok(Some(Rule { negate, dir_only, whole, glob }))
    }
}
