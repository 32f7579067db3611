//! The files of secrets and users.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use zeroize::Zeroizing;

use crate::credentials::{KeyId, USERNAME_BYTES_MAX, prepare_opaque_string};

use super::{
    problem::{Origin, Problem},
    read::read_text,
    types::{Config, SecretBytes, SharedSecret, StaticUser, StaticUserSecret},
};

/// Enough for a quarter of a million users.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What reading adds to the configuration, with what is wrong and what is worth a warning.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) errors: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

/// Fills `auth.secrets` and `auth.users` from the configured secret and the files that are named.
pub(crate) fn read(config: &mut Config, secret_file: &Origin, users_file: &Origin) -> Findings {
    let mut findings = Findings::default();
    if let Some(secret) = &config.auth.secret {
        config.auth.secrets.push(SharedSecret { id: "default".to_owned(), bytes: secret.clone() });
    }
    if let Some(path) = config.auth.secret_file.clone()
        && let Some(text) = open(&path, "auth.secret_file", secret_file, &mut findings)
    {
        secrets(&path, &text, &mut config.auth.secrets, &mut findings);
    }
    if let Some(path) = config.auth.users_file.clone()
        && let Some(text) = open(&path, "auth.users_file", users_file, &mut findings)
    {
        users(&path, &text, &mut config.auth.users, &mut findings);
    }
    findings
}

/// Reads a file of secrets, or says why not.
pub(crate) fn open(
    path: &Path,
    key: &str,
    origin: &Origin,
    findings: &mut Findings,
) -> Option<Zeroizing<String>> {
    let problem = |message| Problem {
        key: key.to_owned(),
        value: Some(format!("{:?}", path.display().to_string())),
        origin: origin.clone(),
        message,
    };
    match read_text(path, FILE_BYTES_MAX) {
        Ok(text) => {
            let mode = path.metadata().map_or(0, |metadata| metadata.permissions().mode());
            if mode & 0o004 != 0 {
                let advice =
                    "can be read by every user of this machine; chmod 600 it, or 640 for the server's group";
                findings.warnings.push(problem(advice.to_owned()));
            }
            Some(text)
        }
        Err(error) => {
            findings.errors.push(problem(error.to_string()));
            None
        }
    }
}

/// The lines that say something, with their numbers.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn secrets(path: &Path, text: &str, secrets: &mut Vec<SharedSecret>, findings: &mut Findings) {
    let before = secrets.len();
    for (number, line) in lines(text) {
        let mut fault = |message: String| {
            findings.errors.push(Problem::of_file(Origin::File(path.to_owned(), Some(number)), message));
        };
        let mut words = line.split_ascii_whitespace();
        let (first, second) = (words.next().unwrap_or_default(), words.next());
        if words.next().is_some() {
            fault(
                "has more than two words; write a secret, or a key id and a secret with a blank between"
                    .to_owned(),
            );
            continue;
        }
        let (id, secret) = match second {
            Some(secret) => (first.to_owned(), secret),
            None if secrets.is_empty() => ("default".to_owned(), first),
            None => (format!("secret-{}", secrets.len() + 1), first),
        };
        if KeyId::new(&id).is_err() {
            // The word may be a secret, so it is not repeated.
            fault(format!(
                "the first word is no key id; write 1 to {} of A-Z a-z 0-9 . _ -",
                KeyId::CHARS_MAX
            ));
            continue;
        }
        if secrets.iter().any(|known| known.id == id) {
            fault(format!("the key id {id:?} is used twice; give each secret an id of its own"));
            continue;
        }
        secrets.push(SharedSecret { id, bytes: SecretBytes::new(secret.as_bytes()) });
    }
    if secrets.len() == before && findings.errors.is_empty() {
        let message = "holds no secret; write one a line, such as from `openssl rand -base64 32`".to_owned();
        findings.errors.push(Problem::of_file(Origin::File(path.to_owned(), None), message));
    }
}

fn users(path: &Path, text: &str, users: &mut Vec<StaticUser>, findings: &mut Findings) {
    let mut names = std::collections::HashMap::new();
    for (number, line) in lines(text) {
        let mut fault = |message: String| {
            findings.errors.push(Problem::of_file(Origin::File(path.to_owned(), Some(number)), message));
        };
        let Some((name, secret)) = line.split_once(':') else {
            fault("has no colon; write name:password".to_owned());
            continue;
        };
        if name.is_empty() || name.len() > USERNAME_BYTES_MAX {
            fault(format!("has a name of {} bytes; write 1 to {USERNAME_BYTES_MAX}", name.len()));
            continue;
        }
        let name = match prepare_opaque_string(name) {
            Ok(name) => name.into_owned(),
            Err(error) => {
                fault(format!("has a name no client could send: {error}"));
                continue;
            }
        };
        if secret.is_empty() {
            fault("has an empty password; write one, or remove the line".to_owned());
            continue;
        }
        if let Some(first) = names.insert(name.clone(), number) {
            fault(format!("names the user of line {first} again; remove one of them"));
            continue;
        }
        let secret = match secret.strip_prefix("0x") {
            Some(digits) => match md5_key(digits) {
                Some(key) => StaticUserSecret::Md5(SecretBytes::new(&key[..])),
                None => {
                    fault("has a password that starts with 0x but is not the 32 hexadecimal digits of an MD5 key; write \
                           all of them, or choose a password that starts otherwise"
                        .to_owned());
                    continue;
                }
            },
            None => match prepare_opaque_string(secret) {
                Ok(password) => StaticUserSecret::Password(SecretBytes::new(password.as_bytes())),
                Err(error) => {
                    fault(format!("has a password no client could send: {error}"));
                    continue;
                }
            },
        };
        users.push(StaticUser { name, secret });
    }
}

fn md5_key(digits: &str) -> Option<Zeroizing<[u8; 16]>> {
    let mut key = Zeroizing::new([0; 16]);
    if digits.len() != 32 || !digits.is_ascii() {
        return None;
    }
    for (index, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(key)
}
