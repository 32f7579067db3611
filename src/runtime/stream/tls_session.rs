//! One connection's TLS, without a socket and without a buffer while nothing is under way.

use std::{fmt, sync::Arc};

use rustls::{
    ServerConfig,
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic},
};

use super::scratch::Buffer;
use crate::stun::{Frame, next_frame};

/// So much is encrypted before it is written.
const WRITE_BYTES: usize = 16 * 1024;

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
    /// After an error rustls must not be asked for anything but the alert.
    failed: bool,
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
            failed: false,
            peer_closed: false,
            close_notified: false,
        })
    }

    /// Whether the handshake is complete.
    pub(crate) const fn is_established(&self) -> bool {
        self.established
    }

    /// Whether something may be encrypted.
    pub(crate) const fn can_send(&self) -> bool {
        self.established && !self.failed
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
        if self.failed {
            return Err(TlsFault::Unexpected);
        }
        let result = self.process(wire, plain);
        if result.is_err() {
            self.failed = true;
            self.encode_alert();
        }
        result
    }

    fn process(&mut self, wire: &mut Buffer, plain: &mut Buffer) -> Result<(), TlsFault> {
        loop {
            let UnbufferedStatus { mut discard, state } = self.tls.process_tls_records(wire.unused_mut());
            let mut done = false;
            match state? {
                ConnectionState::ReadTraffic(mut records) => {
                    while let Some(record) = records.next_record() {
                        let record = record?;
                        discard += record.discard;
                        if !plain.append(record.payload) {
                            return Err(TlsFault::Unexpected);
                        }
                    }
                }
                ConnectionState::EncodeTlsData(data) => encode(data, &mut self.outgoing)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.peer_closed = true,
                ConnectionState::WriteTraffic(_) => {
                    self.established = true;
                    done = true;
                }
                ConnectionState::BlockedHandshake | ConnectionState::Closed => done = true,
                // Early data is never offered.
                ConnectionState::ReadEarlyData(_) | _ => return Err(TlsFault::Unexpected),
            }
            wire.consume(discard);
            if done {
                return Ok(());
            }
        }
    }

    /// Encrypts messages from the start of `plain` into `records`, as many as make a good write. Answers how many bytes
    /// were taken and how many written; none if [`Self::outgoing`] must be written first.
    ///
    /// Each message has a record of its own (one above 16 KiB several): clients are about that take what one read of
    /// their TLS library gives them, which is a record, for one message.
    pub(crate) fn encrypt(&mut self, plain: &[u8], records: &mut [u8]) -> Result<(usize, usize), TlsFault> {
        let (mut taken, mut written) = (0, 0);
        while written < WRITE_BYTES
            && let Some(rest) = plain.get(taken..).filter(|rest| !rest.is_empty())
        {
            let message = match next_frame(rest) {
                Frame::Complete { consumed, .. } => consumed,
                // The rest of this message did not fit into `plain`.
                Frame::Incomplete { .. } | Frame::Invalid(_) if taken > 0 => break,
                Frame::Incomplete { .. } | Frame::Invalid(_) => rest.len(),
            };
            let room = records.get_mut(written..).unwrap_or_default();
            if written > 0 && room.len() < message + record_overhead(message) {
                break;
            }
            let message = rest.get(..message).unwrap_or_default();
            let bytes = self.write_traffic(|traffic| traffic.encrypt(message, room))?;
            if bytes == 0 {
                break;
            }
            taken += message.len();
            written += bytes;
        }
        Ok((taken, written))
    }

    /// Appends the record that says that no more will be sent to [`Self::outgoing`].
    pub(crate) fn notify_close(&mut self) {
        if !self.can_send() || self.close_notified {
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

    /// Keeps records that could not be written at once. Records are numbered: these come before any that were added to
    /// [`Self::outgoing`] after they were encrypted.
    pub(crate) fn keep_unsent(&mut self, records: &[u8]) {
        debug_assert_eq!(self.sent, 0, "everything before was written");
        self.outgoing.splice(..0, records.iter().copied());
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

    /// After most errors rustls has one more record to send, which says what was wrong.
    fn encode_alert(&mut self) {
        // Only while there is one does rustls not look at the records received, which are spoilt now.
        while self.tls.wants_write() {
            let UnbufferedStatus { state, .. } = self.tls.process_tls_records(&mut []);
            let Ok(ConnectionState::EncodeTlsData(data)) = state else { return };
            if encode(data, &mut self.outgoing).is_err() {
                return;
            }
        }
    }
}

/// How many bytes records add to a message, at most: a header, an inner content type and a tag for each 16 KiB, and a
/// change of keys before.
const fn record_overhead(message: usize) -> usize {
    (message / (16 * 1024) + 1) * 32 + 64
}

/// Appends a handshake record or alert to `outgoing`.
fn encode<Data>(mut data: EncodeTlsData<'_, Data>, outgoing: &mut Vec<u8>) -> Result<(), TlsFault> {
    let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else { return Ok(()) };
    let start = outgoing.len();
    outgoing.resize(start + size.required_size, 0);
    let room = outgoing.get_mut(start..).ok_or(TlsFault::Unexpected)?;
    data.encode(room).map(|_| ()).map_err(|_| TlsFault::Unexpected)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use rustls::{ClientConfig, ClientConnection, crypto::ring, pki_types::PrivatePkcs8KeyDer};

    use super::*;
    use crate::runtime::stream::scratch::Scratch;

    fn configs(version: &'static rustls::SupportedProtocolVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let provider = Arc::new(ring::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (Arc::new(server), Arc::new(client))
    }

    /// Gives `records` to the session as a connection would; false once it has failed.
    fn give(session: &mut TlsSession, scratch: &mut Scratch, records: &[u8], received: &mut Vec<u8>) -> bool {
        scratch.plain.load(&[]);
        scratch.wire.load(session.left_over());
        assert!(scratch.wire.append(records));
        let result = session.receive(&mut scratch.wire, &mut scratch.plain);
        scratch.wire.save(session.left_over());
        received.extend_from_slice(scratch.plain.unused());
        result.is_ok()
    }

    /// What a client sends in a whole session, with `change` made to the bytes of each flight and each split as it
    /// says. Returns what the server received.
    fn converse(
        version: &'static rustls::SupportedProtocolVersion,
        split: usize,
        mut change: impl FnMut(usize, &mut Vec<u8>),
    ) -> (Vec<u8>, TlsSession) {
        let (server, client) = configs(version);
        let mut session = TlsSession::new(server).unwrap();
        let mut client = ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
        let mut scratch = Scratch::new();
        let mut received = Vec::new();
        for flight in 0..6 {
            if flight == 3 && !client.is_handshaking() {
                client.writer().write_all(&[7; 3000]).unwrap();
            }
            if flight == 4 && !client.is_handshaking() {
                // TLS 1.2 has no key update; its error is of no interest.
                let _refused = client.refresh_traffic_keys();
                client.writer().write_all(&[8; 10]).unwrap();
                client.send_close_notify();
            }
            let mut records = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut records).unwrap();
            }
            change(flight, &mut records);
            for part in records.chunks(split) {
                if !give(&mut session, &mut scratch, part, &mut received) {
                    // What a closing connection still does.
                    session.notify_close();
                    return (received, session);
                }
                let mut answer = session.outgoing().to_vec();
                session.sent(answer.len());
                if session.can_send() && flight == 4 {
                    let mut record = vec![0; 2048];
                    let (_, bytes) = session.encrypt(&[9; 100], &mut record).unwrap_or((0, 0));
                    answer.extend_from_slice(&record[..bytes]);
                }
                let mut answer = &answer[..];
                while !answer.is_empty() && client.read_tls(&mut answer).is_ok() {
                    if client.process_new_packets().is_err() {
                        return (received, session);
                    }
                }
            }
        }
        (received, session)
    }

    #[test]
    fn sessions_of_both_versions_pass_whatever_the_split() {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            for split in [1, 7, 100, 100_000] {
                let (received, session) = converse(version, split, |_, _| {});
                assert_eq!(received, [vec![7; 3000], vec![8; 10]].concat(), "{version:?} {split}");
                assert!(session.is_peer_closed());
                assert!(session.left_over.is_empty());
            }
        }
    }

    #[test]
    fn each_message_has_a_record_of_its_own() {
        let (_, mut session) = converse(&rustls::version::TLS13, 100_000, |flight, records| {
            if flight > 3 {
                records.clear();
            }
        });
        let messages = [
            [&crate::stun::channel_data_header(0x4000, 5)[..], &[1; 8]].concat(),
            [&crate::stun::channel_data_header(0x4001, 0)[..], &[]].concat(),
            [&crate::stun::channel_data_header(0x4002, 40_000)[..], &[2; 40_000]].concat(),
        ];
        let mut records = vec![0; 70_000];
        let plain = messages.concat();
        let (taken, written) = session.encrypt(&plain, &mut records).unwrap();
        assert_eq!(taken, plain.len());
        let mut lengths = Vec::new();
        let mut rest = &records[..written];
        while let Some((header, after)) = rest.split_at_checked(5) {
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            lengths.push(length - 17);
            rest = &after[length..];
        }
        assert_eq!(lengths, [12, 4, 16_384, 16_384, 40_004 - 2 * 16_384]);
        // A message that is cut off waits for its rest, unless there is nothing before it.
        let (taken, _) = session.encrypt(&plain[..1000], &mut records).unwrap();
        assert_eq!(taken, 16);
        let (taken, _) = session.encrypt(&plain[16..1000], &mut records).unwrap();
        assert_eq!(taken, 984);
    }

    #[test]
    fn a_refused_protocol_is_told_by_an_alert() {
        let (server, _) = configs(&rustls::version::TLS13);
        let (_, client) = configs(&rustls::version::TLS12);
        let mut session = TlsSession::new(server).unwrap();
        let mut client = ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        assert!(!give(&mut session, &mut Scratch::new(), &hello, &mut Vec::new()));
        assert_eq!(session.outgoing()[0], 21);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn damaged_sessions_fail_without_panic(
            tls13: bool,
            damaged_flight in 0..6_usize,
            place: prop::sample::Index,
            value: u8,
            how in 0..4,
            split in prop::sample::select(vec![1_usize, 5, 64, 1000, 100_000]),
        ) {
            let version = if tls13 { &rustls::version::TLS13 } else { &rustls::version::TLS12 };
            converse(version, split, |flight, records| {
                if flight != damaged_flight || records.is_empty() {
                    return;
                }
                let place = place.index(records.len());
                match how {
                    0 => records[place] = value,
                    1 => records.truncate(place),
                    2 => records.insert(place, value),
                    _ => {
                        let again = records[place..].to_vec();
                        records.extend(again);
                    }
                }
            });
        }

        #[test]
        fn junk_records_fail_without_panic(
            records in prop::collection::vec((20..25_u8, prop::collection::vec(any::<u8>(), 0..40)), 1..6),
            split in 1..50_usize,
        ) {
            let (server, _) = configs(&rustls::version::TLS13);
            let mut session = TlsSession::new(server).unwrap();
            let mut scratch = Scratch::new();
            let bytes: Vec<u8> = records
                .iter()
                .flat_map(|(kind, body)| [&[*kind, 3, 3, 0, body.len() as u8][..], body].concat())
                .collect();
            for part in bytes.chunks(split) {
                if !give(&mut session, &mut scratch, part, &mut Vec::new()) {
                    session.notify_close();
                    break;
                }
            }
        }
    }
}
