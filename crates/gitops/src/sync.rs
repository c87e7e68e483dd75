//! Making live state equal to desired state.
//!
//! [`wanted`] decides, and is pure; [`run`] carries out. `status.operationState` tells how far it is, and a sync that was cut off by the end of
//! the process is found there as `Running` and begun again: applying twice is the same as applying once.

use std::sync::Arc;
use std::time::Duration;

use informer::{DeleteOptions, Kind, Propagation};
use objects::meta;
use serde_json::{Value, json};

use crate::application::{Retry, Spec};
use crate::controller::{Event, GitOps, application_kind};
use crate::health::{self, HealthStatus};
use crate::plan::{self, DeletePolicy, Phase, Step};
use crate::resource::{self, ResourceKey, SYNC_OPTIONS};
use crate::status::{self, Comparison};
use crate::{Error, compare};

/// How long after a sync the same revision is synced again because the live state was changed.
const SELF_HEAL: Duration = Duration::from_secs(5);

/// Whether an Application is to be synced.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// It is as it should be, or waits for somebody's word.
    No,
    /// With this operation.
    Now(Value),
    /// Look again then.
    Later(Duration),
}

/// Decides from what the Application says and what was compared.
pub fn wanted(application: &Value, spec: &Spec, comparison: &Comparison) -> Wanted {
    if application["operation"].is_object() {
        return Wanted::Now(application["operation"].clone());
    }
    let state = &application["status"]["operationState"];
    if state["phase"] == "Running" {
        return Wanted::Now(state["operation"].clone());
    }
    let Some(automated) = spec.sync_policy.automated.as_ref().filter(|automated| automated.enabled) else {
        return Wanted::No;
    };
    if comparison.error.is_some() || comparison.sync_status() != "OutOfSync" {
        return Wanted::No;
    }
    let out_of_sync = || comparison.resources.iter().filter(|resource| !resource.is_synced && resource.counts());
    if !automated.prune && out_of_sync().all(|resource| resource.requires_pruning()) {
        return Wanted::No;
    }
    let deletes_all = comparison.resources.iter().all(|resource| resource.requires_pruning());
    if automated.prune && !automated.allow_empty && deletes_all {
        return Wanted::No;
    }
    let mut operation = json!({
        "initiatedBy": {"automated": true},
        "sync": {"prune": automated.prune, "syncOptions": spec.sync_policy.sync_options},
    });
    name_revisions(&mut operation["sync"], spec, &comparison.revisions);
    if let Some(retry) = &spec.sync_policy.retry {
        operation["retry"] = json!({"limit": retry.limit});
    }
    let mut this = json!({});
    name_revisions(&mut this, spec, &comparison.revisions);
    name_sources(&mut this, spec, application);
    let attempted = SOURCE_FIELDS.iter().all(|field| state["syncResult"][*field] == this[*field]);
    if !attempted {
        return Wanted::Now(operation);
    }
    if !automated.self_heal {
        return Wanted::No;
    }
    let finished = state["finishedAt"].as_str();
    let since = finished.map_or(SELF_HEAL, |at| objects::time::since(at).unsigned_abs());
    if since < SELF_HEAL { Wanted::Later(SELF_HEAL - since) } else { Wanted::Now(operation) }
}

/// What tells what was synced: the first and the third of one source, the others of several.
const SOURCE_FIELDS: [&str; 4] = ["revision", "revisions", "source", "sources"];

/// Writes `revision`, or of several sources `revisions`.
fn name_revisions(into: &mut Value, spec: &Spec, revisions: &[String]) {
    if spec.is_multi_source() {
        into["revisions"] = json!(revisions);
    } else {
        into["revision"] = json!(revisions.first().map_or("", String::as_str));
    }
}

/// Writes `source` or `sources`, as the Application has them.
fn name_sources(into: &mut Value, spec: &Spec, application: &Value) {
    let field = if spec.is_multi_source() { "sources" } else { "source" };
    into[field] = application["spec"][field].clone();
}

/// What a sync does, read from its operation.
struct Request {
    /// One a source; none for what the Application says.
    revisions: Vec<String>,
    prune: bool,
    dry_run: bool,
    only: Vec<Value>,
    options: Vec<String>,
    retry: Option<Retry>,
    automated: bool,
}

