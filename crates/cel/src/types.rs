//! What is known of a value before it is there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A type.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Ty {
    /// Anything.
    #[default]
    Dyn,
    /// `null`.
    Null,
    /// Truth value.
    Bool,
    /// Signed 64-bit number.
    Int,
    /// Unsigned 64-bit number.
    Uint,
    /// Floating point number.
    Double,
    /// Text.
    String,
    /// Bytes.
    Bytes,
    /// Point in time.
    Timestamp,
    /// Span of time.
    Duration,
    /// List of items.
    List(Box<Ty>),
    /// Map from keys to values.
    Map(Box<Ty>, Box<Ty>),
    /// Named fields.
    Struct(Arc<StructType>),
    /// A type itself.
    Type,
    /// A value or none.
    Optional(Box<Ty>),
    /// The type of messages that an expression may build, with the names of their fields (none: any).
    Message(&'static [&'static str]),
    /// A value of a library, by its name: `url`, `quantity`, ...
    Opaque(&'static str),
}

/// A type with named fields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StructType {
    /// Its fields.
    pub fields: BTreeMap<String, Ty>,
    /// Whether there may be fields of other names.
    pub open: bool,
}

impl Ty {
    pub(crate) fn list(of: Ty) -> Self {
        Ty::List(Box::new(of))
    }

    /// Whether it may stand where the other is wanted.
    pub(crate) fn fits(&self, other: &Ty) -> bool {
        match (self, other) {
            (Ty::Dyn, _) | (_, Ty::Dyn) => true,
            (Ty::List(a), Ty::List(b)) | (Ty::Optional(a), Ty::Optional(b)) => a.fits(b),
            (Ty::Map(a, b), Ty::Map(c, d)) => a.fits(c) && b.fits(d),
            (Ty::Struct(_), Ty::Map(..) | Ty::Struct(_)) | (Ty::Map(..), Ty::Struct(_)) => true,
            // Null stands for an absent value of what can be absent.
            (Ty::Null, o) | (o, Ty::Null) => {
                matches!(o, Ty::Null | Ty::Struct(_) | Ty::Opaque(_) | Ty::Timestamp | Ty::Duration | Ty::Optional(_))
            }
            (a, b) => a == b,
        }
    }

    pub(crate) fn is_number(&self) -> bool {
        matches!(self, Ty::Int | Ty::Uint | Ty::Double)
    }

    /// The type of both.
    pub(crate) fn join(self, other: Ty) -> Ty {
        if self == other { self } else { Ty::Dyn }
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Ty::Dyn => "dyn",
            Ty::Null => "null",
            Ty::Bool => "bool",
            Ty::Int => "int",
            Ty::Uint => "uint",
            Ty::Double => "double",
            Ty::String => "string",
            Ty::Bytes => "bytes",
            Ty::Timestamp => "timestamp",
            Ty::Duration => "duration",
            Ty::List(of) => return write!(f, "list({of})"),
            Ty::Map(key, value) => return write!(f, "map({key}, {value})"),
            Ty::Struct(_) => "object",
            Ty::Type | Ty::Message(_) => "type",
            Ty::Optional(of) => return write!(f, "optional({of})"),
            Ty::Opaque(name) => name,
        };
        f.write_str(name)
    }
}
