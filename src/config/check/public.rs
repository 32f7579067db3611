//! Contradictions in where public addresses are known from.

use super::Check;
use crate::config::types::{External, PublicSource};

/// Each is asked from every relay address at the same time.
const FOUND_MAX: usize = 8;

impl Check<'_> {
    pub(super) fn external_addresses(&mut self) {
        let external: Vec<External> = self.config.relay.configured().collect();
        let relay = &self.config.relay.addresses;
        for (index, mapping) in external.iter().enumerate() {
            let same = external.iter().take(index).any(|other| {
                other.private == mapping.private && other.public.is_ipv4() == mapping.public.is_ipv4()
            });
            match mapping.private {
                None if same => {
                    let message = format!(
                        "{} is the second address for all relay addresses of its family; write public/private pairs",
                        mapping.public
                    );
                    self.error("relay.external", message);
                }
                Some(private) if same => {
                    self.error(
                        "relay.external",
                        format!("{private} is mapped twice; remove one of the mappings"),
                    );
                }
                Some(private) if !relay.is_empty() && !relay.contains(&private) => {
                    let message =
                        format!("{private} is not in relay.addresses; add it there, or remove the mapping");
                    self.error("relay.external", message);
                }
                None if !relay.is_empty()
                    && relay.iter().all(|ip| ip.is_ipv4() != mapping.public.is_ipv4()) =>
                {
                    let message =
                        format!("no address in relay.addresses is of the family of {}", mapping.public);
                    self.error("relay.external", format!("{message}; add one, or remove the mapping"));
                }
                None | Some(_) => {}
            }
            if mapping.public.is_loopback() || mapping.public.is_multicast() {
                self.warn("relay.external", format!("{} is reached by nobody outside", mapping.public));
            }
        }
    }

    pub(super) fn public_sources(&mut self) {
        let relay = &self.config.relay;
        let found: Vec<&PublicSource> = relay.external.iter().filter(|source| source.is_found()).collect();
        let of_interface = found.iter().find(|source| matches!(source, PublicSource::Interface(_)));
        let of_family =
            |is_ipv4| relay.configured().any(|it| it.private.is_none() && it.public.is_ipv4() == is_ipv4);
        let is_idle = !found.is_empty() && of_family(true) && of_family(false);
        let twice = found
            .iter()
            .enumerate()
            .find(|(index, source)| found.iter().take(*index).any(|it| it == *source));
        let (many, twice) = (found.len() > FOUND_MAX, twice.map(|(_, source)| source.to_string()));
        let of_interface =
            of_interface.filter(|_| !relay.addresses.is_empty()).map(|source| source.to_string());
        if let Some(source) = of_interface {
            let message = format!(
                "{source} says where relay sockets are bound, and so does relay.addresses; remove one of them"
            );
            self.error("relay.external", message);
        }
        if many {
            self.error("relay.external", format!("more than {FOUND_MAX} places to look; remove some"));
        }
        if let Some(source) = twice {
            self.error("relay.external", format!("{source} is named twice; remove one of them"));
        }
        if is_idle {
            let message = "an address is written down for both families, so none is looked for; remove one or the other";
            self.warn("relay.external", message);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Sources, load};

    fn judged(external: &str, addresses: &str) -> Result<Vec<String>, String> {
        let flag = |path: &str, values: &str| {
            (path.to_owned(), values.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        let flags = vec![flag("relay.external", external), flag("relay.addresses", addresses)];
        let flags = flags.into_iter().filter(|(_, values)| !values.is_empty()).collect();
        let loaded = load(&Sources { flags, ..Sources::default() });
        let warnings = loaded
            .map_err(|error| error.problems.iter().map(ToString::to_string).collect::<String>())?
            .warnings;
        Ok(warnings.iter().filter(|it| it.key == "relay.external").map(ToString::to_string).collect())
    }

    #[test]
    fn places_to_look_are_asked_without_the_network_whether_they_contradict_each_other() {
        assert_eq!(judged("stun:stun.example.org dns:relay.example.org 203.0.113.5", ""), Ok(Vec::new()));
        assert_eq!(judged("interface:eth0 stun:192.0.2.1", ""), Ok(Vec::new()));
        for (external, addresses, said) in [
            ("interface:eth0", "10.0.0.5", "and so does relay.addresses"),
            ("stun:a.example stun:a.example:3478", "", "named twice"),
            ("dns:a1 dns:a2 dns:a3 dns:a4 dns:a5 dns:a6 dns:a7 dns:a8 dns:a9", "", "more than 8 places"),
            ("203.0.113.5 203.0.113.6 stun:a.example", "", "second address"),
        ] {
            let fault = judged(external, addresses).unwrap_err();
            assert!(fault.contains(said), "{external}: {fault}");
        }
        let idle = judged("203.0.113.5 2001:db8::5 stun:a.example", "").unwrap();
        assert!(idle[0].contains("none is looked for"), "{idle:?}");
    }
}
