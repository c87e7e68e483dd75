//! A GitHub for one machine: git smart HTTP, REST paths, webhooks.
