//! The first 20 bytes of a message (RFC 8489 §5).

use std::fmt;

/// Names a transaction; drawn at random by whoever starts it.
pub type TransactionId = [u8; 12];

/// The length of the header, in bytes.
pub const HEADER_BYTES: usize = 20;

/// Bytes 4 to 7 of every message.
pub const MAGIC_COOKIE: u32 = 0x2112_A442;

/// The two class bits of a message type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Wants a response.
    Request,
    /// Wants none.
    Indication,
    /// A success response.
    Success,
    /// An error response.
    Error,
}

/// The twelve method bits of a message type.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Method(pub u16);

impl Method {
    /// Binding (RFC 8489 §3).
    pub const BINDING: Self = Self(0x001);
    /// Allocate (RFC 8656 §7).
    pub const ALLOCATE: Self = Self(0x003);
    /// Refresh (RFC 8656 §8).
    pub const REFRESH: Self = Self(0x004);
    /// Send, indications only (RFC 8656 §11).
    pub const SEND: Self = Self(0x006);
    /// Data, indications only (RFC 8656 §11).
    pub const DATA: Self = Self(0x007);
    /// CreatePermission (RFC 8656 §10).
    pub const CREATE_PERMISSION: Self = Self(0x008);
    /// ChannelBind (RFC 8656 §12).
    pub const CHANNEL_BIND: Self = Self(0x009);
    /// Connect (RFC 6062 §4.3).
    pub const CONNECT: Self = Self(0x00A);
    /// ConnectionBind (RFC 6062 §4.3).
    pub const CONNECTION_BIND: Self = Self(0x00B);
    /// ConnectionAttempt, indications only (RFC 6062 §4.4).
    pub const CONNECTION_ATTEMPT: Self = Self(0x00C);

    /// The name of the RFCs, for the methods above.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::BINDING => "Binding",
            Self::ALLOCATE => "Allocate",
            Self::REFRESH => "Refresh",
            Self::SEND => "Send",
            Self::DATA => "Data",
            Self::CREATE_PERMISSION => "CreatePermission",
            Self::CHANNEL_BIND => "ChannelBind",
            Self::CONNECT => "Connect",
            Self::CONNECTION_BIND => "ConnectionBind",
            Self::CONNECTION_ATTEMPT => "ConnectionAttempt",
            Self(_) => return None,
        })
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Method({:#05x})", self.0),
        }
    }
}

/// Joins class and method into a message type: `00 M11..M7 C1 M6..M4 C0 M3..M0`.
pub(crate) const fn message_type(class: Class, method: Method) -> u16 {
    let class_bits = match class {
        Class::Request => 0x0000,
        Class::Indication => 0x0010,
        Class::Success => 0x0100,
        Class::Error => 0x0110,
    };
    let m = method.0;
    (m & 0x000F) | ((m & 0x0070) << 1) | ((m & 0x0F80) << 2) | class_bits
}

/// The class in a message type.
pub(crate) const fn class_of(message_type: u16) -> Class {
    match (message_type & 0x0100 != 0, message_type & 0x0010 != 0) {
        (false, false) => Class::Request,
        (false, true) => Class::Indication,
        (true, false) => Class::Success,
        (true, true) => Class::Error,
    }
}

/// The method in a message type.
pub(crate) const fn method_of(message_type: u16) -> Method {
    Method((message_type & 0x000F) | ((message_type & 0x00E0) >> 1) | ((message_type & 0x3E00) >> 2))
}

#[cfg(test)]
mod tests {
    use super::{Class, Method, class_of, message_type, method_of};

    #[test]
    fn every_class_and_method_survives_the_message_type() {
        for method in (0..0x1000).map(Method) {
            for class in [Class::Request, Class::Indication, Class::Success, Class::Error] {
                let joined = message_type(class, method);
                assert_eq!(joined & 0xC000, 0);
                assert_eq!((class_of(joined), method_of(joined)), (class, method));
            }
        }
    }

    #[test]
    fn message_types_are_those_of_the_rfcs() {
        assert_eq!(message_type(Class::Request, Method::BINDING), 0x0001);
        assert_eq!(message_type(Class::Success, Method::BINDING), 0x0101);
        assert_eq!(message_type(Class::Error, Method::ALLOCATE), 0x0113);
        assert_eq!(message_type(Class::Indication, Method::SEND), 0x0016);
        assert_eq!(message_type(Class::Indication, Method::DATA), 0x0017);
    }

    #[test]
    fn methods_print_their_names() {
        assert_eq!(format!("{:?} {:?}", Method::CHANNEL_BIND, Method(0xFFF)), "ChannelBind Method(0xfff)");
    }
}
