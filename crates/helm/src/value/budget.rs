//! What one rendering holds in memory, and how long it may take.
//!
//! A rendering runs on a thread of its own, and so do its values: every text, list and map counts itself here when it is
//! made and again when it is dropped. What is about to make something big asks [`fits`] first. Once the bound is reached
//! everything that asks is told so, and the executor ends the rendering with an error.
//!
//! Outside of a rendering there is no bound, and the count means nothing.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use super::Value;

/// Why a rendering must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    /// It holds more than it may.
    Memory,
    /// It takes longer than it may.
    Time,
}

struct Account {
    live: Cell<isize>,
    limit: Cell<isize>,
    work: Cell<u64>,
    look: Cell<u64>,
    deadline: Cell<Option<Instant>>,
    spent: Cell<Option<Spent>>,
    depth: Cell<usize>,
}

thread_local! {
    static ACCOUNT: Account = const {
        Account {
            live: Cell::new(0),
            limit: Cell::new(isize::MAX),
            work: Cell::new(0),
            look: Cell::new(u64::MAX),
            deadline: Cell::new(None),
            spent: Cell::new(None),
            depth: Cell::new(0),
        }
    };
    static BURIED: RefCell<Vec<Value>> = const { RefCell::new(Vec::new()) };
}

/// Units of work between two looks at the clock.
const LOOK_EVERY: u64 = 1 << 14;

/// Levels of containers that are dropped by recursion; deeper ones wait in a queue.
const DROP_DEPTH: usize = 100;

fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX / 2)
}

/// Begins to count: from now on this thread may hold so much more than it does.
pub(crate) fn start(bytes: usize, time: Duration) {
    ACCOUNT.with(|a| {
        a.limit.set(a.live.get().saturating_add(signed(bytes)));
        a.work.set(0);
        a.look.set(LOOK_EVERY);
        a.deadline.set(Instant::now().checked_add(time));
        a.spent.set(None);
    });
}

/// Why the rendering on this thread must end, if it must.
pub(crate) fn spent() -> Option<Spent> {
    ACCOUNT.with(|a| {
        if a.spent.get().is_none() && a.live.get() > a.limit.get() {
            a.spent.set(Some(Spent::Memory));
        }
        a.spent.get()
    })
}

/// Whether so many more bytes may be made. Once refused, everything is.
pub(crate) fn fits(bytes: usize) -> bool {
    ACCOUNT.with(|a| {
        if a.live.get().saturating_add(signed(bytes)) > a.limit.get() && a.spent.get().is_none() {
            a.spent.set(Some(Spent::Memory));
        }
        a.spent.get().is_none()
    })
}

/// [`fits`], and a unit of work: for each round of a loop over something nested.
pub(crate) fn goes_on(bytes: usize) -> bool {
    work(1);
    fits(bytes)
}

/// Counts work; every so often looks at the clock.
pub(crate) fn work(units: u64) {
    ACCOUNT.with(|a| {
        let done = a.work.get().saturating_add(units);
        a.work.set(done);
        if done >= a.look.get() {
            a.look.set(done.saturating_add(LOOK_EVERY));
            if a.deadline.get().is_some_and(|end| Instant::now() > end) && a.spent.get().is_none() {
                a.spent.set(Some(Spent::Time));
            }
        }
    });
}

/// Looks at the clock now: after something slow.
pub(crate) fn look() {
    work(LOOK_EVERY);
}

/// Counts bytes that were made.
pub(crate) fn take(bytes: usize) {
    ACCOUNT.with(|a| a.live.set(a.live.get().saturating_add(signed(bytes))));
    work(bytes as u64 >> 8);
}

/// Counts bytes that were dropped.
pub(crate) fn give(bytes: usize) {
    ACCOUNT.with(|a| a.live.set(a.live.get().saturating_sub(signed(bytes))));
}

/// Drops the items of a container without recursion over many levels.
pub(crate) fn bury(items: impl IntoIterator<Item = Value>) {
    let depth = ACCOUNT.with(|a| a.depth.get());
    if depth > DROP_DEPTH {
        // At the end of a thread there is no queue any more: then the recursion goes on.
        let mut items = items.into_iter();
        let _ = BURIED.try_with(|queue| {
            queue.borrow_mut().extend(items.by_ref().filter(|v| matches!(v, Value::List(_) | Value::Map(_))));
        });
        return;
    }
    ACCOUNT.with(|a| a.depth.set(depth + 1));
    items.into_iter().for_each(drop);
    if depth == 0 {
        while let Some(value) = BURIED.try_with(|queue| queue.borrow_mut().pop()).ok().flatten() {
            drop(value);
        }
    }
    ACCOUNT.with(|a| a.depth.set(depth));
}
