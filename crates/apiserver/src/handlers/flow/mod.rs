//! Fairness: priority levels share the requests in flight among them, and within a level each flow has its turns. A client that
//! floods is told to slow down; it does not starve the others. Which level and flow a request belongs to is said by
//! FlowSchema and PriorityLevelConfiguration objects. A level that has seats to lend lends those that stand empty to levels
//! that are full; it has them back as the requests on them end.

mod plan;

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::body::Body;
use http::{HeaderValue, Response};
use objects::{Status, meta};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Identity;
use crate::request::Info;

use plan::Schema;

/// Requests that one flow may have waiting, at most.
const WAITING: usize = 200;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(15);

/// The requests in flight, by priority level and flow.
#[derive(Debug)]
pub(crate) struct Flow {
    total: usize,
    plan: RwLock<Arc<Plan>>,
    /// For requests that no schema is for: those of administrators, and all others.
    fallback: [Arc<Level>; 2],
}

/// The schemas in order, and the levels by name.
#[derive(Debug, Default)]
struct Plan {
    schemas: Vec<Schema>,
    levels: HashMap<String, Arc<Level>>,
}

/// A priority level.
#[derive(Debug)]
struct Level {
    uid: HeaderValue,
    /// Requests in flight at the same time; none where it is exempt.
    seats: Option<usize>,
    /// Requests of one flow that may wait.
    waiting: usize,
    all: Arc<Semaphore>,
    /// How many of its seats others may sit on at the same time.
    lends: Arc<Semaphore>,
    /// How many seats of others its own requests may sit on.
    borrows: Arc<Semaphore>,
    /// What the two above were made with.
    terms: (usize, usize),
    flows: Mutex<HashMap<String, Arc<Client>>>,
}

/// One flow of a level.
#[derive(Debug)]
struct Client {
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// What a request is classified as.
#[derive(Debug)]
pub(crate) struct Class {
    schema: HeaderValue,
    level: Arc<Level>,
    flow: String,
}

/// A request that waits; also one whose client goes away is counted no longer.
struct Waiting<'a>(&'a Client);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// The right to be in flight: a seat, and what else is counted for it.
#[derive(Debug)]
pub(crate) struct Permit {
    _seat: OwnedSemaphorePermit,
    _turn: OwnedSemaphorePermit,
    _borrowed: Option<OwnedSemaphorePermit>,
}

impl Class {
    /// Tells a client how its request was classified.
    pub(crate) fn mark(&self, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        headers.insert("x-kubernetes-pf-flowschema-uid", self.schema.clone());
        headers.insert("x-kubernetes-pf-prioritylevel-uid", self.level.uid.clone());
    }
}

impl Flow {
    /// With so many requests in flight over all levels that are not exempt.
    pub(crate) fn new(in_flight: usize) -> Self {
        let total = in_flight.max(4);
        let level = |seats: Option<usize>| Arc::new(Level::new(plan::header(""), seats, WAITING, (0, 0)));
        Self { total, plan: RwLock::default(), fallback: [level(None), level(Some(total.div_ceil(40)))] }
    }

    fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes schemas and levels into force. A level that stays as it is keeps its requests in flight.
    pub(crate) fn adopt(&self, schemas: &[Value], levels: &[Value]) {
        let before = self.plan();
        let limited = |l: &Value| l["spec"]["type"] == "Limited";
        let shares = |l: &Value| l["spec"]["limited"]["nominalConcurrencyShares"].as_u64().unwrap_or(30);
        let sum: u64 = levels.iter().filter(|l| limited(l)).map(shares).sum();
        let level = |object: &Value| {
            let (uid, name) = (plan::header(meta::uid(object)), meta::name(object).to_owned());
            let seats = limited(object).then(|| {
                let part = (self.total as u64 * shares(object)).div_ceil(sum.max(1));
                usize::try_from(part).unwrap_or(1).clamp(1, Semaphore::MAX_PERMITS)
            });
            let response = &object["spec"]["limited"]["limitResponse"];
            let queue = response["queuing"]["queueLengthLimit"].as_u64().unwrap_or(50).saturating_mul(4);
            let waiting =
                if response["type"] == "Reject" { 0 } else { usize::try_from(queue).unwrap_or(WAITING).min(WAITING) };
            let part = |field: &str| {
                let percent = usize::try_from(object["spec"]["limited"][field].as_u64()?).ok()?;
                Some((seats.unwrap_or(0).saturating_mul(percent) / 100).min(Semaphore::MAX_PERMITS))
            };
            // Without a limit of its own a level borrows what it can get.
            let terms = (part("lendablePercent").unwrap_or(0), part("borrowingLimitPercent").unwrap_or(self.total));
            let as_before = |l: &&Arc<Level>| (&l.uid, l.seats, l.waiting, l.terms) == (&uid, seats, waiting, terms);
            let same = before.levels.get(&name).filter(as_before).cloned();
            (name, same.unwrap_or_else(|| Arc::new(Level::new(uid, seats, waiting, terms))))
        };
        let mut schemas: Vec<Schema> = schemas.iter().map(Schema::of).collect();
        schemas.sort_by(|a, b| a.rank().cmp(&b.rank()));
        let levels = levels.iter().map(level).collect();
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Plan { schemas, levels });
    }

    /// The class of a request.
    pub(crate) fn classify(&self, who: &Identity, info: &Info) -> Class {
        let plan = self.plan();
        let fits = |s: &Schema| plan.levels.get(&s.level).filter(|_| s.matches(who, info)).cloned();
        let Some((schema, level)) = plan.schemas.iter().find_map(|s| Some((s, fits(s)?))) else {
            let level = Arc::clone(&self.fallback[usize::from(!who.is_master())]);
            return Class { schema: plan::header(""), level, flow: who.name.clone() };
        };
        let flow =
            if level.seats.is_some() { format!("{}\0{}", schema.name, schema.flow(who, info)) } else { String::new() };
        Class { schema: schema.uid.clone(), level, flow }
    }

    /// The seats of each level that has a limit.
    pub(crate) fn limits(&self) -> Vec<(String, usize)> {
        let plan = self.plan();
        let mut out: Vec<_> = plan.levels.iter().filter_map(|(n, l)| Some((n.clone(), l.seats?))).collect();
        out.sort();
        out
    }

    /// Waits for a turn; exempt requests need none.
    pub(crate) async fn enter(&self, class: &Class) -> Result<Option<Permit>, Status> {
        match class.level.seats {
            None => Ok(None),
            Some(seats) => class.level.enter(&class.flow, seats, || self.borrow(&class.level)).await.map(Some),
        }
    }

    /// A seat of another level that has one to lend.
    fn borrow(&self, level: &Arc<Level>) -> Option<Permit> {
        let borrowed = Arc::clone(&level.borrows).try_acquire_owned().ok()?;
        let plan = self.plan();
        let lent = plan.levels.values().filter(|other| !Arc::ptr_eq(other, level)).find_map(|other| {
            let turn = Arc::clone(&other.lends).try_acquire_owned().ok()?;
            Some((Arc::clone(&other.all).try_acquire_owned().ok()?, turn))
        });
        lent.map(|(seat, turn)| Permit { _seat: seat, _turn: turn, _borrowed: Some(borrowed) })
    }
}

impl Level {
    fn new(uid: HeaderValue, seats: Option<usize>, waiting: usize, terms: (usize, usize)) -> Self {
        let all = Arc::new(Semaphore::new(seats.unwrap_or(1)));
        let (lends, borrows) = (Arc::new(Semaphore::new(terms.0)), Arc::new(Semaphore::new(terms.1)));
        Self { uid, seats, waiting, all, lends, borrows, terms, flows: Mutex::default() }
    }

