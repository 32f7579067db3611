//! Preparation of realms and passwords (RFC 8489 §9.2, RFC 8265 §4.2 "OpaqueString").

use std::borrow::Cow;

/// Why a text can't be a user name, realm or password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpaqueStringError {
    /// RFC 8265 §4.2.2: at least one character is needed.
    #[error("an empty text is not allowed: give at least one character")]
    Empty,
    /// A character that no profile of RFC 8264 allows.
    #[error("the character U+{code_point:04X} at byte {at} is not allowed: remove it")]
    Disallowed {
        /// Which.
        code_point: u32,
        /// Where it starts.
        at: usize,
    },
}

/// Prepares a user name, realm or password as RFC 8265's OpaqueString does, as far as it matters to STUN.
///
/// Printable ASCII comes back as it is. Spaces other than U+0020 become U+0020; control characters and invisible ones
/// (soft hyphen, zero-width, directional marks, byte-order mark and the like) are refused. Unicode normalization
/// (NFC) is *not* applied: keyboards and password generators produce NFC, and no browser normalizes what it hashes,
/// so doing it here would part us from the clients it is meant to serve.
///
/// # Errors
/// [`OpaqueStringError`] for an empty text and for characters that are never allowed.
pub fn prepare_opaque_string(text: &str) -> Result<Cow<'_, str>, OpaqueStringError> {
    if text.is_empty() {
        return Err(OpaqueStringError::Empty);
    }
    if let Some((at, character)) = text.char_indices().find(|&(_, character)| is_disallowed(character)) {
        return Err(OpaqueStringError::Disallowed { code_point: u32::from(character), at });
    }
    if text.contains(is_foreign_space) {
        return Ok(Cow::Owned(text.replace(is_foreign_space, " ")));
    }
    Ok(Cow::Borrowed(text))
}

/// Unicode's space separators (Zs) other than U+0020.
const fn is_foreign_space(character: char) -> bool {
    matches!(
        character,
        '\u{A0}' | '\u{1680}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' | '\u{3000}'
    )
}

/// Control characters, and the ignorable ones of RFC 8264 §9.13.
fn is_disallowed(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{AD}'
                | '\u{34F}'
                | '\u{61C}'
                | '\u{115F}'..='\u{1160}'
                | '\u{17B4}'..='\u{17B5}'
                | '\u{180B}'..='\u{180F}'
                | '\u{200B}'
                | '\u{200E}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{3164}'
                | '\u{FE00}'..='\u{FE0F}'
                | '\u{FEFF}'
                | '\u{FFA0}'
                | '\u{FFF0}'..='\u{FFFB}'
                | '\u{E0000}'..='\u{E0FFF}'
        )
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::{OpaqueStringError, prepare_opaque_string};

    #[test]
    fn printable_ascii_comes_back_as_it_is() {
        let text = (b' '..=b'~').map(char::from).collect::<String>();
        assert!(matches!(prepare_opaque_string(&text), Ok(Cow::Borrowed(same)) if same == text));
    }

    #[test]
    fn case_letters_and_symbols_of_any_script_are_kept() {
        let text = "Zoë マトリックス пароль 🔑 Ⅸª";
        assert_eq!(prepare_opaque_string(text), Ok(Cow::Borrowed(text)));
    }

    #[test]
    fn foreign_spaces_become_plain_ones() {
        assert_eq!(prepare_opaque_string("a\u{A0}b\u{3000}c\u{2009}d").as_deref(), Ok("a b c d"));
    }

    #[test]
    fn an_empty_text_and_invisible_characters_are_refused() {
        assert_eq!(prepare_opaque_string(""), Err(OpaqueStringError::Empty));
        for (text, code_point, at) in
            [("a\tb", 0x09, 1), ("\u{7F}", 0x7F, 0), ("pass\u{AD}word", 0xAD, 4), ("x\u{FEFF}", 0xFEFF, 1)]
        {
            assert_eq!(prepare_opaque_string(text), Err(OpaqueStringError::Disallowed { code_point, at }));
        }
    }
}
