//! File, environment and flags become one [`Config`].

use std::{
    collections::HashMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::{
    changes::{Contents, contents},
    check,
    defaults::everywhere,
    field::Raw,
    file,
    keys::{self, Key},
    problem::{ConfigError, Origin, Problem},
    read::read_text,
    redis_files, secrets,
    service_credentials::{self, ServiceCredentials},
    signal_files,
    types::Config,
    webhook_files,
};

/// The variable that names the configuration file.
pub const FILE_VARIABLE: &str = "ICEWAY_CONFIG";

/// The variable by which systemd names the directories of `StateDirectory=`, with colons between them.
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";
/// What the file of the store is called there.
const STORE_NAME: &str = "iceway.redb";

/// What a configuration is made from. Precedence: flags, environment, file, defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file given by flag; else [`FILE_VARIABLE`] names one, else there is none.
    pub file: Option<PathBuf>,
    /// All variables of the environment; only those that start with `ICEWAY_` matter.
    pub environment: Vec<(OsString, OsString)>,
    /// Paths of keys with the values given for them by flags.
    pub flags: Vec<(String, Vec<String>)>,
}

impl Sources {
    /// The environment of this process, no file and no flags.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self { environment: std::env::vars_os().collect(), ..Self::default() }
    }

    /// The file that is read, and who named it.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        let named =
            || self.environment.iter().find(|(name, value)| name == FILE_VARIABLE && !value.is_empty());
        self.file.clone().or_else(|| named().map(|(_, value)| PathBuf::from(value)))
    }
}

/// The variable by which systemd names the directories of `RuntimeDirectory=`, with colons between them.
const RUNTIME_DIRECTORY: &str = "RUNTIME_DIRECTORY";
/// The variable that names a directory for what a user's programs need while they run.
pub const USER_RUNTIME_DIRECTORY: &str = "XDG_RUNTIME_DIR";
/// Where the control socket is in it, and what it is called in the other.
const CONTROL_NAMES: [(&str, &str); 2] =
    [(RUNTIME_DIRECTORY, "control.sock"), (USER_RUNTIME_DIRECTORY, "iceway/control.sock")];

/// Files that the server itself makes: nobody hands them over.
const MADE_BY_US: [&str; 2] = ["store.path", "http.control_socket"];

/// A configuration with the origin of each of its values.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The resolved values.
    pub config: Config,
    /// What works but should be changed.
    pub warnings: Vec<Problem>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    has_empty_file: bool,
    origins: HashMap<&'static str, Origin>,
    pub(super) contents: Contents,
}

impl Loaded {
    /// Where the value of a key came from.
    #[must_use]
    pub fn origin(&self, path: &str) -> Origin {
        self.origins.get(path).cloned().unwrap_or_default()
    }

    /// A configuration from nowhere.
    #[cfg(test)]
    pub(crate) fn of(config: Config) -> Self {
        let contents = contents(&config);
        Self {
            config,
            warnings: Vec::new(),
            file: None,
            has_empty_file: false,
            origins: HashMap::new(),
            contents,
        }
    }

    /// Whether anybody can hold a credential: there is a secret or a user.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        !self.config.auth.secrets.is_empty() || !self.config.auth.users.is_empty()
    }

    /// Every value as TOML writes it, with its origin; secrets as `***`.
    #[must_use]
    pub fn show(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for key in keys::all() {
            if section != key.section() {
                let gap = if section.is_empty() { "" } else { "\n" };
                section = key.section();
                text.push_str(&format!("{gap}[{section}]\n"));
            }
            let origin = self.origin(key.path);
            match key.show(&self.config) {
                Some(value) => text.push_str(&format!("{} = {value}  # {origin}\n", key.name())),
                None => text.push_str(&format!("# {} is not set\n", key.name())),
            }
        }
        text
    }
}

/// Reads and checks everything again. A file that has become empty is taken for one that is being written: whoever
/// writes in place empties it first.
///
/// # Errors
/// All that is wrong, at once.
pub fn load_again(sources: &Sources, before: &Loaded) -> Result<Loaded, ConfigError> {
    let fresh = load(sources)?;
    match &fresh.file {
        Some(path) if fresh.has_empty_file && !before.has_empty_file => {
            let message = "is empty, as if it were being written; write at least a comment".to_owned();
            let problem = Problem::of_file(Origin::File(path.clone(), None), message);
            Err(ConfigError { problems: vec![problem] })
        }
        Some(_) | None => Ok(fresh),
    }
}

