//! OCI digests, references, manifests, image layouts and layers.
