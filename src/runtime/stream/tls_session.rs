//! One connection's TLS, without a socket and without a buffer while nothing is under way.

use std::{fmt, sync::Arc};

use rustls::{
    ServerConfig,
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic},
};

use super::scratch::Buffer;

/// One connection's TLS.
///
/// rustls's buffered connections keep 4 KiB and more for each idle client; here records are decrypted from and
/// encrypted to the buffers the shard shares, and only an incomplete record or an incomplete write is kept.
pub(crate) struct TlsSession {
    tls: UnbufferedServerConnection,
    /// An incomplete record, or records of an incomplete handshake message.
    left_over: Vec<u8>,
    /// Records that wait to be written, of which the first `sent` bytes have been.
    outgoing: Vec<u8>,
    sent: usize,
    established: bool,
    peer_closed: bool,
    close_notified: bool,
}

impl fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSession").field("established", &self.established).finish_non_exhaustive()
    }
}

/// Why a TLS session cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsFault {
    /// The client broke the protocol, or nothing could be agreed on.
    #[error(transparent)]
    Protocol(#[from] rustls::Error),
    /// More plaintext than its buffer holds, or a state that cannot be.
    #[error("TLS session in an impossible state")]
    Unexpected,
}

impl TlsSession {
    /// A server's side before the first record.
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Self, TlsFault> {
        Ok(Self {
            tls: UnbufferedServerConnection::new(config)?,
            left_over: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
            established: false,
            peer_closed: false,
            close_notified: false,
        })
    }

    /// Whether the handshake is complete.
    pub(crate) const fn is_established(&self) -> bool {
        self.established
    }

    /// Whether the client has said that it will send no more.
    pub(crate) const fn is_peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Whether a record has begun and is not complete.
    pub(crate) fn has_partial_record(&self) -> bool {
        !self.left_over.is_empty()
    }

    /// What was left over, to be put before what is read next.
    pub(crate) fn left_over(&mut self) -> &mut Vec<u8> {
        &mut self.left_over
    }

    /// Takes records from `wire`, appends what they carry to `plain`, and answers the handshake into
    /// [`Self::outgoing`].
    ///
    /// # Errors
    /// The session is over; an alert that says why lies in [`Self::outgoing`].
    pub(crate) fn receive(&mut self, wire: &mut Buffer, plain: &mut Buffer) -> Result<(), TlsFault> {
        loop {
            let mut fits = true;
            let UnbufferedStatus { mut discard, state } = self.tls.process_tls_records(wire.unused_mut());
            let done = match state {
                Ok(ConnectionState::ReadTraffic(mut records)) => {
                    while let Some(record) = records.next_record() {
                        let record = record?;
                        discard += record.discard;
                        fits &= plain.append(record.payload);
                    }
                    false
                }
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    encode(data, &mut self.outgoing)?;
                    false
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    false
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.peer_closed = true;
                    false
                }
                Ok(ConnectionState::WriteTraffic(_)) => {
                    self.established = true;
                    true
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => true,
                // Early data is never offered.
                Ok(ConnectionState::ReadEarlyData(_) | _) => return Err(TlsFault::Unexpected),
                Err(error) => {
                    self.encode_alert();
                    return Err(error.into());
                }
            };
            wire.consume(discard);
            if !fits {
                return Err(TlsFault::Unexpected);
            }
            if done {
                return Ok(());
            }
        }
    }

    /// Encrypts `plain` into `records` and says how long they are; 0 if [`Self::outgoing`] must be written first.
    pub(crate) fn encrypt(&mut self, plain: &[u8], records: &mut [u8]) -> Result<usize, TlsFault> {
        self.write_traffic(|traffic| traffic.encrypt(plain, records))
    }

    /// Appends the record that says that no more will be sent to [`Self::outgoing`].
    pub(crate) fn notify_close(&mut self) {
        if !self.established || self.close_notified {
            return;
        }
        self.close_notified = true;
        let mut alert = [0; 64];
        if let Ok(bytes) = self.write_traffic(|traffic| traffic.queue_close_notify(&mut alert)) {
            self.outgoing.extend_from_slice(&alert[..bytes]);
        }
    }

    /// Whether [`Self::notify_close`] was called.
    pub(crate) const fn is_close_notified(&self) -> bool {
        self.close_notified
    }

    /// Records that wait to be written.
    pub(crate) fn outgoing(&self) -> &[u8] {
        &self.outgoing[self.sent..]
    }

    /// The first `bytes` of [`Self::outgoing`] are written.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent >= self.outgoing.len() {
            self.outgoing = Vec::new();
            self.sent = 0;
        }
    }

    /// Keeps what could not be written at once.
    pub(crate) fn keep_unsent(&mut self, records: &[u8]) {
        self.outgoing.extend_from_slice(records);
    }

    fn write_traffic(
        &mut self,
        write: impl FnOnce(&mut WriteTraffic<'_, ServerConnectionData>) -> Result<usize, EncryptError>,
    ) -> Result<usize, TlsFault> {
        let queued = self.outgoing.len();
        loop {
            // What is left over is an incomplete record: it is shown again, because rustls may hold offsets into it.
            let UnbufferedStatus { state, .. } = self.tls.process_tls_records(&mut self.left_over);
            match state? {
                ConnectionState::EncodeTlsData(data) => encode(data, &mut self.outgoing)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.peer_closed = true,
                ConnectionState::WriteTraffic(mut traffic) => {
                    // Records are numbered: those already in `outgoing` go first.
                    if self.outgoing.len() > queued {
                        return Ok(0);
                    }
                    return write(&mut traffic).map_err(|_| TlsFault::Unexpected);
                }
                ConnectionState::ReadTraffic(_)
                | ConnectionState::BlockedHandshake
                | ConnectionState::Closed
                | ConnectionState::ReadEarlyData(_)
                | _ => return Err(TlsFault::Unexpected),
            }
        }
    }

    /// After an error rustls has one more record to send, which says what was wrong.
    fn encode_alert(&mut self) {
        let UnbufferedStatus { state, .. } = self.tls.process_tls_records(&mut []);
        if let Ok(ConnectionState::EncodeTlsData(data)) = state
            && encode(data, &mut self.outgoing).is_err()
        {
            self.outgoing.clear();
        }
    }
}

/// Appends a handshake record or alert to `outgoing`.
fn encode<Data>(mut data: EncodeTlsData<'_, Data>, outgoing: &mut Vec<u8>) -> Result<(), TlsFault> {
    let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else { return Ok(()) };
    let start = outgoing.len();
    outgoing.resize(start + size.required_size, 0);
    let room = outgoing.get_mut(start..).ok_or(TlsFault::Unexpected)?;
    data.encode(room).map(|_| ()).map_err(|_| TlsFault::Unexpected)
}
