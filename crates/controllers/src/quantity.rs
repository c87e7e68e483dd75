//! Quantities as integers: what scheduling and autoscaling reckon in.

use objects::quantity::Quantity;
use serde_json::Value;

/// Thousandths of a quantity, rounded up; `None` when it is not one.
pub fn milli(value: &Value) -> Option<i64> {
    Quantity::from_value(value).ok().map(|q| q.millis())
}

/// Whole units of a quantity, rounded up; zero when it is not one.
pub fn units(value: &Value) -> i64 {
    Quantity::from_value(value).map_or(0, |q| q.units())
}