/// Reads and checks everything.
///
/// # Errors
/// All that is wrong, at once.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let credentials = ServiceCredentials::of(&sources.environment);
    let mut loading = Loading { credentials, ..Loading::default() };
    let file = sources.file();
    if let Some(path) = &file {
        loading.read_file(path);
    }
    loading.read_environment(&sources.environment);
    loading.read_flags(&sources.flags);
    loading.find_store(&sources.environment);
    loading.find_control_socket(&sources.environment);
    loading.find_credentials();
    loading.finish(file)
}

/// Where a server with this configuration has its control socket, and what could not be read: for commands that ask a
/// running server, which must work while the configuration is wrong.
#[must_use]
pub fn control_socket(sources: &Sources) -> (Option<PathBuf>, Vec<Problem>) {
    let mut loading = Loading::default();
    if let Some(path) = &sources.file() {
        loading.read_file(path);
    }
    loading.read_environment(&sources.environment);
    loading.read_flags(&sources.flags);
    loading.find_control_socket(&sources.environment);
    (loading.config.http.control_socket.0, loading.errors)
}

#[derive(Default)]
struct Loading {
    config: Config,
    origins: HashMap<&'static str, Origin>,
    credentials: ServiceCredentials,
    /// As they were written, for messages about contradictions.
    errors: Vec<Problem>,
    has_empty_file: bool,
}

impl Loading {
    fn read_file(&mut self, path: &Path) {
        let text = match read_text(path, file::FILE_BYTES_MAX) {
            Ok(text) => text,
            Err(error) => {
                self.errors.push(Problem::of_file(Origin::File(path.to_owned(), None), error.to_string()));
                return;
            }
        };
        self.has_empty_file = text.is_empty();
        let (assignments, problems) = file::parse(path, &text);
        self.errors.extend(problems);
        for assignment in assignments {
            let origin = Origin::File(path.to_owned(), Some(assignment.line));
            match keys::find(&assignment.path) {
                Some(key) => self.set(key, &assignment.raw, origin),
                None => self.errors.push(unknown_key(&assignment.path, origin)),
            }
        }
    }

    fn read_environment(&mut self, environment: &[(OsString, OsString)]) {
        let names: HashMap<String, &'static Key> = keys::all().map(|key| (key.environment(), key)).collect();
        let mut variables: Vec<&(OsString, OsString)> = environment.iter().collect();
        variables.sort();
        for (name, value) in variables {
            let Some(name) =
                name.to_str().filter(|name| name.starts_with("ICEWAY_") && *name != FILE_VARIABLE)
            else {
                continue;
            };
            let origin = Origin::Environment(name.to_owned());
            let Some(key) = names.get(name) else {
                if !is_service_link(name) {
                    self.errors.push(unknown_variable(name, names.keys().map(String::as_str)));
                }
                continue;
            };
            let Some(value) = value.to_str() else {
                let message = "is not UTF-8; write plain text".to_owned();
                self.errors.push(Problem { key: key.path.to_owned(), value: None, origin, message });
                continue;
            };
            // An empty variable is how containers and service managers leave one out.
            if !value.is_empty() {
                self.set(key, &Raw::Text(value.to_owned()), origin);
            }
        }
    }

    fn read_flags(&mut self, flags: &[(String, Vec<String>)]) {
        for (path, values) in flags {
            let Some(key) = keys::find(path) else { continue };
            let origin = Origin::Flag(format!("--{}", key.flag().unwrap_or_default()));
            let raw = match values.as_slice() {
                [one] => Raw::Text(one.clone()),
                many => Raw::List(many.iter().cloned().map(Raw::Text).collect()),
            };
            self.set(key, &raw, origin);
        }
    }

    fn set(&mut self, key: &'static Key, raw: &Raw, origin: Origin) {
        let resolved = self.credentials.resolve(key, raw);
        match resolved.and_then(|raw| (key.field)(&mut self.config).read(&raw, &key.rule)) {
            Ok(()) => {
                self.origins.insert(key.path, origin);
            }
            Err(message) => {
                let value = (!key.secret).then(|| raw.show());
                self.errors.push(Problem { key: key.path.to_owned(), value, origin, message });
            }
        }
    }

