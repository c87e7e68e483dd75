//! Objects in, routing table out. Pure.

mod annotations;
mod endpoints;
mod path;
mod rules;
mod table;

pub use annotations::{Affinity, Auth, Canary, Cidr, Cors, Policy, Protocol, Redirect};
pub use endpoints::{Address, EndpointSpec, resolve};
pub use path::{Matcher, normalise};
pub use rules::{Built, Input, Problem, build};
pub use table::{Backend, BackendKey, Certificate, Host, Location, Route, Table, strip_port};