impl Request {
    fn of(operation: &Value, spec: &Spec) -> Self {
        let sync = &operation["sync"];
        let options = sync["syncOptions"]
            .as_array()
            .map(|options| options.iter().filter_map(|option| option.as_str().map(str::to_owned)).collect());
        let retry = operation["retry"].as_object().map(|_| {
            let mut retry: Retry = serde_json::from_value(operation["retry"].clone()).unwrap_or_default();
            if let (Some(of_spec), true) = (&spec.sync_policy.retry, operation["retry"]["backoff"].is_null()) {
                retry.backoff = of_spec.backoff.clone();
            }
            retry
        });
        let named = sync["revisions"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut revisions: Vec<String> = named.map(str::to_owned).collect();
        if let (true, Some(revision)) = (revisions.is_empty(), sync["revision"].as_str().filter(|r| !r.is_empty())) {
            revisions.push(revision.to_owned());
        }
        Self {
            revisions,
            prune: sync["prune"] == true,
            dry_run: sync["dryRun"] == true,
            only: sync["resources"].as_array().cloned().unwrap_or_default(),
            options: options.unwrap_or_else(|| spec.sync_policy.sync_options.clone()),
            retry,
            automated: operation["initiatedBy"]["automated"] == true,
        }
    }

    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|set| set == option)
    }

    fn concerns(&self, key: &ResourceKey) -> bool {
        self.only.is_empty()
            || self.only.iter().any(|only| {
                let text = |field: &str| only[field].as_str().unwrap_or_default();
                text("group") == key.group
                    && text("kind") == key.kind
                    && text("name") == key.name
                    && (text("namespace").is_empty() || text("namespace") == key.namespace)
            })
    }
}

/// How one object fared.
struct Outcome {
    value: Value,
    failed: bool,
}

