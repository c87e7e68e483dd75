//! OCI images without an engine: digests, references, manifests, layouts on disk, layers, and a registry client.
//!
//! The formats are those of the OCI image and distribution specifications and Docker's equal ones. Bytes on disk are owned by
//! [`blob::BlobStore`] and [`layout::Layout`]; everything else is a value. Only [`client`] speaks HTTP, to where an
//! [`EndpointMap`] tells it to. Nothing here runs a container or listens on a socket.

pub mod blob;
pub mod client;
mod config;
mod digest;
mod endpoint;
pub mod layer;
pub mod layout;
mod manifest;
pub mod media;
pub mod reference;
pub mod signature;
pub mod tar;

pub use config::{Config, Healthcheck, History, ImageConfig, RootFs};
pub use digest::{Algorithm, Digest, Error as DigestError, Hasher};
pub use endpoint::{Endpoint, EndpointMap, Error as EndpointError};
pub use manifest::{Descriptor, Document, Error as ManifestError, Index, MAX_MANIFEST, Manifest, Platform, REF_NAME};
pub use reference::Reference;
