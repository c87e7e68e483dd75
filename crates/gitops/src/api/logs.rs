//! The logs of an Application's Pods.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream::{Peekable, SelectAll};
use futures::{Stream, StreamExt, stream};
use serde_json::{Value, json};

use super::applications::find;
use super::{Api, Parameters, Refusal, tree};

/// One line of a Pod's log.
struct Line {
    /// RFC 3339, with fractions of a second.
    at: String,
    pod: String,
    text: String,
}

type Lines = Pin<Box<dyn Stream<Item = Line> + Send>>;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/applications/{name}/logs", get(logs))
        .route("/api/v1/applications/{name}/pods/{pod}/logs", get(logs_of_pod))
}

async fn logs_of_pod(
    api: State<Api>,
    Path((name, pod)): Path<(String, String)>,
    Query(mut query): Parameters,
) -> Result<Response, Refusal> {
    query.insert("podName".to_owned(), pod);
    logs(api, Path(name), Query(query)).await
}

/// Each line as a JSON object, in the order of time, or as they come where they are followed.
async fn logs(State(api): State<Api>, Path(name): Path<String>, Query(query): Parameters) -> Result<Response, Refusal> {
    find(&api, &name)?;
    let of = |name: &str| query.get(name).map_or("", String::as_str);
    let mut asked = vec![("timestamps".to_owned(), "true".to_owned())];
    for field in ["container", "sinceSeconds", "sinceTime", "tailLines", "follow", "previous"] {
        if !of(field).is_empty() {
            asked.push((field.to_owned(), of(field).to_owned()));
        }
    }
    let mut sources: Vec<Lines> = Vec::new();
    for (namespace, pod) in pods(&tree::resource_tree(&api.room, &name), &query) {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/log");
        let lines = api.room.cluster.api.lines(&path, &asked).await?;
        sources
            .push(Box::pin(lines.filter_map(move |line| std::future::ready(line.ok().map(|line| read(&line, &pod))))));
    }
    let merged: Lines = if of("follow") == "true" {
        Box::pin(sources.into_iter().collect::<SelectAll<_>>())
    } else {
        Box::pin(in_order(sources))
    };
    let (until, filter) = (of("untilTime").to_owned(), of("filter").to_owned());
    let any_case = of("matchCase") != "true";
    let lines = merged
        .take_while(move |line| std::future::ready(until.is_empty() || line.at <= until))
        .filter(move |line| std::future::ready(passes(&line.text, &filter, any_case)))
        .map(|line| entry(&line, false))
        .chain(stream::once(async {
            entry(&Line { at: objects::time::now(), pod: String::new(), text: String::new() }, true)
        }))
        .map(|entry| Ok::<_, std::convert::Infallible>(format!("{}\n", json!({"result": entry}))));
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response())
}

