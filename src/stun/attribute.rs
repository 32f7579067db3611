//! Attribute types (IANA "STUN Attributes").

/// Whether a receiver that does not know the attribute must refuse the message (RFC 8489 §14): below 0x8000.
#[must_use]
pub const fn is_comprehension_required(attribute: u16) -> bool {
    attribute < 0x8000
}

// RFC 8489.

/// MAPPED-ADDRESS: the reflexive address, in the clear (RFC 8489 §14.1).
pub const MAPPED_ADDRESS: u16 = 0x0001;
/// USERNAME: up to 508 bytes of UTF-8, 763 from old senders (RFC 8489 §14.3).
pub const USERNAME: u16 = 0x0006;
/// MESSAGE-INTEGRITY: HMAC-SHA1 over what precedes it, 20 bytes (RFC 8489 §14.5).
pub const MESSAGE_INTEGRITY: u16 = 0x0008;
/// ERROR-CODE: 300 to 699 and a reason phrase (RFC 8489 §14.8).
pub const ERROR_CODE: u16 = 0x0009;
/// UNKNOWN-ATTRIBUTES: a list of types, with 420 (RFC 8489 §14.13).
pub const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
/// REALM: fewer than 128 characters of UTF-8 (RFC 8489 §14.9).
pub const REALM: u16 = 0x0014;
/// NONCE: fewer than 128 characters (RFC 8489 §14.10).
pub const NONCE: u16 = 0x0015;
/// MESSAGE-INTEGRITY-SHA256: 16 to 32 bytes (RFC 8489 §14.6).
pub const MESSAGE_INTEGRITY_SHA256: u16 = 0x001C;
/// PASSWORD-ALGORITHM: the one the client chose (RFC 8489 §14.12).
pub const PASSWORD_ALGORITHM: u16 = 0x001D;
/// USERHASH: SHA-256 of user name and realm (RFC 8489 §14.4).
pub const USERHASH: u16 = 0x001E;
/// XOR-MAPPED-ADDRESS: the reflexive address (RFC 8489 §14.2).
pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// PASSWORD-ALGORITHMS: those the server offers (RFC 8489 §14.11).
pub const PASSWORD_ALGORITHMS: u16 = 0x8002;
/// ALTERNATE-DOMAIN: the name of an alternate server (RFC 8489 §14.16).
pub const ALTERNATE_DOMAIN: u16 = 0x8003;
/// SOFTWARE: a description of the sender (RFC 8489 §14.14).
pub const SOFTWARE: u16 = 0x8022;
/// ALTERNATE-SERVER: the address of an alternate server (RFC 8489 §14.15).
pub const ALTERNATE_SERVER: u16 = 0x8023;
/// FINGERPRINT: CRC-32 of what precedes it, always last (RFC 8489 §14.7).
pub const FINGERPRINT: u16 = 0x8028;

// RFC 8656.

/// CHANNEL-NUMBER: 0x4000 to 0x4FFF (RFC 8656 §18.1).
pub const CHANNEL_NUMBER: u16 = 0x000C;
/// LIFETIME: in seconds (RFC 8656 §18.2).
pub const LIFETIME: u16 = 0x000D;
/// XOR-PEER-ADDRESS (RFC 8656 §18.3).
pub const XOR_PEER_ADDRESS: u16 = 0x0012;
/// DATA: the application's payload (RFC 8656 §18.4).
pub const DATA: u16 = 0x0013;
/// XOR-RELAYED-ADDRESS (RFC 8656 §18.5).
pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
/// REQUESTED-ADDRESS-FAMILY (RFC 8656 §18.6).
pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
/// EVEN-PORT (RFC 8656 §18.7).
pub const EVEN_PORT: u16 = 0x0018;
/// REQUESTED-TRANSPORT (RFC 8656 §18.8).
pub const REQUESTED_TRANSPORT: u16 = 0x0019;
/// DONT-FRAGMENT: no value (RFC 8656 §18.9).
pub const DONT_FRAGMENT: u16 = 0x001A;
/// RESERVATION-TOKEN: 8 bytes (RFC 8656 §18.10).
pub const RESERVATION_TOKEN: u16 = 0x0022;
/// ADDITIONAL-ADDRESS-FAMILY (RFC 8656 §18.11).
pub const ADDITIONAL_ADDRESS_FAMILY: u16 = 0x8000;
/// ADDRESS-ERROR-CODE (RFC 8656 §18.12).
pub const ADDRESS_ERROR_CODE: u16 = 0x8001;
/// ICMP (RFC 8656 §18.13).
pub const ICMP: u16 = 0x8004;

// RFC 6062, 5780, 8016, 7635 and ICE.

/// CONNECTION-ID: 4 bytes (RFC 6062 §6.2.1).
pub const CONNECTION_ID: u16 = 0x002A;
/// CHANGE-REQUEST: answer from another address or port (RFC 5780 §7.2).
pub const CHANGE_REQUEST: u16 = 0x0003;
/// PADDING: makes a message large (RFC 5780 §7.6).
pub const PADDING: u16 = 0x0026;
/// RESPONSE-PORT: answer to another port (RFC 5780 §7.5).
pub const RESPONSE_PORT: u16 = 0x0027;
/// RESPONSE-ORIGIN: where the answer was sent from (RFC 5780 §7.3).
pub const RESPONSE_ORIGIN: u16 = 0x802B;
/// OTHER-ADDRESS: where the answer would come from with CHANGE-REQUEST (RFC 5780 §7.4).
pub const OTHER_ADDRESS: u16 = 0x802C;
/// MOBILITY-TICKET: opaque (RFC 8016 §3.4).
pub const MOBILITY_TICKET: u16 = 0x8030;
/// ACCESS-TOKEN: a self-contained token (RFC 7635 §6.2).
pub const ACCESS_TOKEN: u16 = 0x001B;
/// THIRD-PARTY-AUTHORIZATION: the name of an authorization server (RFC 7635 §6.1).
pub const THIRD_PARTY_AUTHORIZATION: u16 = 0x802E;
/// PRIORITY (RFC 8445 §16.1).
pub const PRIORITY: u16 = 0x0024;
/// USE-CANDIDATE: no value (RFC 8445 §16.1).
pub const USE_CANDIDATE: u16 = 0x0025;
/// ICE-CONTROLLED: 8 bytes (RFC 8445 §16.1).
pub const ICE_CONTROLLED: u16 = 0x8029;
/// ICE-CONTROLLING: 8 bytes (RFC 8445 §16.1).
pub const ICE_CONTROLLING: u16 = 0x802A;
