//! Secrets of other software.

use super::{SecretsError, check_length};
use crate::{config::SecretBytes, credentials::KeyId};

/// The secrets in a text: coturn's `static-auth-secret=…` lines (others of its keys are skipped), or lines as in
/// `auth.secret_file`.
///
/// # Errors
/// [`SecretsError::Line`] for a line that is neither.
pub fn read_secrets(text: &str) -> Result<Vec<(Option<KeyId>, SecretBytes)>, SecretsError> {
    let mut secrets = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some((key, value)) = line.split_once('=')
            && key.trim() == "static-auth-secret"
        {
            let value = value.trim().trim_matches('"');
            secrets.push((None, SecretBytes::new(value.as_bytes())));
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next(), words.next()) {
            // Base64 may end in `=`; a key of coturn's has its value behind it.
            (Some(secret), None, None)
                if secret.trim_end_matches('=').contains('=') || is_coturn_key(secret) => {}
            (Some(secret), None, None) => secrets.push((None, SecretBytes::new(secret.as_bytes()))),
            (Some(id), Some(secret), None) => {
                let id = KeyId::new(id).map_err(|_| SecretsError::Line(number))?;
                secrets.push((Some(id), SecretBytes::new(secret.as_bytes())));
            }
            _ => return Err(SecretsError::Line(number)),
        }
    }
    for (_, bytes) in &secrets {
        check_length(bytes)?;
    }
    Ok(secrets)
}

/// Options of coturn that stand alone on a line.
fn is_coturn_key(word: &str) -> bool {
    const KNOWN: [&str; 8] = [
        "use-auth-secret",
        "lt-cred-mech",
        "fingerprint",
        "verbose",
        "stale-nonce",
        "no-cli",
        "no-tls",
        "no-dtls",
    ];
    KNOWN.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_imported_from_coturns_configuration_and_from_lists() {
        let text = "# turnserver.conf\nlistening-port=3478\nuse-auth-secret\n static-auth-secret = northnorth\n\
                    static-auth-secret=\"south=south\"\nrealm=example.org\n";
        let read = read_secrets(text).unwrap();
        let bytes: Vec<&[u8]> = read.iter().map(|(_, bytes)| bytes.expose()).collect();
        assert_eq!(bytes, [&b"northnorth"[..], b"south=south"]);

        let list = read_secrets("2026-11 Zm9vYmFyYmF6\nYWJjZGVmZ2g=\n").unwrap();
        assert_eq!(list[0].0, Some(KeyId::new("2026-11").unwrap()));
        assert_eq!(list[1].1.expose(), b"YWJjZGVmZ2g=");
        assert_eq!(read_secrets("a b c").map(|_| ()), Err(SecretsError::Line(1)));
        assert_eq!(read_secrets("short").map(|_| ()), Err(SecretsError::Length(5)));
    }
}
