//! How a value of each type is read from TOML, a flag or the environment, and shown again.

mod access;
mod choices;
mod classes;
mod lists;
mod public;
mod scalars;
mod signal;
mod webhooks;

use std::time::Duration;

use super::units;

/// A value as it was written, before its key gives it a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Raw {
    /// `true` or `false` in a file.
    Boolean(bool),
    /// An integer in a file.
    Integer(i64),
    /// A string in a file, a flag or an environment variable.
    Text(String),
    /// An array in a file, or a flag given several times.
    List(Vec<Raw>),
    /// Something no key takes, by its name.
    Other(&'static str),
}

impl Raw {
    /// The value as it is repeated in a message.
    pub(crate) fn show(&self) -> String {
        match self {
            Self::Boolean(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Text(text) => quoted(text),
            Self::List(items) => format!("[{}]", items.iter().map(Self::show).collect::<Vec<_>>().join(", ")),
            Self::Other(what) => (*what).to_owned(),
        }
    }

    fn scalar(&self) -> Option<String> {
        match self {
            Self::Boolean(value) => Some(value.to_string()),
            Self::Integer(value) => Some(value.to_string()),
            Self::Text(text) => Some(text.clone()),
            Self::List(_) | Self::Other(_) => None,
        }
    }

    /// The elements of a list; text is split at commas.
    fn items(&self) -> Option<Vec<String>> {
        match self {
            Self::Text(text) => Some(
                text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect(),
            ),
            Self::List(items) => {
                let lists: Option<Vec<Vec<String>>> = items.iter().map(Self::items).collect();
                Some(lists?.into_iter().flatten().collect())
            }
            Self::Boolean(_) | Self::Integer(_) | Self::Other(_) => None,
        }
    }
}

/// A string as TOML writes it, cut when it is very long.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 200;
    let mut cut: String = text.chars().take(SHOWN).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Nothing, or the value is not a number.
    None,
    /// Things.
    Count,
    /// Seconds, or text with a unit.
    Duration,
    /// Bytes, or text with a unit.
    Bytes,
    /// Bytes per second, or text with a unit.
    BytesPerSecond,
}

/// What a key demands of its value: bounds of a number (durations in seconds) or of the length of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) unit: Unit,
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Rule {
    /// A bound as the documentation writes it.
    pub(crate) fn show(&self, bound: u64) -> String {
        match self.unit {
            Unit::None | Unit::Count => bound.to_string(),
            Unit::Duration => units::show_duration(Duration::from_secs(bound)),
            Unit::Bytes => units::show_size(bound),
            Unit::BytesPerSecond => units::show_rate(bound),
        }
    }

    /// `1 to 65535`.
    pub(crate) fn range(&self) -> String {
        match self.max {
            u64::MAX => format!("{} or more", self.show(self.min)),
            max => format!("{} to {}", self.show(self.min), self.show(max)),
        }
    }

    fn number(&self, raw: &Raw) -> Result<u64, String> {
        let (read, form): (fn(&str) -> Option<u64>, &str) = match self.unit {
            Unit::None | Unit::Count | Unit::Duration => (|text| text.trim().parse().ok(), "a whole number"),
            Unit::Bytes => (units::size, "a number of bytes, or a text such as \"64KiB\" or \"4MiB\""),
            Unit::BytesPerSecond => {
                (units::rate, "a number of bytes per second, or a text such as \"1MB/s\" or \"8Mbit/s\"")
            }
        };
        let value = raw
            .scalar()
            .and_then(|text| read(&text))
            .ok_or_else(|| format!("is not {form}; {}", self.demand()))?;
        self.within(value)
    }

    fn within(&self, value: u64) -> Result<u64, String> {
        if value < self.min || value > self.max {
            return Err(format!("is out of range; {}", self.demand()));
        }
        Ok(value)
    }

    fn demand(&self) -> String {
        format!("write {}", self.range())
    }

    fn text(&self, raw: &Raw) -> Result<String, String> {
        let Some(text) = raw.scalar() else {
            return Err("is not a text; write it in quotes".to_owned());
        };
        let length = text.chars().count() as u64;
        if length < self.min || length > self.max {
            return Err(format!("has {length} characters; write {}", self.range()));
        }
        if text.chars().any(char::is_control) {
            return Err("contains a control character; remove it".to_owned());
        }
        Ok(text)
    }
}

/// Whether a key takes one value, many, or is on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `true` or `false`; as a flag it needs no value.
    Switch,
    /// One value.
    One,
    /// An array; as a flag it may be given several times or with commas.
    Many,
}

/// A typed place in [`Config`](super::Config) that a key writes to.
pub(crate) trait Field {
    /// Takes over `raw`, or says what is wrong with it and what to write instead.
    fn read(&mut self, raw: &Raw, rule: &Rule) -> Result<(), String>;
    /// The value as TOML writes it; `None` when it is not set.
    fn show(&self, rule: &Rule) -> Option<String>;
    /// What stands for the value in help texts.
    fn placeholder(&self, rule: &Rule) -> &'static str;
    /// See [`Shape`].
    fn shape(&self) -> Shape {
        Shape::One
    }
}
