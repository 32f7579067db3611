//! Who may call the API, and where.

use super::{
    super::types::{CertificatePrincipal, ControlSocket, SCOPE_WORDS, ScopeRule, TokenAudience, WebOrigin},
    Field, Raw, Rule,
    lists::Item,
    quoted,
};
use crate::credentials::jwt::Algorithm;

impl Field for ControlSocket {
    fn read(&mut self, raw: &Raw, _: &Rule) -> Result<(), String> {
        let Raw::Text(text) = raw else {
            return Err("is not a path; write it in quotes".to_owned());
        };
        self.0 = match text.as_str() {
            "" | "off" => None,
            path => Some(path.into()),
        };
        Ok(())
    }

    fn show(&self, _: &Rule) -> Option<String> {
        self.0.as_ref().map(|path| quoted(&path.display().to_string()))
    }

    fn placeholder(&self, _: &Rule) -> &'static str {
        "PATH"
    }
}

impl Item for WebOrigin {
    const PLACEHOLDER: &'static str = "ORIGIN";

    fn read_item(text: &str) -> Result<Vec<Self>, String> {
        let advice =
            "write it as browsers do: \"https://app.example.org\", with a port where it is not the usual one";
        if text == "*" {
            return Err("would let every page of the web in; name the origins".to_owned());
        }
        let Some((scheme, host)) = text.split_once("://") else {
            return Err(format!("is not an origin; {advice}"));
        };
        if host.is_empty() || host.contains(['/', '?', '#', '@', '*', ' ']) || scheme.is_empty() {
            return Err(format!("is more or less than an origin; {advice}"));
        }
        if text.chars().any(|c| c.is_ascii_uppercase() || !c.is_ascii_graphic()) {
            return Err(format!("is not how browsers write it, in lower-case ASCII; {advice}"));
        }
        let usual = [("https", ":443"), ("http", ":80")];
        if usual.iter().any(|(of, port)| *of == scheme && host.ends_with(port)) {
            return Err(format!("has the port that browsers leave out; {advice}"));
        }
        Ok(vec![Self(text.to_owned())])
    }

    fn show_item(&self) -> String {
        self.0.clone()
    }
}

impl Item for TokenAudience {
    const PLACEHOLDER: &'static str = "TEXT";

    fn read_item(text: &str) -> Result<Vec<Self>, String> {
        if text.is_empty() || text.len() > 1024 || text.chars().any(char::is_control) {
            return Err("is not 1 to 1024 printable characters".to_owned());
        }
        Ok(vec![Self(text.to_owned())])
    }

    fn show_item(&self) -> String {
        self.0.clone()
    }
}

impl Item for Algorithm {
    const PLACEHOLDER: &'static str = "ALGORITHM";

    fn read_item(text: &str) -> Result<Vec<Self>, String> {
        match Self::from_name(text) {
            Some(Self::Hs256) => {
                Err("needs no place here; it is taken when there is jwt.hs256_secret_file".to_owned())
            }
            Some(algorithm) => Ok(vec![algorithm]),
            None => {
                Err(format!("is not one of {}; write one of them", Self::PUBLIC.map(Self::as_str).join(", ")))
            }
        }
    }

    fn show_item(&self) -> String {
        self.as_str().to_owned()
    }
}

impl Item for ScopeRule {
    const PLACEHOLDER: &'static str = "THEIRS=OURS";

    fn read_item(text: &str) -> Result<Vec<Self>, String> {
        let Some((theirs, ours)) = text.rsplit_once('=').filter(|(theirs, _)| !theirs.is_empty()) else {
            return Err("is not a pair; write one such as \"turn.issue=issue\"".to_owned());
        };
        Ok(vec![Self { theirs: theirs.to_owned(), ours: scope(ours)? }])
    }

    fn show_item(&self) -> String {
        format!("{}={}", self.theirs, self.ours)
    }
}

impl Item for CertificatePrincipal {
    const PLACEHOLDER: &'static str = "NAME=SCOPES";

    fn read_item(text: &str) -> Result<Vec<Self>, String> {
        let advice = "write one such as \"dns:backend.example.org=issue+revoke\"";
        let Some((name, scopes)) = text.rsplit_once('=') else {
            return Err(format!("names no scopes; {advice}"));
        };
        let is_name = name.split_once(':').is_some_and(|(kind, rest)| {
            ["dns", "uri", "email", "ip"].contains(&kind) && !rest.is_empty() && rest.len() <= 1024
        });
        if !is_name {
            return Err(format!("does not begin with dns:, uri:, email: or ip: and a name; {advice}"));
        }
        let scopes: Result<Vec<String>, String> = scopes.split('+').map(scope).collect();
        Ok(vec![Self { name: name.to_owned(), scopes: scopes? }])
    }

    fn show_item(&self) -> String {
        format!("{}={}", self.name, self.scopes.join("+"))
    }
}

fn scope(word: &str) -> Result<String, String> {
    if SCOPE_WORDS.contains(&word) {
        return Ok(word.to_owned());
    }
    Err(format!("has the scope {word:?}, which is not one of {}", SCOPE_WORDS.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_taken_as_browsers_write_them() {
        for origin in ["https://app.example.org", "http://localhost:3000", "capacitor://localhost"] {
            assert!(WebOrigin::read_item(origin).is_ok(), "{origin}");
        }
        for origin in [
            "*",
            "https://App.example",
            "https://a.example/",
            "https://*.example",
            "a.example",
            "null",
            "https://a.example:443",
            "http://a.example:80",
            "https://",
        ] {
            assert!(WebOrigin::read_item(origin).is_err(), "{origin}");
        }
    }

    #[test]
    fn principals_have_a_kind_of_name_and_scopes() {
        let read = |text| CertificatePrincipal::read_item(text).map(|list| list[0].clone());
        let principal = read("uri:spiffe://x/y?a=b=issue+read").unwrap();
        assert_eq!(principal.name, "uri:spiffe://x/y?a=b");
        assert_eq!(principal.scopes, ["issue", "read"]);
        assert_eq!(principal.show_item(), "uri:spiffe://x/y?a=b=issue+read");
        for text in ["dns:a", "a=issue", "dns:=issue", "dns:a=", "dns:a=root", "cn:a=issue"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
