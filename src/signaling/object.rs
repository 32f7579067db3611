//! JSON as frames have it, written at once into the bytes that are kept.

use bytes::Bytes;

use super::{Place, SessionId};

/// The members of an object, without its braces.
#[derive(Debug, Default)]
pub(super) struct Object(Vec<u8>);

impl Object {
    /// No members yet.
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(96))
    }

    /// A frame of this type; `room` is how many bytes more than usual are to come.
    pub(super) fn frame(kind: &'static str, room: usize) -> Self {
        let mut object = Self(Vec::with_capacity(room + 256));
        object.name("type");
        object.quote(kind);
        object
    }

    pub(super) fn text(mut self, name: &'static str, value: &str) -> Self {
        self.name(name);
        self.quote(value);
        self
    }

    pub(super) fn number(mut self, name: &'static str, value: u64) -> Self {
        self.name(name);
        push_number(&mut self.0, value);
        self
    }

    pub(super) fn flag(mut self, name: &'static str, value: bool) -> Self {
        self.name(name);
        self.0.extend_from_slice(if value { b"true" } else { b"false" });
        self
    }

    /// A value that is JSON already.
    pub(super) fn raw(mut self, name: &'static str, json: &[u8]) -> Self {
        self.name(name);
        self.0.extend_from_slice(json);
        self
    }

    /// Members that are JSON already.
    pub(super) fn joined(mut self, members: &[u8]) -> Self {
        if !self.0.is_empty() && !members.is_empty() {
            self.0.push(b',');
        }
        self.0.extend_from_slice(members);
        self
    }

    pub(super) fn session(mut self, name: &'static str, value: SessionId) -> Self {
        self.name(name);
        self.0.push(b'"');
        value.push_to(&mut self.0);
        self.0.push(b'"');
        self
    }

    /// `from`, or whoever else: user, session, and the device if it has a name.
    pub(super) fn place(self, name: &'static str, place: &Place) -> Self {
        let mut object = self;
        object.name(name);
        object.0.push(b'{');
        object = object.text("user", place.user.as_str()).session("session", place.session);
        if !place.device.is_empty() {
            object = object.text("device", &place.device);
        }
        object.0.push(b'}');
        object
    }

    /// An array of what `each` writes: complete values.
    pub(super) fn array<T>(
        mut self,
        name: &'static str,
        items: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Vec<u8>, T),
    ) -> Self {
        self.name(name);
        self.0.push(b'[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.0.push(b',');
            }
            each(&mut self.0, item);
        }
        self.0.push(b']');
        self
    }

    /// The members alone.
    pub(super) fn members(self) -> Bytes {
        self.0.into()
    }

    /// The members and the closing brace: what follows `{"seq":1,`.
    pub(super) fn tail(mut self) -> Bytes {
        self.0.push(b'}');
        self.0.into()
    }

    /// The whole object.
    pub(super) fn whole(mut self) -> Vec<u8> {
        self.0.insert(0, b'{');
        self.0.push(b'}');
        self.0
    }

    fn name(&mut self, name: &'static str) {
        if !matches!(self.0.last(), None | Some(b'{' | b'[')) {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn quote(&mut self, text: &str) {
        push_string(&mut self.0, text);
    }
}

/// A JSON string.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let plain = text.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(text.len());
    let (plain, rest) = text.as_bytes().split_at(plain);
    out.extend_from_slice(plain);
    for &byte in rest {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
            0x20.. => out.push(byte),
        }
    }
    out.push(b'"');
}

/// A JSON number.
pub(super) fn push_number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut length = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        length += 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - length..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_json() {
        let users = ["a\"b\\c\n\u{1}", "zoë"];
        let whole = Object::frame("x", 0)
            .text("text", users[0])
            .number("zero", 0)
            .number("most", u64::MAX)
            .flag("flag", true)
            .raw("raw", b"[1]")
            .array("users", users, push_string)
            .whole();
        let value: serde_json::Value = serde_json::from_slice(&whole).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"type": "x", "text": users[0], "zero": 0, "most": u64::MAX, "flag": true, "raw": [1], "users": users})
        );
    }
}