    fn find_store(&mut self, environment: &[(OsString, OsString)]) {
        if self.origins.contains_key("store.path") {
            self.config.store.path.take_if(|path| path.as_os_str() == "off");
            return;
        }
        let Some(first) = first_directory(environment, STATE_DIRECTORY) else { return };
        self.config.store.path = Some(Path::new(first).join(STORE_NAME));
        self.origins.insert("store.path", Origin::Environment(STATE_DIRECTORY.to_owned()));
    }

    fn find_control_socket(&mut self, environment: &[(OsString, OsString)]) {
        if self.origins.contains_key("http.control_socket") {
            return;
        }
        for (variable, name) in CONTROL_NAMES {
            let Some(directory) = first_directory(environment, variable) else { continue };
            self.config.http.control_socket.0 = Some(Path::new(directory).join(name));
            self.origins.insert("http.control_socket", Origin::Environment(variable.to_owned()));
            return;
        }
    }

    /// What the service manager hands over under the name of a key that nobody has set.
    fn find_credentials(&mut self) {
        for key in keys::all().filter(|key| !MADE_BY_US.contains(&key.path)) {
            if !self.origins.contains_key(key.path)
                && let Some(raw) = self.credentials.find(key)
            {
                self.set(key, &raw, Origin::Environment(service_credentials::DIRECTORY.to_owned()));
            }
        }
    }

    fn finish(mut self, file: Option<PathBuf>) -> Result<Loaded, ConfigError> {
        if self.config.tls.certificate.is_some() && !self.origins.contains_key("listen.tls") {
            self.config.listen.tls = everywhere(5349);
        }
        let origin = |path: &str| self.origins.get(path).cloned().unwrap_or_default();
        let redis = redis_files::read(&mut self.config.redis, &origin);
        self.errors.extend(redis.errors);
        let webhooks = webhook_files::read(&mut self.config.webhooks, &origin);
        self.errors.extend(webhooks.errors);
        let signal = signal_files::read(&mut self.config.signal, &origin);
        self.errors.extend(signal.errors);
        let read = secrets::read(&mut self.config, &origin("auth.secret_file"), &origin("auth.users_file"));
        self.errors.extend(read.errors);
        let found = check::contradictions(&self.config, &self.origins);
        self.errors.extend(found.errors);
        if !self.errors.is_empty() {
            return Err(ConfigError { problems: self.errors });
        }
        let warnings = redis
            .warnings
            .into_iter()
            .chain(webhooks.warnings)
            .chain(signal.warnings)
            .chain(read.warnings)
            .chain(found.warnings)
            .collect();
        let contents = contents(&self.config);
        Ok(Loaded {
            config: self.config,
            warnings,
            file,
            has_empty_file: self.has_empty_file,
            origins: self.origins,
            contents,
        })
    }
}

/// The first of the directories that a variable names.
fn first_directory<'a>(environment: &'a [(OsString, OsString)], variable: &str) -> Option<&'a str> {
    let (_, named) = environment.iter().find(|(name, value)| name == variable && !value.is_empty())?;
    named.to_str()?.split(':').next().filter(|first| !first.is_empty())
}

fn unknown_key(path: &str, origin: Origin) -> Problem {
    let name = path.rsplit('.').next().unwrap_or(path);
    let same_name = keys::all().find(|key| key.name() == name).map(|key| key.path);
    let near = same_name.or_else(|| keys::nearest(path, keys::all().map(|key| key.path)));
    let message = match near {
        Some(known) => format!("is not a key; did you mean {known}?"),
        None => "is not a key; `iceway check --show` lists them all".to_owned(),
    };
    Problem { key: path.to_owned(), value: None, origin, message }
}

fn unknown_variable<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    let message = match keys::nearest(name, known) {
        Some(known) => format!("is not a key; did you mean {known}?"),
        None => "is not a key; unset it, or see `iceway serve --help`".to_owned(),
    };
    Problem { key: name.to_owned(), value: None, origin: Origin::Environment(name.to_owned()), message }
}

/// Kubernetes puts the addresses of services into the environment of every container: for a service called iceway
/// these begin like our own.
fn is_service_link(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.strip_suffix("_PORT").is_some()
        || name.split_once("_PORT_").is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
}
