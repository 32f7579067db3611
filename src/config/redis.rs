//! The Redis that nodes share: its address as it is written in one URL, and how it is reached.

use std::{fmt, path::PathBuf, time::Duration};

use zeroize::Zeroizing;

use super::{
    field::{Field, Raw, Rule},
    types::SecretBytes,
};

/// More hosts than any deployment has sentinels or masters to name.
const HOSTS_MAX: usize = 64;
const HOST_BYTES_MAX: usize = 253;
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Where the Redis is that nodes share, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// Where it is; `None` (the default): this node is alone.
    pub url: Option<RedisUrl>,
    /// Where `password` comes from.
    pub password_file: Option<PathBuf>,
    /// Where `sentinel_password` comes from.
    pub sentinel_password_file: Option<PathBuf>,
    /// Where `cluster_keys` come from.
    pub cluster_key_file: Option<PathBuf>,
    /// PEM file with the authorities whose certificates Redis may have; `None`: those the system trusts.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the certificate this node shows to Redis.
    pub certificate: Option<PathBuf>,
    /// PEM file with its private key.
    pub private_key: Option<PathBuf>,
    /// How long connecting may take. Default 3 s.
    pub connect_timeout: Duration,
    /// How long a command may take before Redis counts as gone. Default 1 s.
    pub command_timeout: Duration,
    /// Look users and secrets up in coturn's user database. Default no.
    pub coturn_users: bool,
    /// The password, if it is not in the URL.
    pub password: Option<SecretBytes>,
    /// The password of the sentinels, if they want one.
    pub sentinel_password: Option<SecretBytes>,
    /// What everything in Redis is sealed with, at least 32 bytes each: the first seals, all of them open.
    pub cluster_keys: Vec<SecretBytes>,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: None,
            password_file: None,
            sentinel_password_file: None,
            cluster_key_file: None,
            ca_file: None,
            certificate: None,
            private_key: None,
            connect_timeout: Duration::from_secs(3),
            command_timeout: Duration::from_secs(1),
            coturn_users: false,
            password: None,
            sentinel_password: None,
            cluster_keys: Vec::new(),
        }
    }
}

/// How several servers of a URL belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisLayout {
    /// One server: `redis://`, `rediss://`.
    Single,
    /// The hosts are sentinels: `redis+sentinel://h1,h2/<master>/<database>`.
    Sentinel {
        /// The name they know the master by.
        master: String,
    },
    /// The hosts are some of a Redis Cluster: `redis+cluster://h1,h2`.
    Cluster,
}

/// The address of a Redis, taken apart. Shown without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// How the hosts belong together.
    pub layout: RedisLayout,
    /// Whether connections are encrypted: the scheme begins with `rediss`.
    pub is_encrypted: bool,
    /// At least one; an IPv6 address without its brackets.
    pub hosts: Vec<(String, u16)>,
    /// The ACL user; `None` is `default`.
    pub user: Option<String>,
    /// The password, if it is written there.
    pub password: Option<SecretBytes>,
    /// The number of the database; a Cluster has 0 alone.
    pub database: u16,
}

impl RedisUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to write; it never repeats the URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| FORM.to_owned())?;
        let (is_encrypted, kind) = match scheme.split_once('+').unwrap_or((scheme, "")) {
            ("redis" | "valkey", kind) => (false, kind),
            ("rediss" | "valkeys", kind) => (true, kind),
            _ => return Err(FORM.to_owned()),
        };
        if rest.contains(['?', '#']) {
            return Err("has a query or a fragment, which nothing is told by; remove it".to_owned());
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = read_login(login)?;
        let default_port = if kind == "sentinel" { SENTINEL_PORT } else { PORT };
        let hosts = read_hosts(hosts, default_port)?;
        let (layout, database) = match kind {
            "" if hosts.len() == 1 => (RedisLayout::Single, path),
            "" => return Err("names several hosts; write redis+sentinel:// or redis+cluster://".to_owned()),
            "sentinel" => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err(
                        "lacks the name of the master; write redis+sentinel://host:26379/mymaster".to_owned()
                    );
                }
                (RedisLayout::Sentinel { master: decode(master)? }, database)
            }
            "cluster" => (RedisLayout::Cluster, path),
            _ => return Err(FORM.to_owned()),
        };
        let database = match database.trim_end_matches('/') {
            "" => 0,
            number => number
                .parse()
                .map_err(|_| "has a database that is not a number; write one such as /0".to_owned())?,
        };
        if database != 0 && layout == RedisLayout::Cluster {
            return Err("names a database, but a Cluster has 0 alone; remove it".to_owned());
        }
        Ok(Self { layout, is_encrypted, hosts, user, password, database })
    }
}

const FORM: &str = "is not the URL of a Redis; write redis://host:6379, rediss://… for TLS, \
                    redis+sentinel://host:26379/mymaster or redis+cluster://host:6379,host:6379";

fn read_login(login: &str) -> Result<(Option<String>, Option<SecretBytes>), String> {
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (user, Some(Zeroizing::new(decode(password)?))),
        None => (login, None),
    };
    let user = decode(user)?;
    let password = password.filter(|password| !password.is_empty());
    Ok((Some(user).filter(|user| !user.is_empty()), password.map(|text| SecretBytes::new(text.as_bytes()))))
}

