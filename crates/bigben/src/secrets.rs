//! The secrets that a workflow needs to name an image, worked out from the images that are to be there.
//!
//! A workflow writes `${{ secrets.USER }}/${{ secrets.PREFIX }}-${{ matrix.app }}:...` where the chart says
//! `docker.io/acme/shop-web:1.2`. On GitHub a person enters both values; here the platform has the same knowledge and solves for them.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

/// Values of secrets, by name.
pub type Solution = BTreeMap<String, String>;

/// Works out secrets from `templates` (texts of workflows that name images) and `images` (full references). `alternatives` are
/// the values that matrix entries can have, by expression such as `matrix.app`.
pub fn solve(templates: &[String], images: &[String], alternatives: &BTreeMap<String, BTreeSet<String>>) -> Solution {
    let mut candidates: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for template in templates {
        let Some(pattern) = pattern(template, alternatives).filter(|pattern| !pattern.secrets.is_empty()) else {
            continue;
        };
        for image in images {
            for written in spellings(image) {
                let Some(found) = pattern.regex.captures(&written) else { continue };
                for (group, secret) in pattern.secrets.iter().enumerate() {
                    if let Some(value) = found.name(&format!("s{group}")) {
                        candidates.entry(secret.clone()).or_default().insert(value.as_str().to_owned());
                    }
                }
                break;
            }
        }
    }
    // What has two values is a guess, and no guess is made.
    candidates
        .into_iter()
        .filter(|(_, values)| values.len() == 1)
        .filter_map(|(name, values)| Some((name, values.into_iter().next()?)))
        .collect()
}

/// Whether one of the templates can come to name the image.
pub fn is_named(image: &str, templates: &[String], alternatives: &BTreeMap<String, BTreeSet<String>>) -> bool {
    let spellings = spellings(image);
    let mut patterns = templates.iter().filter_map(|template| pattern(template, alternatives));
    patterns.any(|pattern| spellings.iter().any(|written| pattern.regex.is_match(written)))
}

/// The texts in a workflow that may name an image: words with an expression and a slash in them.
pub fn templates(workflow: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in workflow.lines() {
        let Some(start) = line.find("${{") else { continue };
        if !line.contains('/') {
            continue;
        }
        // From the beginning of the word that the expression stands in.
        let begin = line[..start].rfind([' ', '"', '\'', '=', ',']).map_or(0, |place| place + 1);
        let mut text = line[begin..].trim_end().trim_end_matches(['"', '\'']).to_owned();
        if let Some(end) = end_of_word(&text) {
            text.truncate(end);
        }
        found.push(text);
    }
    found
}

/// Where a word ends, expressions (which may hold spaces) counted as part of it.
fn end_of_word(text: &str) -> Option<usize> {
    let mut rest = 0;
    loop {
        let space = text[rest..].find([' ', '"', '\'']).map(|place| place + rest)?;
        match text[rest..].find("${{").map(|place| place + rest) {
            Some(open) if open < space => rest = open + text[open..].find("}}")? + 2,
            _ => return Some(space),
        }
    }
}

struct Pattern {
    regex: Regex,
    secrets: Vec<String>,
}

fn pattern(template: &str, alternatives: &BTreeMap<String, BTreeSet<String>>) -> Option<Pattern> {
    let mut text = String::from("^");
    let mut secrets: Vec<String> = Vec::new();
    let mut rest = template;
    while let Some(open) = rest.find("${{") {
        text.push_str(&regex::escape(&rest[..open]));
        let close = rest[open..].find("}}")? + open;
        let expression = rest[open + 3..close].trim();
        rest = &rest[close + 2..];
        if let Some(secret) = expression.strip_prefix("secrets.") {
            // A secret that comes twice is one value; the regex crate has no back-references, so the second is free.
            let known = secrets.iter().any(|seen| seen == secret);
            if known {
                text.push_str("[^/:@]+");
            } else {
                text.push_str(&format!("(?P<s{}>[^/:@]+)", secrets.len()));
                secrets.push(secret.to_owned());
            }
        } else if let Some(values) = alternatives.get(expression).filter(|values| !values.is_empty()) {
            let values: Vec<String> = values.iter().map(|value| regex::escape(value)).collect();
            text.push_str(&format!("(?:{})", values.join("|")));
        } else if expression == "github.repository" {
            text.push_str("[^/:@]+/[^/:@]+");
        } else {
            text.push_str("[^/@]+");
        }
    }
    text.push_str(&regex::escape(rest));
    // A template without a tag names the repository.
    text.push_str("(?::[^/]+)?(?:@.*)?$");
    let regex = Regex::new(&text).ok()?;
    Some(Pattern { regex, secrets })
}

/// The ways in which an image of Docker Hub is written.
fn spellings(image: &str) -> Vec<String> {
    let mut spellings = vec![image.to_owned()];
    for host in ["docker.io/", "registry-1.docker.io/", "index.docker.io/"] {
        if let Some(short) = image.strip_prefix(host) {
            spellings.push(short.to_owned());
            spellings.push(format!("docker.io/{short}"));
        }
    }
    spellings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[&str]) -> BTreeSet<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn user_and_prefix_come_from_the_images() {
        let workflow = "      IMAGE: ${{ secrets.USER }}/${{ secrets.PREFIX }}-${{ matrix.app }}\n";
        let alternatives = BTreeMap::from([("matrix.app".to_owned(), set(&["shop-web", "api"]))]);
        let images = ["docker.io/acme/big-shop-web:1".to_owned(), "docker.io/acme/big-api:2".to_owned()];
        let solution = solve(&templates(workflow), &images, &alternatives);
        assert_eq!(solution["USER"], "acme");
        assert_eq!(solution["PREFIX"], "big");
    }

    #[test]
    fn an_image_is_named_by_a_template_that_can_come_to_it() {
        let alternatives = BTreeMap::from([("matrix.app".to_owned(), set(&["web", "api"]))]);
        let named = |image: &str, template: &str| is_named(image, &[template.to_owned()], &alternatives);
        assert!(named("docker.io/acme/web:1", "${{ vars.OWNER }}/${{ matrix.app }}:${{ github.sha }}"));
        assert!(!named("docker.io/bitnami/redis:7", "${{ vars.OWNER }}/${{ matrix.app }}:${{ github.sha }}"));
        assert!(named("ghcr.io/acme/shop:1", "ghcr.io/${{ github.repository }}:${{ github.ref_name }}"));
        assert!(!named("docker.io/library/redis:7", "ghcr.io/${{ github.repository }}:7"));
    }

    #[test]
    fn two_possible_values_are_none() {
        let alternatives = BTreeMap::new();
        let images = ["docker.io/a/x:1".to_owned(), "docker.io/b/x:1".to_owned()];
        let solution = solve(&["${{ secrets.U }}/x".to_owned()], &images, &alternatives);
        assert!(solution.is_empty(), "{solution:?}");
    }

    #[test]
    fn templates_are_words_with_an_expression_and_a_slash() {
        let workflow = "run: docker push ghcr.io/${{ secrets.U }}/x:${{ github.sha }} && true\n\
                        tags: \"${{ secrets.U }}/y:latest\"\n\
                        username: ${{ secrets.U }}\n";
        assert_eq!(templates(workflow), ["ghcr.io/${{ secrets.U }}/x:${{ github.sha }}", "${{ secrets.U }}/y:latest"]);
    }
}
