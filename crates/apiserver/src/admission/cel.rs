//! CEL rules of custom resources.

use objects::schema::SchemaRef;
use objects::status::Cause;
use serde_json::Value;

/// The faults that the rules of a schema find.
pub(crate) fn rules(_object: &Value, _old: Option<&Value>, _schema: SchemaRef<'_>) -> Vec<Cause> {
    Vec::new()
}