/// The Pods of a tree that are asked for, by themselves or by something that they belong to.
fn pods(tree: &Value, query: &HashMap<String, String>) -> Vec<(String, String)> {
    let nodes = tree["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let of = |name: &str| query.get(name).map_or("", String::as_str);
    let asked = |field: &str, value: &Value| of(field).is_empty() || value == of(field);
    let is_asked = |node: &Value| {
        asked("group", &node["group"]) && asked("kind", &node["kind"]) && asked("resourceName", &node["name"])
    };
    let belongs = |node: &Value| {
        let (mut level, mut seen) = (vec![node], HashSet::new());
        while let Some(node) = level.pop() {
            if is_asked(node) {
                return true;
            }
            let parents = node["parentRefs"].as_array().into_iter().flatten();
            for parent in parents.filter_map(|parent| nodes.iter().find(|node| node["uid"] == parent["uid"])) {
                if seen.insert(parent["uid"].to_string()) {
                    level.push(parent);
                }
            }
        }
        false
    };
    nodes
        .iter()
        .filter(|node| node["kind"] == "Pod" && node["group"] == "")
        .filter(|node| asked("podName", &node["name"]) && asked("namespace", &node["namespace"]) && belongs(node))
        .filter_map(|node| Some((node["namespace"].as_str()?.to_owned(), node["name"].as_str()?.to_owned())))
        .collect()
}

fn read(line: &str, pod: &str) -> Line {
    let (at, text) = line.split_once(' ').unwrap_or((line, ""));
    Line { at: at.to_owned(), pod: pod.to_owned(), text: text.to_owned() }
}

/// `!text` wants lines without it.
fn passes(line: &str, filter: &str, any_case: bool) -> bool {
    let (filter, wanted) = filter.strip_prefix('!').map_or((filter, true), |filter| (filter, false));
    let contains = if any_case { line.to_lowercase().contains(&filter.to_lowercase()) } else { line.contains(filter) };
    filter.is_empty() || contains == wanted
}

fn entry(line: &Line, last: bool) -> Value {
    json!({"content": line.text, "timeStamp": line.at, "last": last, "timeStampStr": line.at, "podName": line.pod})
}

/// The lines of several logs, the oldest first.
fn in_order(sources: Vec<Lines>) -> impl Stream<Item = Line> + Send {
    let sources: Vec<Pin<Box<Peekable<Lines>>>> = sources.into_iter().map(|lines| Box::pin(lines.peekable())).collect();
    stream::unfold(sources, |mut sources| async move {
        let mut first: Option<(String, usize)> = None;
        for (at, source) in sources.iter_mut().enumerate() {
            if let Some(line) = source.as_mut().peek().await
                && first.as_ref().is_none_or(|(time, _)| line.at < *time)
            {
                first = Some((line.at.clone(), at));
            }
        }
        let line = sources.get_mut(first?.1)?.next().await?;
        Some((line, sources))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        for (filter, any_case, expected) in
            [("", true, true), ("GET", true, true), ("GET", false, false), ("!get", false, false), ("!put", true, true)]
        {
            assert_eq!(passes("a get of b", filter, any_case), expected, "{filter} {any_case}");
        }
    }

    #[test]
    fn pods_are_found_by_what_they_belong_to() {
        let node = |kind: &str, name: &str, parent: Option<&str>| {
            json!({"group": if kind == "Pod" { "" } else { "apps" }, "kind": kind, "namespace": "n", "name": name, "uid": name,
                "parentRefs": parent.map(|uid| json!([{"uid": uid}]))})
        };
        let tree = json!({"nodes": [
            node("Deployment", "a", None), node("ReplicaSet", "a-1", Some("a")), node("Pod", "a-1-x", Some("a-1")),
            node("StatefulSet", "b", None), node("Pod", "b-0", Some("b")),
        ]});
        let names = |query: &[(&str, &str)]| {
            let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            pods(&tree, &query).into_iter().map(|(_, name)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["a-1-x", "b-0"]);
        assert_eq!(names(&[("kind", "Deployment"), ("group", "apps"), ("resourceName", "a")]), ["a-1-x"]);
        assert_eq!(names(&[("kind", "StatefulSet")]), ["b-0"]);
        assert_eq!(names(&[("podName", "b-0")]), ["b-0"]);
        assert_eq!(names(&[("kind", "Deployment"), ("podName", "b-0")]), Vec::<String>::new());
        assert_eq!(names(&[("namespace", "other")]), Vec::<String>::new());
    }

    #[tokio::test]
    async fn lines_of_several_pods_are_in_order() {
        let lines = |pod: &'static str, times: &'static [&'static str]| -> Lines {
            Box::pin(stream::iter(times.iter().map(move |at| read(&format!("{at} {pod}"), pod))))
        };
        let merged = in_order(vec![lines("a", &["1", "4"]), lines("b", &["2", "3", "5"]), lines("c", &[])]);
        let order: Vec<String> = merged.map(|line| format!("{}{}", line.at, line.text)).collect().await;
        assert_eq!(order, ["1a", "2b", "3b", "4a", "5b"]);
    }
}
