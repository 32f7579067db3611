//! What browsers get: the JavaScript client, and the built-in page with its parts. All of it is in the binary.

mod assets;
mod page;
mod trial;
mod ways;

pub(super) use assets::assets;
pub(super) use page::page;
pub(super) use trial::{__path_trial_token, TRIAL_PROBLEMS, is_trial_page, trial_token};
pub use trial::{TRIAL_AUDIENCE, TRIAL_ISSUER};
pub(super) use ways::{__path_list_ways, list_ways};
