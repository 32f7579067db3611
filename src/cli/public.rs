//! Finding the public addresses, at the start of a server and from then on.

use std::net::IpAddr;

use anyhow::anyhow;

use super::{exit::Failure, serving::Signals};
use crate::{
    api::Service,
    config::Loaded,
    runtime::{Finder, Found, Listeners, NodeHandle, NotFound},
};

/// Whether a start goes on.
pub(super) enum First {
    /// With what was found, and goes on looking if there is something to look for.
    Known(Option<Box<Finder>>),
    /// A signal ended it.
    Interrupted,
}

/// Looks for what is not written down, for 10 s at most, or until a signal says to end.
///
/// # Errors
/// Nobody outside could be relayed to.
pub(super) async fn find(
    loaded: &Loaded,
    listeners: &mut Listeners,
    signals: &mut Signals,
) -> Result<First, Failure> {
    let listening: Vec<IpAddr> = listeners.listening().iter().map(|one| one.address.ip()).collect();
    let Some(mut finder) = Finder::new(&loaded.config.relay, &listening) else {
        return Ok(First::Known(None));
    };
    tokio::select! {
        () = signals.end() => return Ok(First::Interrupted),
        found = finder.first() => found.map_err(|error| explain(loaded, &error))?,
    }
    listeners.set_found(finder.found());
    Ok(First::Known(Some(Box::new(finder))))
}

fn explain(loaded: &Loaded, error: &NotFound) -> Failure {
    anyhow!("relay.external ({}): {error}", loaded.origin("relay.external")).into()
}

/// Goes on looking as long as the process runs.
pub(super) async fn follow(mut finder: Box<Finder>, node: NodeHandle, service: Service) {
    loop {
        finder.next().await;
        let (before, found): (_, Found) = (node.public(), finder.found());
        if node.set_found(&found, finder.counts()) || node.public().addresses != before.addresses {
            service.readdress();
        }
    }
}