fn read_hosts(hosts: &str, default_port: u16) -> Result<Vec<(String, u16)>, String> {
    let hosts: Vec<(String, u16)> =
        hosts.split(',').map(|host| read_host(host, default_port)).collect::<Result<_, _>>()?;
    if hosts.len() > HOSTS_MAX {
        return Err(format!("names {} hosts; {HOSTS_MAX} are enough to find the others", hosts.len()));
    }
    Ok(hosts)
}

fn read_host(text: &str, default_port: u16) -> Result<(String, u16), String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("has a [ without its ]; write [::1]:6379")?;
            (host, port.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty()
        || host.len() > HOST_BYTES_MAX
        || host.chars().any(|c| c.is_control() || c.is_whitespace())
    {
        return Err("lacks a host; write redis://host:6379".to_owned());
    }
    let port = match port {
        None => default_port,
        Some(port) => port
            .parse()
            .ok()
            .filter(|&port| port != 0)
            .ok_or("has a port that is not one of 1 to 65535; an IPv6 address goes in brackets")?,
    };
    Ok((host.to_owned(), port))
}

/// Percent-encoding undone.
fn decode(text: &str) -> Result<String, String> {
    const WRONG: &str = "has a % that two hexadecimal digits do not follow; write a % itself as %25";
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let digits = part.get(..2).ok_or(WRONG)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| WRONG)?);
        bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| WRONG.to_owned())
}

/// The URL, with `***` for the password.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_encrypted { "rediss" } else { "redis" })?;
        f.write_str(match self.layout {
            RedisLayout::Single => "",
            RedisLayout::Sentinel { .. } => "+sentinel",
            RedisLayout::Cluster => "+cluster",
        })?;
        f.write_str("://")?;
        match (&self.user, &self.password) {
            (None, None) => {}
            (user, None) => write!(f, "{}@", user.as_deref().unwrap_or_default())?,
            (user, Some(_)) => write!(f, "{}:***@", user.as_deref().unwrap_or_default())?,
        }
        for (index, (host, port)) in self.hosts.iter().enumerate() {
            let gap = if index == 0 { "" } else { "," };
            if host.contains(':') {
                write!(f, "{gap}[{host}]:{port}")?
            } else {
                write!(f, "{gap}{host}:{port}")?
            }
        }
        if let RedisLayout::Sentinel { master } = &self.layout {
            write!(f, "/{master}")?;
        }
        if self.database == 0 { Ok(()) } else { write!(f, "/{}", self.database) }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Field for Option<RedisUrl> {
    fn read(&mut self, raw: &Raw, _: &Rule) -> Result<(), String> {
        let Raw::Text(text) = raw else {
            return Err("is not a text; write it in quotes".to_owned());
        };
        *self = Some(RedisUrl::parse(text.trim())?);
        Ok(())
    }

    fn show(&self, _: &Rule) -> Option<String> {
        self.as_ref().map(|url| format!("{:?}", url.to_string()))
    }

    fn placeholder(&self, _: &Rule) -> &'static str {
        "URL"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let url = RedisUrl::parse("redis://me:p%40ss%3A@redis.example.org:7000/3").unwrap();
        assert_eq!(url.layout, RedisLayout::Single);
        assert_eq!(url.hosts, [("redis.example.org".to_owned(), 7000)]);
        assert_eq!(url.user.as_deref(), Some("me"));
        assert_eq!(url.password.as_ref().unwrap().expose(), b"p@ss:");
        assert_eq!(url.database, 3);
        assert!(!url.is_encrypted);
    }

    #[test]
    fn sentinels_name_their_master() {
        let url = RedisUrl::parse("rediss+sentinel://:x@a,[::1]:26380/mymaster/2").unwrap();
        assert_eq!(url.layout, RedisLayout::Sentinel { master: "mymaster".to_owned() });
        assert_eq!(url.hosts, [("a".to_owned(), 26379), ("::1".to_owned(), 26380)]);
        assert_eq!((url.user, url.database, url.is_encrypted), (None, 2, true));
    }

    #[test]
    fn a_password_is_never_shown() {
        let url = RedisUrl::parse("redis+cluster://me:hunter2@a:1,b:2").unwrap();
        assert_eq!(url.to_string(), "redis+cluster://me:***@a:1,b:2");
        assert!(!format!("{url:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_no_url_of_a_redis_is_refused_with_what_to_write() {
        for text in [
            "",
            "localhost:6379",
            "http://a",
            "redis+other://a",
            "redis://",
            "redis://a:0",
            "redis://a:99999",
            "redis://a,b",
            "redis://a/x",
            "redis://a?protocol=3",
            "redis://u:%zz@a",
            "redis://[::1",
            "redis+sentinel://a",
            "redis+cluster://a/1",
        ] {
            let message = RedisUrl::parse(text).unwrap_err();
            assert!(
                message.contains("write") || message.contains("remove") || message.contains("brackets"),
                "{text}: {message}"
            );
        }
    }
}
