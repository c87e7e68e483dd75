//! The web pages: applications, deliveries, workflow runs.
