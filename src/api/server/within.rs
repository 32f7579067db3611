//! The API for the process itself.

use std::{fmt, io};

use tokio::io::{DuplexStream, duplex};

use super::{
    connection,
    front::{Front, Link},
};
use crate::api::{Service, routes::router};

/// What is on its way at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Connections to the API that leave no process. Who has them may do everything, as on the control socket.
#[derive(Clone)]
pub struct Within(Front);

impl Within {
    pub(in crate::api) fn new(service: &Service) -> io::Result<Self> {
        Front::new(router(service.clone()), service).map(Self)
    }

    /// A connection, answered by a task of this runtime until it is dropped.
    pub fn connect(&self) -> DuplexStream {
        let (ours, theirs) = duplex(BUFFER_BYTES);
        tokio::spawn(connection::serve(theirs, self.0.clone(), Link::control()));
        ours
    }
}

impl fmt::Debug for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Within")
    }
}
