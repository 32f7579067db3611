//! coturn's user database: users by name, secrets of the realm. Read only.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{
    commands::Commands,
    connect::value,
    shared::{LOOK_MAX, Shared},
};
use crate::config::{SecretBytes, SharedSecret};

/// How often secrets are read.
const SECRETS_EVERY: Duration = Duration::from_secs(5);
/// More are not taken; coturn tries them one after another.
const SECRETS_MAX: usize = 16;
/// What a request can hold.
const NAME_BYTES_MAX: usize = 508;
/// Hexadecimal digits of an MD5 key.
const KEY_DIGITS: usize = 32;

/// The MD5 key of a user.
pub(super) async fn find_user(shared: &Shared, realm: &str, name: &str) -> Option<[u8; 16]> {
    if !shared.options.coturn_users || name.len() > NAME_BYTES_MAX || realm.len() > NAME_BYTES_MAX {
        return None;
    }
    let commands = shared.commands()?;
    let get = redis::cmd("GET").arg(format!("turn/realm/{realm}/user/{name}/key")).take();
    let answer = timeout(LOOK_MAX, commands.run(get)).await.ok()?.ok()?;
    let digits = zeroize::Zeroizing::new(value::<Option<String>>(answer).ok()??);
    read_key(&digits)
}

/// coturn takes keys with more digits than it needs.
fn read_key(digits: &str) -> Option<[u8; 16]> {
    let digits =
        digits.get(..KEY_DIGITS).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u128::from_str_radix(digits, 16).ok().map(u128::to_be_bytes)
}

/// Reads the secrets of the realm for as long as the connection lasts.
pub(super) async fn read_secrets(shared: &Shared, commands: &Commands) -> String {
    if !shared.options.coturn_users {
        return std::future::pending().await;
    }
    let key = format!("turn/realm/{}/secret", shared.options.realm);
    let mut before: Option<zeroize::Zeroizing<Vec<String>>> = None;
    loop {
        match commands.run(redis::cmd("SMEMBERS").arg(&key).take()).await.and_then(value::<Vec<String>>) {
            Ok(mut secrets) => {
                secrets.sort();
                secrets.truncate(SECRETS_MAX);
                if before.as_deref() != Some(&secrets)
                    && let Some(host) = shared.host()
                {
                    host.set_foreign_secrets(secrets.iter().map(|text| named(shared, text)).collect());
                    before = Some(secrets.into());
                }
            }
            Err(error) => {
                tracing::warn!(%error, key, "Secrets cannot be read; those read before stay in use.")
            }
        }
        sleep(SECRETS_EVERY).await;
    }
}

/// coturn's secrets have no names: each gets one that says nothing and is the same on all nodes.
fn named(shared: &Shared, text: &str) -> SharedSecret {
    let code = shared.keys.code("coturn secret", text);
    let id = format!("coturn-{}", code.get(..8).unwrap_or_default());
    SharedSecret { id, bytes: SecretBytes::new(text.as_bytes()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_hexadecimal_digits_or_more() {
        let key = read_key("00112233445566778899aAbBcCdDeEfF00").unwrap();
        assert_eq!(key[..3], [0, 0x11, 0x22]);
        assert_eq!(key[15], 0xff);
        for text in [
            "",
            "00112233445566778899aabbccddeef",
            "0x112233445566778899aabbccddeeff",
            "+0112233445566778899aabbccddeeff",
        ] {
            assert_eq!(read_key(text), None, "{text}");
        }
    }
}