    /// Waits for a seat; `borrow` finds one elsewhere when there is none here.
    async fn enter(&self, flow: &str, seats: usize, borrow: impl FnOnce() -> Option<Permit>) -> Result<Permit, Status> {
        use std::sync::atomic::Ordering::Relaxed;
        let client = {
            let mut flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
            if flows.len() > 1024 {
                flows.retain(|_, c| Arc::strong_count(c) > 1);
            }
            match flows.get(flow) {
                Some(client) => Arc::clone(client),
                None => {
                    // One flow never has all the seats, where there is more than one.
                    let share = seats.div_ceil(2);
                    let client = Arc::new(Client { turns: Arc::new(Semaphore::new(share)), waiting: 0.into() });
                    flows.insert(flow.to_owned(), Arc::clone(&client));
                    client
                }
            }
        };
        let busy = || Status::too_many_requests("too many requests, please try again later", 1);
        if let (Ok(own), Ok(all)) =
            (Arc::clone(&client.turns).try_acquire_owned(), Arc::clone(&self.all).try_acquire_owned())
        {
            return Ok(Permit { _seat: all, _turn: own, _borrowed: None });
        }
        if let Some(permit) = borrow() {
            return Ok(permit);
        }
        let waiting = Waiting(&client);
        if client.waiting.fetch_add(1, Relaxed) >= self.waiting {
            return Err(busy());
        }
        let turn = async {
            let own = Arc::clone(&client.turns).acquire_owned().await.ok()?;
            let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Permit { _seat: all, _turn: own, _borrowed: None })
        };
        let outcome = tokio::time::timeout(PATIENCE, turn).await;
        drop(waiting);
        outcome.ok().flatten().ok_or_else(busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn flow(in_flight: usize) -> Flow {
        let flow = Flow::new(in_flight);
        let rule = |user: &str| json!({"subjects": [{"kind": "User", "user": {"name": user}}], "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]});
        let schema = |name: &str, precedence: i64, level: &str, user: &str| {
            json!({"metadata": {"name": name, "uid": name}, "spec": {"matchingPrecedence": precedence, "distinguisherMethod": {"type": "ByUser"},
                "priorityLevelConfiguration": {"name": level}, "rules": [rule(user)]}})
        };
        let level = |name: &str, shares: u64, response: &str| json!({"metadata": {"name": name, "uid": name}, "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": shares, "limitResponse": {"type": response}}}});
        let exempt = json!({"metadata": {"name": "exempt", "uid": "exempt"}, "spec": {"type": "Exempt"}});
        flow.adopt(
            &[
                schema("all", 9000, "low", "*"),
                schema("root", 1, "exempt", "root"),
                schema("lost", 2, "missing", "root"),
                schema("one", 10, "single", "single"),
            ],
            &[level("low", 3, "Queue"), level("single", 1, "Reject"), exempt],
        );
        flow
    }

    fn class(flow: &Flow, user: &str) -> Class {
        flow.classify(&Identity::user(user), &Info::parse(&http::Method::GET, "/version", ""))
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_does_not_starve_others() {
        let flow = flow(4);
        assert_eq!(flow.limits(), [("low".to_owned(), 3), ("single".to_owned(), 1)]);
        let (greedy, other) = (class(&flow, "greedy"), class(&flow, "other"));
        let held = [flow.enter(&greedy).await.unwrap(), flow.enter(&greedy).await.unwrap()];
        assert_eq!(flow.enter(&greedy).await.unwrap_err().code, 429);
        flow.enter(&other).await.unwrap();
        drop(held);
        flow.enter(&greedy).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn levels_do_as_they_say() {
        let flow = flow(4);
        let root = class(&flow, "root");
        assert_eq!((root.schema.as_bytes(), root.level.uid.as_bytes()), (&b"root"[..], &b"exempt"[..]));
        assert!(flow.enter(&root).await.unwrap().is_none());
        let single = class(&flow, "single");
        let held = flow.enter(&single).await.unwrap();
        let before = tokio::time::Instant::now();
        assert_eq!(flow.enter(&single).await.unwrap_err().code, 429);
        assert_eq!(before.elapsed(), Duration::ZERO, "a level that rejects does not let wait");
        drop(held);
        flow.enter(&single).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn empty_seats_are_lent() {
        let flow = flow(8);
        let level = |name: &str, shares: u64, lends: u64, borrows: u64| {
            json!({"metadata": {"name": name, "uid": name}, "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": shares,
                "lendablePercent": lends, "borrowingLimitPercent": borrows, "limitResponse": {"type": "Reject"}}}})
        };
        let schema = |name: &str| {
            json!({"metadata": {"name": name, "uid": name}, "spec": {"matchingPrecedence": 1, "priorityLevelConfiguration": {"name": name},
                "rules": [{"subjects": [{"kind": "User", "user": {"name": name}}], "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}})
        };
        flow.adopt(&[schema("rich"), schema("poor")], &[level("rich", 6, 50, 0), level("poor", 2, 0, 100)]);
        assert_eq!(flow.limits(), [("poor".to_owned(), 2), ("rich".to_owned(), 6)]);
        let (rich, poor) = (class(&flow, "rich"), class(&flow, "poor"));
        // One seat of its own for one flow, and as many of others as it may borrow.
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(flow.enter(&poor).await.unwrap());
        }
        assert_eq!(flow.enter(&poor).await.unwrap_err().code, 429, "borrows no more than it may");
        for _ in 0..3 {
            held.push(flow.enter(&rich).await.unwrap());
        }
        assert_eq!(flow.enter(&rich).await.unwrap_err().code, 429, "who may not borrow does not");
        held.clear();
        for _ in 0..3 {
            held.push(flow.enter(&rich).await.unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_schemas_there_is_still_a_way() {
        let flow = Flow::new(4);
        let admin = flow.classify(&Identity::admin(), &Info::parse(&http::Method::GET, "/version", ""));
        assert!(flow.enter(&admin).await.unwrap().is_none());
        let _turn = flow.enter(&class(&flow, "joe")).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_waits_no_longer() {
        let flow = flow(4);
        let who = class(&flow, "impatient");
        let held = [flow.enter(&who).await.unwrap(), flow.enter(&who).await.unwrap()];
        for _ in 0..2 * WAITING {
            let given_up = tokio::time::timeout(Duration::from_millis(1), flow.enter(&who)).await;
            assert!(given_up.is_err(), "still waiting when given up");
        }
        drop(held);
        flow.enter(&who).await.unwrap();
    }
}