/// Carries out an operation and writes `status.operationState` and `status.history`.
///
/// # Errors
/// Only when the Application itself cannot be written; what goes wrong with its objects is in `operationState`.
pub async fn run(
    room: &Arc<GitOps>,
    application: &Arc<Value>,
    spec: &Spec,
    comparison: &Comparison,
    operation: &Value,
) -> Result<(), informer::Error> {
    let request = Request::of(operation, spec);
    let name = meta::name(application).to_owned();
    let started = objects::time::now();
    let other = request.revisions.iter().zip(&comparison.revisions).any(|(asked, compared)| asked != compared);
    let resolved = if other {
        room.resolve_at(application, spec, &request.revisions).await
    } else {
        room.resolve(application, spec).await
    };
    let revisions = resolved.as_ref().map_or(&comparison.revisions, |resolved| &resolved.revisions);
    let revision = status::commit(revisions).to_owned();
    let mut read = json!({});
    name_revisions(&mut read, spec, revisions);
    name_sources(&mut read, spec, application);
    // What the other way of writing sources left behind goes.
    for field in SOURCE_FIELDS {
        read[field] = read[field].take();
    }
    room.config.observer.observe(Event::SyncStarted { application: name.clone(), revision: revision.clone() });
    let mut state = json!({
        "operation": operation,
        "phase": "Running",
        "message": "waiting for the objects to be applied",
        "startedAt": started,
        "syncResult": read,
    });
    state["syncResult"]["resources"] = json!([]);
    let mut application = begin(room, application, &state).await?;

    let mut attempt = 0;
    let error = loop {
        let outcome = match &resolved {
            Ok(resolved) => carry_out(room, &name, spec, comparison, &request, &resolved.objects).await,
            Err(error) => (Vec::new(), Some(error.chain())),
        };
        let (outcomes, mut error) = outcome;
        if error.is_none() && outcomes.iter().any(|outcome| outcome.failed) {
            error = Some("one or more objects failed to apply".to_owned());
        }
        state["syncResult"]["resources"] = outcomes.into_iter().map(|outcome| outcome.value).collect();
        let Some(text) = error else { break None };
        attempt += 1;
        let retry = request.retry.as_ref().filter(|retry| retry.limit < 0 || i64::from(attempt) <= retry.limit);
        let Some(retry) = retry else { break Some(text) };
        let pause = retry.backoff.wait(attempt);
        state["retryCount"] = json!(attempt);
        state["message"] = json!(format!("{text}. Retrying attempt #{attempt} in {}s.", pause.as_secs()));
        application = write(room, &application, &state, None).await?;
        tokio::select! {
            () = room.shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    };

    state["finishedAt"] = json!(objects::time::now());
    state["phase"] = json!(if error.is_none() { "Succeeded" } else { "Failed" });
    state["message"] = json!(match &error {
        None => "successfully synced (all tasks run)".to_owned(),
        Some(text) if attempt > 1 => format!("{text} (retried {} times).", attempt - 1),
        Some(text) => text.clone(),
    });
    let history = (error.is_none() && !request.dry_run && request.only.is_empty()).then(|| {
        let mut entry = json!({
            "deployStartedAt": started,
            "deployedAt": objects::time::now(),
            "initiatedBy": if request.automated { json!({"automated": true}) } else { operation["initiatedBy"].clone() },
        });
        name_revisions(&mut entry, spec, revisions);
        name_sources(&mut entry, spec, &application);
        history(&application["status"]["history"], entry, spec.revision_history_limit)
    });
    write(room, &application, &state, history).await?;
    room.config.observer.observe(Event::SyncEnded { application: name, revision, error });
    Ok(())
}

/// The history with one more entry; the oldest go when there are more than `limit`.
fn history(old: &Value, mut entry: Value, limit: usize) -> Value {
    let mut entries = old.as_array().cloned().unwrap_or_default();
    let last = entries.last().and_then(|entry| entry["id"].as_i64());
    entry["id"] = json!(last.map_or(0, |last| last + 1));
    entries.push(entry);
    let surplus = entries.len().saturating_sub(limit);
    entries.drain(..surplus);
    Value::Array(entries)
}

/// Takes the operation over: from here on `operationState` tells of it.
async fn begin(room: &Arc<GitOps>, application: &Arc<Value>, state: &Value) -> Result<Arc<Value>, informer::Error> {
    let mut patch = json!({"status": {"operationState": replace(&application["status"]["operationState"], state)}});
    if application["operation"].is_object() {
        patch["operation"] = Value::Null;
    }
    room.cluster.patch(&application_kind(), application, "", patch, false).await
}

async fn write(
    room: &Arc<GitOps>,
    application: &Arc<Value>,
    state: &Value,
    history: Option<Value>,
) -> Result<Arc<Value>, informer::Error> {
    let mut patch = json!({"operationState": replace(&application["status"]["operationState"], state)});
    if let Some(history) = history {
        patch["history"] = history;
    }
    room.cluster.patch(&application_kind(), application, "", json!({"status": patch}), false).await
}

/// A merge patch that leaves nothing of the old object's top level behind.
fn replace(old: &Value, new: &Value) -> Value {
    let mut patch = new.clone();
    if let (Some(old), Some(patch)) = (old.as_object(), patch.as_object_mut()) {
        for field in old.keys() {
            patch.entry(field).or_insert(Value::Null);
        }
    }
    patch
}

/// Everything of one sync, in order. The second value is an error that belongs to no single object.
async fn carry_out(
    room: &Arc<GitOps>,
    name: &str,
    spec: &Spec,
    comparison: &Comparison,
    request: &Request,
    objects: &[Value],
) -> (Vec<Outcome>, Option<String>) {
    let mut outcomes = Vec::new();
    if request.has("CreateNamespace=true")
        && !spec.destination.namespace.is_empty()
        && !request.dry_run
        && let Err(error) = create_namespace(room, spec, objects).await
    {
        return (outcomes, Some(format!("cannot create namespace {}: {}", spec.destination.namespace, error.chain())));
    }
    let steps = plan::steps(objects);
    let groups: Vec<&[Step]> = steps.chunk_by(|a, b| (a.phase, a.wave) == (b.phase, b.wave)).collect();
    let mut error = None;
    for (place, group) in groups.iter().enumerate() {
        if group[0].phase == Phase::SyncFail {
            continue;
        }
        let more = groups[place + 1..].iter().any(|group| group[0].phase != Phase::SyncFail);
        let mut failed = apply_group(room, name, spec, comparison, request, group, &mut outcomes).await;
        let hooks = group.iter().any(|step| step.is_hook);
        if !failed
            && !request.dry_run
            && (more || hooks)
            && let Err(text) = settle(room, name, spec, group, more).await
        {
            error = Some(text);
            failed = true;
        }
        delete_hooks(room, name, spec, group, failed).await;
        if failed {
            for group in groups.iter().filter(|group| group[0].phase == Phase::SyncFail) {
                apply_group(room, name, spec, comparison, request, group, &mut outcomes).await;
            }
            return (outcomes, error);
        }
    }
    prune(room, comparison, request, &mut outcomes).await;
    (outcomes, None)
}

async fn create_namespace(room: &Arc<GitOps>, spec: &Spec, objects: &[Value]) -> Result<(), Error> {
    let name = &spec.destination.namespace;
    if objects.iter().any(|object| meta::kind(object) == "Namespace" && meta::name(object) == name) {
        return Ok(());
    }
    let kind = Kind::dynamic("", "v1", "Namespace", "namespaces", false);
    let mut namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    if let Some(metadata) = &spec.sync_policy.managed_namespace_metadata {
        namespace["metadata"]["labels"] = metadata["labels"].clone();
        namespace["metadata"]["annotations"] = metadata["annotations"].clone();
        room.cluster.api.apply(&kind, &namespace, true, false).await?;
        return Ok(());
    }
    match room.cluster.api.create(&kind, &namespace).await {
        Err(error) if !error.is_conflict() && error.reason() != Some("AlreadyExists") => Err(error.into()),
        _ => Ok(()),
    }
}

/// Applies one wave; whether any of it failed.
async fn apply_group(
    room: &Arc<GitOps>,
    name: &str,
    spec: &Spec,
    comparison: &Comparison,
    request: &Request,
    group: &[Step],
    outcomes: &mut Vec<Outcome>,
) -> bool {
    let mut any = false;
    for step in group {
        let (kind, mut object) = match room.place(name, spec, &step.object).await {
            Ok(placed) => placed,
            Err(error) => {
                outcomes.push(outcome(&ResourceKey::of(&step.object), step, "SyncFailed", &error.chain()));
                any = true;
                continue;
            }
        };
        let key = ResourceKey::of(&object);
        if !request.concerns(&key) || (!request.only.is_empty() && step.is_hook) {
            continue;
        }
        let live = comparison.resources.iter().find(|resource| resource.key == key);
        if request.has("ApplyOutOfSyncOnly=true") && !step.is_hook && live.is_some_and(|resource| resource.is_synced) {
            continue;
        }
        if request.has("RespectIgnoreDifferences=true") && live.is_some_and(|resource| resource.live.is_some()) {
            for rule in &spec.ignore_differences {
                for pointer in &rule.json_pointers {
                    compare::remove(&mut object, pointer);
                }
            }
        }
        let applied = apply(room, &kind, &object, step, request).await;
        let result = match applied {
            Ok(message) => outcome(&key, step, "Synced", &message),
            Err(error) => outcome(&key, step, "SyncFailed", &error.chain()),
        };
        any |= result.failed;
        outcomes.push(result);
    }
    any
}

async fn apply(
    room: &Arc<GitOps>,
    kind: &Kind,
    object: &Value,
    step: &Step,
    request: &Request,
) -> Result<String, Error> {
    let store = room.watch(kind);
    store.synced().await;
    let key = ResourceKey::of(object);
    let named = |verb: &str| format!("{} {verb}", key.to_string().to_lowercase().replace(' ', "/"));
    let live = store.find(&key.namespace, &key.name);
    if step.is_hook && !request.dry_run {
        if let Some(live) = &live
            && plan::delete_policies(&step.object).contains(&DeletePolicy::BeforeHookCreation)
        {
            remove(room, kind, live).await?;
            gone(room, kind, &key).await;
        }
        if meta::name(object).is_empty() {
            room.cluster.create(kind, object).await?;
            return Ok(named("created"));
        }
    }
    let replace = request.has("Replace=true") || resource::has_option(object, SYNC_OPTIONS, "Replace=true");
    let force = resource::has_option(object, SYNC_OPTIONS, "Force=true");
    if replace
        && !request.dry_run
        && let Some(live) = &live
    {
        if force {
            remove(room, kind, live).await?;
            gone(room, kind, &key).await;
        } else {
            let mut whole = object.clone();
            meta::set_text(&mut whole, "resourceVersion", meta::resource_version(live));
            store.absorb(room.cluster.api.update(kind, &whole, "").await?);
            return Ok(named("replaced"));
        }
    }
    let applied = room.cluster.api.apply(kind, object, true, request.dry_run).await?;
    if request.dry_run {
        return Ok(named("configured (dry run)"));
    }
    let verb = match &live {
        None => "created",
        Some(live) if meta::resource_version(live) == meta::resource_version(&applied) => "unchanged",
        Some(_) => "configured",
    };
    store.absorb(applied);
    Ok(named(verb))
}

async fn remove(room: &Arc<GitOps>, kind: &Kind, live: &Value) -> Result<(), Error> {
    let options = DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
    Ok(room.cluster.delete(kind, live, options).await?)
}

/// Waits until an object is gone.
async fn gone(room: &Arc<GitOps>, kind: &Kind, key: &ResourceKey) {
    let store = room.watch(kind);
    let mut changes = room.changed.subscribe();
    while store.find(&key.namespace, &key.name).is_some() {
        tokio::select! {
            () = room.shutdown.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

fn outcome(key: &ResourceKey, step: &Step, status: &str, message: &str) -> Outcome {
    let mut value = json!({
        "group": key.group,
        "version": resource::version(&step.object),
        "kind": key.kind,
        "namespace": key.namespace,
        "name": key.name,
        "status": status,
        "message": message,
        "syncPhase": step.phase.as_str(),
    });
    let failed = status == "SyncFailed";
    if step.is_hook {
        value["hookType"] = json!(step.phase.as_str());
        value["hookPhase"] = json!(if failed { "Failed" } else { "Running" });
    } else {
        value["hookPhase"] = json!(if failed { "Failed" } else { "Running" });
    }
    Outcome { value, failed }
}

/// Waits until hooks of a wave have ended, and, where more follows, until everything of it is healthy.
async fn settle(room: &Arc<GitOps>, name: &str, spec: &Spec, group: &[Step], all: bool) -> Result<(), String> {
    let mut changes = room.changed.subscribe();
    loop {
        let mut waiting = false;
        for step in group.iter().filter(|step| all || step.is_hook) {
            let Ok((kind, object)) = room.place(name, spec, &step.object).await else { continue };
            let key = ResourceKey::of(&object);
            let live = room.watch(&kind).find(&key.namespace, &key.name);
            let Some(live) = live else {
                waiting = true;
                continue;
            };
            match health::assess(&live) {
                None => {}
                Some(health) => match health.status {
                    HealthStatus::Healthy | HealthStatus::Suspended => {}
                    HealthStatus::Degraded => return Err(format!("{key} is degraded: {}", health.message)),
                    _ => waiting = true,
                },
            }
        }
        if !waiting {
            return Ok(());
        }
        let terminated = room
            .applications
            .find(&room.config.namespace, name)
            .is_none_or(|application| application["status"]["operationState"]["phase"] == "Terminating");
        if terminated {
            return Err("operation terminated".to_owned());
        }
        tokio::select! {
            () = room.shutdown.cancelled() => return Err("the daemon ends".to_owned()),
            changed = changes.changed() => if changed.is_err() { return Err("the daemon ends".to_owned()) },
        }
    }
}

async fn delete_hooks(room: &Arc<GitOps>, name: &str, spec: &Spec, group: &[Step], failed: bool) {
    let policy = if failed { DeletePolicy::HookFailed } else { DeletePolicy::HookSucceeded };
    for step in group.iter().filter(|step| step.is_hook && plan::delete_policies(&step.object).contains(&policy)) {
        let Ok((kind, object)) = room.place(name, spec, &step.object).await else { continue };
        let key = ResourceKey::of(&object);
        if let Some(live) = room.watch(&kind).find(&key.namespace, &key.name)
            && let Err(error) = remove(room, &kind, &live).await
        {
            tracing::warn!(hook = %key, error = %error.chain(), "cannot delete a hook");
        }
    }
}

/// Deletes what is no longer in the source, last waves first.
async fn prune(room: &Arc<GitOps>, comparison: &Comparison, request: &Request, outcomes: &mut Vec<Outcome>) {
    let mut surplus: Vec<_> = comparison
        .resources
        .iter()
        .filter(|resource| resource.requires_pruning() && request.concerns(&resource.key))
        .collect();
    surplus.sort_by_key(|resource| {
        let wave = resource.live.as_deref().map_or(0, plan::wave);
        std::cmp::Reverse((wave, plan::kind_order(&resource.key.kind)))
    });
    for resource in surplus {
        let Some(live) = &resource.live else { continue };
        let kept = resource::has_option(live, SYNC_OPTIONS, "Prune=false");
        let step = Step { phase: Phase::Sync, wave: 0, is_hook: false, object: Value::clone(live) };
        let result = if !request.prune || kept {
            let reason = if kept { "ignored (no prune)" } else { "ignored (requires pruning)" };
            outcome(&resource.key, &step, "PruneSkipped", reason)
        } else if request.dry_run {
            outcome(&resource.key, &step, "Pruned", "pruned (dry run)")
        } else {
            let deleted = match room.kind(meta::api_version(live), meta::kind(live)).await {
                Ok(kind) => remove(room, &kind, live).await,
                Err(error) => Err(error),
            };
            match deleted {
                Ok(()) => outcome(&resource.key, &step, "Pruned", "pruned"),
                Err(error) => outcome(&resource.key, &step, "SyncFailed", &error.chain()),
            }
        };
        outcomes.push(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::SourceType;
    use crate::status::Compared;

    fn application(policy: Value, state: Value) -> (Value, Spec) {
        let application = json!({"metadata": {"name": "a"}, "spec": {
            "source": {"repoURL": "u"}, "destination": {}, "syncPolicy": policy},
            "status": {"operationState": state}});
        let spec = Spec::of(&application).unwrap();
        (application, spec)
    }

    fn comparison(desired: bool, live: bool, is_synced: bool) -> Comparison {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}});
        Comparison {
            revisions: vec!["new".to_owned()],
            source_types: vec![SourceType::Directory],
            resources: vec![Compared {
                key: ResourceKey::of(&object),
                desired: desired.then(|| object.clone()),
                live: live.then(|| Arc::new(object.clone())),
                predicted: None,
                is_synced,
                health: None,
            }],
            error: None,
        }
    }

    fn is_now(wanted: &Wanted) -> bool {
        matches!(wanted, Wanted::Now(_))
    }

    #[test]
    fn automatic_sync_follows_the_policy() {
        let old = json!({"phase": "Succeeded", "finishedAt": "2020-01-01T00:00:00Z",
            "syncResult": {"revision": "old", "source": {"repoURL": "u"}}});
        let mut same = old.clone();
        same["syncResult"]["revision"] = json!("new");
        let missing = || comparison(true, false, false);
        let surplus = || comparison(false, true, false);
        for (policy, state, comparison, expected) in [
            (json!({}), Value::Null, missing(), false),
            (json!({"automated": {}}), Value::Null, missing(), true),
            (json!({"automated": {"enabled": false}}), Value::Null, missing(), false),
            (json!({"automated": {}}), Value::Null, comparison(true, true, true), false),
            (json!({"automated": {}}), old.clone(), missing(), true),
            (json!({"automated": {}}), same.clone(), missing(), false),
            (json!({"automated": {"selfHeal": true}}), same.clone(), missing(), true),
            (json!({"automated": {}}), Value::Null, surplus(), false),
            (json!({"automated": {"prune": true}}), Value::Null, surplus(), false),
            (json!({"automated": {"prune": true, "allowEmpty": true}}), Value::Null, surplus(), true),
        ] {
            let (application, spec) = application(policy.clone(), state.clone());
            let wanted = wanted(&application, &spec, &comparison);
            assert_eq!(is_now(&wanted), expected, "{policy} {state}");
        }
    }

    #[test]
    fn healing_waits_a_little_after_the_last_sync() {
        let state = json!({"phase": "Succeeded", "finishedAt": objects::time::now(),
            "syncResult": {"revision": "new", "source": {"repoURL": "u"}}});
        let (application, spec) = application(json!({"automated": {"selfHeal": true}}), state);
        assert!(matches!(wanted(&application, &spec, &comparison(true, false, false)), Wanted::Later(_)));
    }

    #[test]
    fn what_was_cut_off_is_begun_again() {
        let state = json!({"phase": "Running", "operation": {"sync": {"revision": "r"}}});
        let (application, spec) = application(json!({}), state);
        assert_eq!(
            wanted(&application, &spec, &comparison(true, true, true)),
            Wanted::Now(json!({"sync": {"revision": "r"}}))
        );
    }

    #[test]
    fn the_history_forgets_its_oldest() {
        let mut entries = Value::Null;
        for revision in ["a", "b", "c"] {
            entries = history(&entries, json!({"revision": revision}), 2);
        }
        assert_eq!(entries, json!([{"id": 1, "revision": "b"}, {"id": 2, "revision": "c"}]));
    }

    #[test]
    fn a_replaced_state_leaves_nothing_behind() {
        assert_eq!(replace(&json!({"a": 1, "b": 2}), &json!({"b": 3})), json!({"a": null, "b": 3}));
    }
}
