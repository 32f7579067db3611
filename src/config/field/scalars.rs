//! Fields that take one value.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{super::types::SecretBytes, Field, Raw, Rule, Shape, Unit, quoted, units};

impl Field for bool {
    fn read(&mut self, raw: &Raw, _: &Rule) -> Result<(), String> {
        *self = match raw.scalar().as_deref() {
            Some("true") => true,
            Some("false") => false,
            _ => return Err("is neither true nor false; write one of them".to_owned()),
        };
        Ok(())
    }

    fn show(&self, _: &Rule) -> Option<String> {
        Some(self.to_string())
    }

    fn placeholder(&self, _: &Rule) -> &'static str {
        "true|false"
    }

    fn shape(&self) -> Shape {
        Shape::Switch
    }
}

fn show_number(value: u64, rule: &Rule) -> String {
    let shown = rule.show(value);
    if shown.parse::<u64>().is_ok() { shown } else { format!("\"{shown}\"") }
}

const fn number_placeholder(rule: &Rule) -> &'static str {
    match rule.unit {
        Unit::None | Unit::Count => "N",
        Unit::Duration => "DURATION",
        Unit::Bytes => "SIZE",
        Unit::BytesPerSecond => "RATE",
    }
}

macro_rules! number_field {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn read(&mut self, raw: &Raw, rule: &Rule) -> Result<(), String> {
                let value = rule.number(raw)?;
                *self = Self::try_from(value).map_err(|_| format!("is out of range; {}", rule.demand()))?;
                Ok(())
            }

            fn show(&self, rule: &Rule) -> Option<String> {
                Some(show_number(u64::try_from(*self).unwrap_or(u64::MAX), rule))
            }

            fn placeholder(&self, rule: &Rule) -> &'static str {
                number_placeholder(rule)
            }
        }

        /// 0 is unlimited.
        impl Field for Option<$type> {
            fn read(&mut self, raw: &Raw, rule: &Rule) -> Result<(), String> {
                let mut value = <$type>::default();
                value.read(raw, rule)?;
                *self = (value > 0).then_some(value);
                Ok(())
            }

            fn show(&self, rule: &Rule) -> Option<String> {
                self.unwrap_or(0).show(rule)
            }

            fn placeholder(&self, rule: &Rule) -> &'static str {
                number_placeholder(rule)
            }
        }
    )*};
}

number_field!(u16, u32, u64, usize);

impl Field for Duration {
    fn read(&mut self, raw: &Raw, rule: &Rule) -> Result<(), String> {
        let Some(value) = raw.scalar().as_deref().and_then(units::duration) else {
            return Err(format!(
                "is not a duration such as \"30s\", \"10m\" or a number of seconds; {}",
                rule.demand()
            ));
        };
        if value < Self::from_secs(rule.min) || value > Self::from_secs(rule.max) {
            return Err(format!("is out of range; {}", rule.demand()));
        }
        *self = value;
        Ok(())
    }

    fn show(&self, _: &Rule) -> Option<String> {
        Some(format!("\"{}\"", units::show_duration(*self)))
    }

    fn placeholder(&self, _: &Rule) -> &'static str {
        "DURATION"
    }
}

impl Field for String {
    fn read(&mut self, raw: &Raw, rule: &Rule) -> Result<(), String> {
        *self = rule.text(raw)?;
        Ok(())
    }

    fn show(&self, _: &Rule) -> Option<String> {
        Some(quoted(self))
    }

    fn placeholder(&self, _: &Rule) -> &'static str {
        "TEXT"
    }
}

impl Field for Option<String> {
    fn read(&mut self, raw: &Raw, rule: &Rule) -> Result<(), String> {
        *self = Some(rule.text(raw)?);
        Ok(())
    }

    fn show(&self, _: &Rule) -> Option<String> {
        self.as_deref().map(quoted)
    }

    fn placeholder(&self, _: &Rule) -> &'static str {
        "TEXT"
    }
}

impl Field for char {
    fn read(&mut self, raw: &Raw, _: &Rule) -> Result<(), String> {
        let text = raw.scalar().unwrap_or_default();
        let mut characters = text.chars();
        let (Some(first), None) = (characters.next(), characters.next()) else {
            return Err("is not a single character; write one, such as \":\"".to_owned());
        };
        if first == '~' {
            return Err(
                "stands between the label, class and other claims in a username; write one such as \":\""
                    .to_owned(),
            );
        }
        if first.is_ascii_digit() || first.is_control() {
            return Err("cannot separate digits from a name; write one such as \":\"".to_owned());
        }
        *self = first;
        Ok(())
    }

    fn show(&self, _: &Rule) -> Option<String> {
        Some(quoted(&self.to_string()))
    }

    fn placeholder(&self, _: &Rule) -> &'static str {
        "CHARACTER"
    }
}

/// Kept out of every message; the length is checked with the other contradictions.
impl Field for Option<SecretBytes> {
    fn read(&mut self, raw: &Raw, _: &Rule) -> Result<(), String> {
        let Some(text) = raw.scalar() else {
            return Err("is not a text; write it in quotes".to_owned());
        };
        // Secrets that come from files by way of the environment often end in a newline.
        *self = Some(SecretBytes::new(text.trim_end_matches(['\r', '\n']).as_bytes()));
        Ok(())
    }

    fn show(&self, _: &Rule) -> Option<String> {
        self.as_ref().map(|_| "\"***\"".to_owned())
    }

    fn placeholder(&self, _: &Rule) -> &'static str {
        "SECRET"
    }
}

impl Field for Option<PathBuf> {
    fn read(&mut self, raw: &Raw, _: &Rule) -> Result<(), String> {
        let Raw::Text(text) = raw else {
            return Err("is not a path; write it in quotes".to_owned());
        };
        if text.is_empty() {
            return Err("is empty; name a file, or leave the key out".to_owned());
        }
        *self = Some(PathBuf::from(text));
        Ok(())
    }

    fn show(&self, _: &Rule) -> Option<String> {
        self.as_ref().map(|path| quoted(&path.display().to_string()))
    }

    fn placeholder(&self, _: &Rule) -> &'static str {
        "FILE"
    }
}

impl Field for Option<SocketAddr> {
    fn read(&mut self, raw: &Raw, _: &Rule) -> Result<(), String> {
        let text = raw.scalar().unwrap_or_default();
        *self = match text.trim() {
            "off" => None,
            address => Some(address.parse().map_err(|_| {
                "is not an address with a port; write it as \"127.0.0.1:9641\" or \"[::1]:9641\", or \"off\"".to_owned()
            })?),
        };
        Ok(())
    }

    fn show(&self, _: &Rule) -> Option<String> {
        Some(self.map_or_else(|| "\"off\"".to_owned(), |address| format!("\"{address}\"")))
    }

    fn placeholder(&self, _: &Rule) -> &'static str {
        "IP:PORT"
    }
}
