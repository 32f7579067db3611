//! What goes wrong with Redis, on one line, and what mends it.

use redis::RedisError;

/// How much of what a server says is shown.
const SHOWN_MAX: usize = 200;

/// What a server or the library says: on one line, and no longer than that.
pub(super) fn shown(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|letter: char| letter.is_whitespace() || letter.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.chars().count() > SHOWN_MAX {
            return line.chars().take(SHOWN_MAX).chain(['…']).collect();
        }
    }
    line
}

/// What an error says.
pub(super) fn said(error: &RedisError) -> String {
    if error.is_timeout() {
        return "Redis does not answer".to_owned();
    }
    match error.code() {
        Some("READONLY") => "Redis is a read-only replica".to_owned(),
        Some("OOM") => "Redis is out of memory".to_owned(),
        Some(_) | None => format!("Redis says: {}", shown(&error.to_string())),
    }
}

/// What mends that Redis cannot be used, by what is said of it.
#[must_use]
pub fn redis_mend(reason: &str) -> &'static str {
    let reason = reason.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if has(&["wrongpass", "authentication failed", "invalid password"]) {
        "correct redis.password_file, or the user and password of redis.url"
    } else if has(&["noauth", "authentication required"]) {
        "it wants a password: redis.password_file"
    } else if has(&["noperm"]) {
        "give the user the ACL rule of the README"
    } else if has(&["speaks tls"]) {
        "rediss:// is the scheme of a Redis behind TLS: name that in redis.url"
    } else if has(&[
        "not the redis protocol",
        "breaks the redis protocol",
        "answer is longer",
        "unknown version",
    ]) {
        "name a Redis or Valkey in redis.url; something else is there, or stands before it"
    } else if has(&["certificate", "tls", "invalidcontenttype"]) {
        "is redis.ca_file the authority of its certificate, and rediss the right scheme?"
    } else if has(&["read-only replica", "newer is needed"]) {
        "name another one in redis.url"
    } else if has(&["out of memory"]) {
        "raise its maxmemory, or give the nodes a Redis of their own"
    } else if has(&["responseerror"]) {
        "it refuses what a Redis allows: is it one, and of its own rather than behind a proxy?"
    } else if has(&["too many open files"]) {
        "raise the descriptor limit of this process (LimitNOFILE)"
    } else if has(&["does not come back"]) {
        "it takes commands but passes no messages on: is it a Redis, and may the user publish and subscribe?"
    } else {
        "is it up, is redis.url right, and does the firewall let this machine through?"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_server_says_is_one_line() {
        assert_eq!(shown("a\nb\r\n\x1b[31mc  d\u{7}"), "a b [31mc d");
        let long = shown(&"word ".repeat(10_000));
        assert_eq!(long.chars().count(), SHOWN_MAX + 1);
        assert_eq!(shown(&"x".repeat(100_000)).chars().count(), SHOWN_MAX + 1);
    }

    #[test]
    fn the_mend_fits_the_reason() {
        for (reason, mend) in [
            ("WRONGPASS invalid username-password pair", "password_file"),
            ("what answers there speaks HTTP, not the Redis protocol", "name a Redis"),
            ("received corrupt message of type InvalidContentType", "rediss"),
            ("Redis at a:1 does not answer", "firewall"),
            ("NOPERM this user has no permissions", "ACL"),
        ] {
            assert!(redis_mend(reason).contains(mend), "{reason}");
        }
    }
}
