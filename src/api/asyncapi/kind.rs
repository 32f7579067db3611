//! A type of frame.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

/// A type of frame: how it is described, and whether a text is one.
pub(super) struct FrameKind {
    /// Who sends it: `client` or `server`.
    pub(super) side: &'static str,
    /// Its `type`.
    pub(super) kind: &'static str,
    /// What it says, in one sentence.
    pub(super) about: &'static str,
    pub(super) schema: fn(&mut SchemaGenerator) -> Schema,
    pub(super) root: fn(SchemaGenerator) -> Schema,
    pub(super) check: fn(&str) -> Result<(), serde_json::Error>,
}

impl FrameKind {
    pub(super) const fn of<T: JsonSchema + DeserializeOwned>(
        side: &'static str,
        kind: &'static str,
        about: &'static str,
    ) -> Self {
        Self {
            side,
            kind,
            about,
            schema: |generator| generator.subschema_for::<T>(),
            root: |generator| generator.into_root_schema_for::<T>(),
            check: |text| serde_json::from_str::<T>(text).map(drop),
        }
    }

    /// Names it among all: `client-hello`.
    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.side, self.kind)
    }
}
