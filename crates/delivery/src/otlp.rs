//! Deliveries as OpenTelemetry traces, in the JSON encoding of OTLP 1.x.

use serde_json::{Value, json};

use crate::{Delivery, SpanState};

/// The `ExportTraceServiceRequest` that holds these deliveries, one trace each.
///
/// Trace ids are the first 32 digits of the commit, so that whoever has the commit has the trace.
pub fn export(deliveries: &[Delivery]) -> Value {
    let spans: Vec<Value> = deliveries.iter().flat_map(trace).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": [attribute("service.name", "bigben")]},
        "scopeSpans": [{"scope": {"name": "delivery"}, "spans": spans}],
    }]})
}

fn trace(delivery: &Delivery) -> Vec<Value> {
    let trace_id = digits(&delivery.commit, 32);
    let root_id = span_id(0);
    let last = delivery.spans.iter().filter_map(|span| span.ended_ms).max();
    let mut spans = vec![json!({
        "traceId": trace_id,
        "spanId": root_id,
        "name": format!("delivery {}", delivery.commit.get(..7).unwrap_or(&delivery.commit)),
        "kind": 1,
        "startTimeUnixNano": nanos(delivery.opened_ms),
        "endTimeUnixNano": nanos(last.unwrap_or(delivery.opened_ms)),
        "attributes": [
            attribute("vcs.ref.head.revision", &delivery.commit),
            attribute("vcs.ref.head.name", &delivery.reference),
            attribute("vcs.repository.name", &delivery.repository),
        ],
    })];
    for (place, span) in delivery.spans.iter().enumerate() {
        let mut attributes = vec![attribute("delivery.subject", &span.subject)];
        attributes.extend(span.attributes.iter().map(|(key, value)| attribute(key, value)));
        // Unset, Ok, Error: the status codes of the trace specification.
        let code = match span.state {
            SpanState::Running => 0,
            SpanState::Succeeded => 1,
            SpanState::Failed => 2,
        };
        let mut value = json!({
            "traceId": trace_id,
            "spanId": span_id(place as u64 + 1),
            "parentSpanId": root_id,
            "name": span.stage.as_str(),
            "kind": 1,
            "startTimeUnixNano": nanos(span.started_ms),
            "endTimeUnixNano": nanos(span.ended_ms.unwrap_or(span.started_ms)),
            "attributes": attributes,
            "status": {"code": code},
        });
        if let Some(message) = &span.message {
            value["status"]["message"] = json!(message);
        }
        spans.push(value);
    }
    spans
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// 64-bit integers are strings in the JSON encoding of protocol buffers.
fn nanos(ms: i64) -> String {
    (i128::from(ms) * 1_000_000).to_string()
}

fn span_id(place: u64) -> String {
    format!("{:016x}", place + 1)
}

fn digits(commit: &str, length: usize) -> String {
    let mut digits: String = commit.chars().filter(char::is_ascii_hexdigit).take(length).collect();
    while digits.len() < length {
        digits.push('0');
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Ledger, Opened};

    #[test]
    fn ids_have_the_lengths_that_otlp_asks_for() {
        let mut ledger = Ledger::default();
        ledger.apply(Event::Opened(Opened {
            repository: "o/r".to_owned(),
            reference: "refs/heads/main".to_owned(),
            commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            title: String::new(),
            author: String::new(),
            at_ms: 1,
        }));
        let request = export(ledger.deliveries());
        let span = &request["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], "0123456789abcdef0123456789abcdef");
        assert_eq!(span["spanId"].as_str().unwrap().len(), 16);
        assert_eq!(span["startTimeUnixNano"], "1000000");
    }
}
