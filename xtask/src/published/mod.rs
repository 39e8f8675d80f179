//! What the crates for the registry have: [`manifest`] is what stands in and beside their manifests, [`oldest`] builds them as
//! packaged, with the oldest versions of all they depend on.

pub(crate) mod manifest;
pub(crate) mod oldest;
