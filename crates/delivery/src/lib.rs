//! The vocabulary of a delivery: ids, spans, events.
