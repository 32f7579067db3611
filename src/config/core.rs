//! What the core is given of a configuration.

use super::types::{Config, QuotaClass, StaticUserSecret};
use crate::{
    credentials::{Directory, DirectoryBuilder, DirectoryError, KeyId, Secret, UserSecret},
    turn,
};

impl Config {
    /// The users and secrets of the realm.
    ///
    /// # Errors
    /// [`DirectoryError`], which loading a configuration has ruled out.
    pub fn directory(&self) -> Result<Directory, DirectoryError> {
        let mut directory = self.directory_of_users();
        for secret in &self.auth.secrets {
            // A key id that cannot be has been refused when it was read.
            let Ok(id) = KeyId::new(&secret.id) else { continue };
            directory = directory.secret(Secret::new(id, secret.bytes.expose()));
        }
        directory.build()
    }

    /// The users of the realm, to which secrets are to be added.
    #[must_use]
    pub fn directory_of_users(&self) -> DirectoryBuilder {
        let start = Directory::builder(&self.auth.realm).separator(self.auth.username_separator);
        self.auth
            .users
            .iter()
            .fold(start, |directory, user| directory.user(&user.name, user.secret.to_core()))
    }

    /// The options of the core for these listeners and relay addresses.
    #[must_use]
    pub fn options(
        &self,
        listeners: Vec<std::net::SocketAddr>,
        relay_addresses: Vec<turn::RelayAddress>,
    ) -> turn::Options {
        turn::Options {
            listeners,
            relay_addresses,
            realm: self.auth.realm.clone(),
            software: self.protocol.software.clone(),
            lifetimes: self.lifetimes,
            limits: self.limits,
            bandwidth: self.bandwidth,
            classes: self.quota_classes.iter().map(|class| class.to_core(&self.bandwidth)).collect(),
            expiry: self.auth.expiry,
            legacy_channel_numbers: self.protocol.legacy_channel_numbers,
            quality: self.quality,
            external_users: self.redis.url.is_some() && self.redis.coturn_users,
        }
    }
}

impl QuotaClass {
    fn to_core(&self, general: &turn::Bandwidth) -> turn::QuotaClass {
        let unless_unlimited = |rate: u64| (rate > 0).then_some(rate);
        turn::QuotaClass {
            name: self.name.as_str().into(),
            allocations_per_user: (self.allocations > 0).then_some(self.allocations),
            bandwidth_per_allocation: self.bandwidth.map_or(general.per_allocation, unless_unlimited),
        }
    }
}

impl StaticUserSecret {
    fn to_core(&self) -> UserSecret {
        match self {
            Self::Password(password) => {
                UserSecret::Password(String::from_utf8_lossy(password.expose()).into_owned())
            }
            Self::Md5(key) => UserSecret::Md5(key.expose().try_into().unwrap_or_default()),
        }
    }
}
