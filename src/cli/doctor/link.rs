//! Reaching a server: a UDP socket, or a TCP or TLS connection that carries frames.

use std::{
    any::Any,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf},
    net::{TcpStream, UdpSocket},
    sync::Mutex,
    time::timeout,
};
use webrtc_util::Conn;

use super::{target::Way, tls::Observed};
use crate::{
    stun::{Class, FRAME_BYTES_MAX, Frame, Message, attribute, next_frame, padding},
    turn::Transport,
};

/// A connection, and a TLS handshake, may each take so long.
const CONNECT_MAX: Duration = Duration::from_secs(4);

/// What datagrams or frames go through.
pub(super) type Link = Arc<dyn Conn + Send + Sync>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("nothing listens there: the connection is refused")]
    Refused,
    #[error("no answer to the connection within {} s", CONNECT_MAX.as_secs())]
    Silent,
    #[error("this machine has no way there: {0}")]
    Unreachable(io::Error),
    #[error("no TLS: {0}")]
    Tls(String),
    #[error("{0}")]
    Other(io::Error),
}

impl LinkError {
    fn of(error: io::Error) -> Self {
        use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable};
        let is = |kinds: &[io::ErrorKind]| kinds.contains(&error.kind());
        if is(&[ConnectionRefused]) {
            Self::Refused
        } else if is(&[NetworkUnreachable, HostUnreachable, AddrNotAvailable]) {
            Self::Unreachable(error)
        } else {
            Self::Other(error)
        }
    }
}

/// A new connection to the server. What its certificate is goes to `observed`; whoever looks wants to see everything.
///
/// # Errors
/// See [`LinkError`].
pub(super) async fn connect(way: &Way, observed: &Observed) -> Result<Link, LinkError> {
    if way.target.transport == Transport::Udp {
        return udp(way.address).await.map_err(LinkError::of);
    }
    let stream = timeout(CONNECT_MAX, TcpStream::connect(way.address)).await;
    let stream = stream.map_err(|_| LinkError::Silent)?.map_err(LinkError::of)?;
    // Small packets that wait for one another would look like a slow network.
    stream.set_nodelay(true).map_err(LinkError::Other)?;
    let local = stream.local_addr().map_err(LinkError::Other)?;
    if way.target.transport == Transport::Tcp {
        return Ok(Arc::new(Framed::new(stream, local, way.address)));
    }
    let handshake = observed.handshake(&way.target.host, stream).map_err(LinkError::Tls)?;
    let stream =
        timeout(CONNECT_MAX, handshake).await.map_err(|_| LinkError::Tls(HANDSHAKE_SILENT.to_owned()))?;
    let stream = stream.map_err(|error| LinkError::Tls(error.to_string()))?;
    Ok(Arc::new(Framed::new(stream, local, way.address)))
}

const HANDSHAKE_SILENT: &str = "the handshake is not answered";

async fn udp(server: SocketAddr) -> io::Result<Link> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    // Connected, it hears that nothing listens there.
    socket.connect(server).await?;
    Ok(Arc::new(socket))
}

/// STUN messages and ChannelData on a stream (RFC 8656 §12.5: ChannelData is padded there).
struct Framed<S> {
    reader: Mutex<Reader<S>>,
    writer: Mutex<WriteHalf<S>>,
    local: SocketAddr,
    remote: SocketAddr,
}

struct Reader<S> {
    half: ReadHalf<S>,
    /// Bounded by the largest frame and one read.
    buffered: Vec<u8>,
}

const READ_BYTES: usize = 16 << 10;

impl<S: AsyncRead + AsyncWrite + Send + 'static> Framed<S> {
    fn new(stream: S, local: SocketAddr, remote: SocketAddr) -> Self {
        let (half, writer) = tokio::io::split(stream);
        let reader = Reader { half, buffered: Vec::new() };
        Self { reader: Mutex::new(reader), writer: Mutex::new(writer), local, remote }
    }
}

impl<S: AsyncRead> Reader<S> {
    /// The next frame, without its padding. Nothing is lost when this is given up half way.
    async fn next(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match next_frame(&self.buffered) {
                Frame::Complete { bytes, consumed } => {
                    let frame = self.buffered.get(..bytes);
                    let (Some(frame), Some(place)) = (frame, into.get_mut(..bytes)) else {
                        return Err(io::Error::from(io::ErrorKind::InvalidInput));
                    };
                    place.copy_from_slice(frame);
                    self.buffered.drain(..consumed);
                    return Ok(bytes);
                }
                Frame::Incomplete { .. } => {}
                Frame::Invalid(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
            debug_assert!(self.buffered.len() < FRAME_BYTES_MAX);
            let mut piece = [0; READ_BYTES];
            let count = self.half.read(&mut piece).await?;
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            self.buffered.extend_from_slice(piece.get(..count).unwrap_or_default());
        }
    }
}

#[async_trait]
impl<S: AsyncRead + AsyncWrite + Send + 'static> Conn for Framed<S> {
    async fn connect(&self, _address: SocketAddr) -> Result<(), webrtc_util::Error> {
        Ok(())
    }

    async fn recv(&self, buffer: &mut [u8]) -> Result<usize, webrtc_util::Error> {
        Ok(self.reader.lock().await.next(buffer).await?)
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), webrtc_util::Error> {
        Ok((self.recv(buffer).await?, self.remote))
    }

    async fn send(&self, frame: &[u8]) -> Result<usize, webrtc_util::Error> {
        let mut padded = frame.to_vec();
        padded.resize(frame.len() + padding(frame.len()), 0);
        let mut writer = self.writer.lock().await;
        writer.write_all(&padded).await?;
        writer.flush().await?;
        Ok(frame.len())
    }

    async fn send_to(&self, frame: &[u8], _address: SocketAddr) -> Result<usize, webrtc_util::Error> {
        self.send(frame).await
    }

    fn local_addr(&self) -> Result<SocketAddr, webrtc_util::Error> {
        Ok(self.local)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        Some(self.remote)
    }

    async fn close(&self) -> Result<(), webrtc_util::Error> {
        Ok(self.writer.lock().await.shutdown().await?)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

/// A link without the ICMP errors of RFC 8656 §11.6, at which the client of the `turn` crate stops reading.
pub(super) struct WithoutIcmp(pub(super) Link);

#[async_trait]
impl Conn for WithoutIcmp {
    async fn connect(&self, address: SocketAddr) -> Result<(), webrtc_util::Error> {
        self.0.connect(address).await
    }

    async fn recv(&self, buffer: &mut [u8]) -> Result<usize, webrtc_util::Error> {
        Ok(self.recv_from(buffer).await?.0)
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), webrtc_util::Error> {
        loop {
            let (length, from) = self.0.recv_from(buffer).await?;
            let message = Message::parse(buffer.get(..length).unwrap_or_default());
            let is_icmp = message.is_ok_and(|message| {
                message.class() == Class::Indication && message.find(attribute::DATA).is_none()
            });
            if !is_icmp {
                return Ok((length, from));
            }
        }
    }

    async fn send(&self, bytes: &[u8]) -> Result<usize, webrtc_util::Error> {
        self.0.send(bytes).await
    }

    async fn send_to(&self, bytes: &[u8], address: SocketAddr) -> Result<usize, webrtc_util::Error> {
        self.0.send_to(bytes, address).await
    }

    fn local_addr(&self) -> Result<SocketAddr, webrtc_util::Error> {
        self.0.local_addr()
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        self.0.remote_addr()
    }

    async fn close(&self) -> Result<(), webrtc_util::Error> {
        self.0.close().await
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}
