//! Writing answers.

use crate::stun::{
    BufferTooSmall, Class, IntegrityKey, Message, Method, TransactionId, UnknownAttributes, Writer,
};

use super::{Code, DropReason, FiveTuple, Request};

/// Room for any answer: a realm and a SOFTWARE of 763 bytes each, a nonce, and all that TURN adds.
pub(super) const REPLY_BYTES_MAX: usize = 2048;

/// What an answer takes over from its request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) from: FiveTuple,
    pub(super) request: Request,
    pub(super) transaction_id: TransactionId,
    /// The request had a FINGERPRINT: so has the answer.
    pub(super) fingerprint: bool,
}

impl Head {
    /// The head of a request that this server answers; `None` for other methods.
    pub(super) fn of(message: &Message<'_>, from: FiveTuple) -> Option<Self> {
        let request = match message.method() {
            Method::BINDING => Request::Binding,
            Method::ALLOCATE => Request::Allocate,
            Method::REFRESH => Request::Refresh,
            Method::CREATE_PERMISSION => Request::CreatePermission,
            Method::CHANNEL_BIND => Request::ChannelBind,
            _ => return None,
        };
        let (transaction_id, fingerprint) = (message.transaction_id(), message.has_fingerprint());
        Some(Self { from, request, transaction_id, fingerprint })
    }

    const fn method(&self) -> Method {
        match self.request {
            Request::Binding => Method::BINDING,
            Request::Allocate => Method::ALLOCATE,
            Request::Refresh => Method::REFRESH,
            Request::CreatePermission => Method::CREATE_PERMISSION,
            Request::ChannelBind => Method::CHANNEL_BIND,
        }
    }
}

/// How answers to an authenticated request are signed (RFC 8489 §9.2.4).
#[derive(Clone, Debug)]
pub(super) struct Signature {
    pub(super) key: IntegrityKey,
    /// With MESSAGE-INTEGRITY-SHA256; otherwise with MESSAGE-INTEGRITY.
    pub(super) sha256: bool,
}

/// Why a request is not answered with success.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// With this error code.
    Code(Code),
    /// With 420 and the list.
    Unknown(UnknownAttributes),
    /// Not answered.
    Drop(DropReason),
    /// Answered later.
    Pending,
}

impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        Self::Code(code)
    }
}

/// Writes a success response: what `attributes` writes, then SOFTWARE and integrity if it is signed, then FINGERPRINT
/// if the request had one. Returns its length.
pub(super) fn success(
    buffer: &mut [u8],
    head: &Head,
    closing: Closing<'_>,
    attributes: impl FnOnce(&mut Writer<'_>) -> Result<(), BufferTooSmall>,
) -> Result<usize, BufferTooSmall> {
    write(buffer, Class::Success, head, closing, attributes)
}

/// Writes an error response with an empty reason phrase: the code says it all, and the answer stays small.
pub(super) fn error(
    buffer: &mut [u8],
    head: &Head,
    closing: Closing<'_>,
    code: Code,
    attributes: impl FnOnce(&mut Writer<'_>) -> Result<(), BufferTooSmall>,
) -> Result<usize, BufferTooSmall> {
    write(buffer, Class::Error, head, closing, |writer| {
        writer.error_code(code.number(), "")?;
        attributes(writer)
    })
}

/// How an answer ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing<'s> {
    /// `None`: unsigned, and without SOFTWARE.
    pub(super) signature: Option<&'s Signature>,
    pub(super) software: Option<&'s str>,
}

fn write(
    buffer: &mut [u8],
    class: Class,
    head: &Head,
    closing: Closing<'_>,
    attributes: impl FnOnce(&mut Writer<'_>) -> Result<(), BufferTooSmall>,
) -> Result<usize, BufferTooSmall> {
    let mut writer = Writer::new(buffer, class, head.method(), head.transaction_id)?;
    attributes(&mut writer)?;
    if let Some(signature) = closing.signature {
        if let Some(software) = closing.software {
            writer.attribute(crate::stun::attribute::SOFTWARE, software.as_bytes())?;
        }
        if signature.sha256 {
            writer.integrity_sha256(&signature.key)?;
        } else {
            writer.integrity_sha1(&signature.key)?;
        }
    }
    if head.fingerprint {
        writer.fingerprint()?;
    }
    Ok(writer.finish())
}
