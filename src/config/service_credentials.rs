//! Files that a service manager hands over: systemd's `LoadCredential=` puts them into a directory of the service.

use std::{
    borrow::Cow,
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::{field::Raw, keys::Key};

/// The variable by which the manager names the directory.
pub(super) const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// What paths begin with that lie in it.
const PREFIX: &str = "$CREDENTIALS_DIRECTORY/";
/// What stands before a credential's name where a whole directory is loaded: `LoadCredential=iceway:DIRECTORY`.
const OF_DIRECTORY: &str = "iceway_";

/// The directory of this service's credentials, if it has one.
#[derive(Default)]
pub(super) struct ServiceCredentials(Option<PathBuf>);

impl ServiceCredentials {
    pub(super) fn of(environment: &[(OsString, OsString)]) -> Self {
        let found = environment.iter().find(|(name, value)| name == DIRECTORY && !value.is_empty());
        Self(found.map(|(_, value)| PathBuf::from(value)))
    }

    /// The value with `$CREDENTIALS_DIRECTORY/` replaced, where the key names a file.
    ///
    /// # Errors
    /// There is no such directory, as a message about the value.
    pub(super) fn resolve<'a>(&self, key: &Key, raw: &'a Raw) -> Result<Cow<'a, Raw>, String> {
        let Raw::Text(text) = raw else { return Ok(Cow::Borrowed(raw)) };
        let Some(name) = text.strip_prefix(PREFIX).filter(|_| names_file(key)) else {
            return Ok(Cow::Borrowed(raw));
        };
        let Some(directory) = &self.0 else {
            return Err(format!(
                "is only there for a service: {DIRECTORY} is not set; set it to where the file is, or name the file itself"
            ));
        };
        Ok(Cow::Owned(Raw::Text(directory.join(name).display().to_string())))
    }

    /// The file that is called like this key.
    pub(super) fn find(&self, key: &Key) -> Option<Raw> {
        let directory = self.0.as_ref().filter(|_| names_file(key))?;
        let names = [key.path.to_owned(), format!("{OF_DIRECTORY}{}", key.path)];
        let path = names.iter().map(|name| directory.join(name)).find(|path| Path::exists(path))?;
        Some(Raw::Text(path.display().to_string()))
    }
}

fn names_file(key: &Key) -> bool {
    key.placeholder() == "FILE"
}

#[cfg(test)]
mod tests {
    use super::super::load::{Loaded, Sources, load};

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    /// Where credentials are; removed at the end.
    struct Directory(std::path::PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("iceway-credentials-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn put(&self, name: &str, content: &str) {
            std::fs::write(self.0.join(name), content).unwrap();
        }

        fn load(&self, variables: &[(&str, &str)]) -> Result<Loaded, String> {
            let mut environment = vec![("CREDENTIALS_DIRECTORY".into(), self.0.clone().into())];
            environment.extend(variables.iter().map(|(name, value)| (name.into(), value.into())));
            load(&Sources { environment, ..Sources::default() }).map_err(|error| error.to_string())
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_path_may_begin_with_the_directory() {
        let directory = Directory::new("named");
        directory.put("turn", SECRET);
        let named = ("ICEWAY_AUTH_SECRET_FILE", "$CREDENTIALS_DIRECTORY/turn");
        let loaded = directory.load(&[named]).unwrap();
        assert_eq!(loaded.config.auth.secret_file, Some(directory.0.join("turn")));
        assert_eq!(loaded.config.auth.secrets.len(), 1);
        assert!(loaded.show().contains("ICEWAY_AUTH_SECRET_FILE"));
    }

    #[test]
    fn without_a_directory_it_is_said_what_is_missing() {
        let environment = vec![("ICEWAY_TLS_CERTIFICATE".into(), "$CREDENTIALS_DIRECTORY/chain".into())];
        let error = load(&Sources { environment, ..Sources::default() }).unwrap_err().to_string();
        assert!(error.contains("tls.certificate = \"$CREDENTIALS_DIRECTORY/chain\""), "{error}");
        assert!(error.contains("CREDENTIALS_DIRECTORY is not set"), "{error}");
    }

    #[test]
    fn a_file_called_like_a_key_is_taken_unless_the_key_is_set() {
        let directory = Directory::new("found");
        directory.put("iceway_auth.secret_file", SECRET);
        directory.put("auth.users_file", "alice:wonderland\n");
        directory.put("iceway_store.path", "");
        directory.put("auth.realm", "not a file");
        let loaded = directory.load(&[]).unwrap();
        assert_eq!((loaded.config.auth.secrets.len(), loaded.config.auth.users.len()), (1, 1));
        assert_eq!(loaded.config.store.path, None);
        assert_eq!(loaded.config.auth.realm, "iceway");
        assert_eq!(loaded.origin("auth.secret_file").to_string(), "environment CREDENTIALS_DIRECTORY");

        let empty = directory.0.join("empty");
        std::fs::write(&empty, "").unwrap();
        let loaded = directory.load(&[("ICEWAY_AUTH_USERS_FILE", empty.to_str().unwrap())]).unwrap();
        assert_eq!(loaded.config.auth.users.len(), 0);
    }
}
