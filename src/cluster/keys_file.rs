//! The file of API keys: `id sha256-hex scopes [networks]`, one key a line.

use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::{API_KEY_NETWORKS_MAX, API_KEYS_MAX, ApiKey, Scope, Scopes};
use crate::config;

/// The longest file: more than a thousand keys with many networks each.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What is wrong with a file of API keys. One line each, with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("api.keys_file = {}{}: {problem}", .path.display(), .line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct KeysFileError {
    /// The file.
    pub path: PathBuf,
    /// The line at fault, counted from 1.
    pub line: Option<usize>,
    /// What is wrong, and what to write instead.
    pub problem: String,
}

/// Reads a file of API keys. Empty lines and lines that start with `#` are skipped.
///
/// # Errors
/// [`KeysFileError`] for the first line that is no key.
pub fn read_keys_file(path: &Path) -> Result<Vec<ApiKey>, KeysFileError> {
    let fault = |line, problem: String| KeysFileError { path: path.to_owned(), line, problem };
    let text = config::read_text(path, FILE_BYTES_MAX).map_err(|error| fault(None, error.to_string()))?;
    let mut keys: Vec<ApiKey> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = read_key(line).map_err(|problem| fault(Some(number), problem))?;
        if keys.iter().any(|known| known.id == key.id) {
            return Err(fault(Some(number), format!("the id {:?} is used twice; draw another key", key.id)));
        }
        if keys.len() >= API_KEYS_MAX {
            return Err(fault(Some(number), format!("there are more than {API_KEYS_MAX} keys; remove some")));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// The line of a key, as [`read_keys_file`] reads it.
#[must_use]
pub fn keys_file_line(key: &ApiKey) -> String {
    let hash: String = key.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let scopes = key.scopes.0.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",");
    let networks = key.networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    format!("{} {hash} {scopes} {networks}", key.id).trim_end().to_owned()
}

fn read_key(line: &str) -> Result<ApiKey, String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (id, hash, scopes, networks) = match words.as_slice() {
        [id, hash, scopes] => (*id, *hash, *scopes, ""),
        [id, hash, scopes, networks] => (*id, *hash, *scopes, *networks),
        _ => {
            return Err("is no key; write an id, the SHA-256 in hexadecimal, scopes with commas between, and perhaps \
                        networks, as `iceway api-keys create` prints it"
                .to_owned());
        }
    };
    if !(8..=16).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err("the id has not 8 to 16 letters and digits; copy it from the key".to_owned());
    }
    let sha256 = hash_bytes(hash).ok_or("the second word is no SHA-256; write 64 hexadecimal digits")?;
    let scope = |word: &str| {
        Scope::ALL
            .into_iter()
            .find(|scope| scope.as_str() == word)
            .ok_or_else(|| format!("{word:?} is no scope; write issue, revoke, read, signal or admin"))
    };
    let scopes = scopes.split(',').map(scope).collect::<Result<Vec<_>, _>>()?;
    let network = |word: &str| {
        let one = || word.parse().map(|ip: std::net::IpAddr| IpNet::from(ip));
        word.parse::<IpNet>()
            .or_else(|_| one())
            .map_err(|_| format!("{word:?} is no network; write one such as 10.0.0.0/8"))
    };
    let networks =
        networks.split(',').filter(|word| !word.is_empty()).map(network).collect::<Result<Vec<_>, _>>()?;
    if networks.len() > API_KEY_NETWORKS_MAX {
        return Err(format!(
            "has {} networks; at most {API_KEY_NETWORKS_MAX} are looked through",
            networks.len()
        ));
    }
    let (id, name) = (id.to_owned(), id.to_owned());
    Ok(ApiKey { id, name, sha256, scopes: Scopes(scopes), networks, created: 0, expires: None })
}

fn hash_bytes(digits: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::sha256;

    const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_line_is_read_as_it_is_written() {
        let key = read_key(&format!("abcd2345 {HASH} issue,read 10.0.0.0/8,::1")).unwrap();

        assert_eq!(key.sha256, sha256("abc"));
        assert_eq!(key.scopes.0, [Scope::Issue, Scope::Read]);
        assert_eq!(key.networks.len(), 2);
        assert_eq!(read_key(&keys_file_line(&key)), Ok(key));
    }

    #[test]
    fn what_is_no_key_is_named_with_what_to_write() {
        for (line, says) in [
            ("abc".to_owned(), "iceway api-keys create"),
            (format!("abc {HASH} issue"), "8 to 16"),
            ("abcd2345 00 issue".to_owned(), "64 hexadecimal digits"),
            (format!("abcd2345 {HASH} write"), "\"write\" is no scope"),
            (format!("abcd2345 {HASH} issue 10.0.0.0/33"), "is no network"),
        ] {
            let problem = read_key(&line).unwrap_err();
            assert!(problem.contains(says), "{line}: {problem}");
        }
    }

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let path = std::env::temp_dir().join(format!("iceway-keys-{}", std::process::id()));
        std::fs::write(&path, format!("# ours\n\nabcd2345 {HASH} admin\n")).unwrap();
        assert_eq!(read_keys_file(&path).unwrap().len(), 1);
        std::fs::write(&path, format!("abcd2345 {HASH} admin\nabcd2345 {HASH} admin\n")).unwrap();
        let error = read_keys_file(&path).unwrap_err();
        assert_eq!(error.line, Some(2));
        assert!(error.to_string().contains(", line 2: the id \"abcd2345\" is used twice"), "{error}");
        std::fs::remove_file(&path).unwrap();
        assert!(read_keys_file(&path).unwrap_err().to_string().contains("cannot be read"));
    }
}
