//! The built-in page.

/// The page at `/`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// When it is served.
    pub enabled: PageEnabled,
}

/// When the built-in page is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageEnabled {
    /// In a bare start, and where there is an issuer of the tokens that it asks for.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}
