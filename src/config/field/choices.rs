//! Fields that take one of a few words.

use super::{
    super::types::{LogFormat, LogLevel, PageEnabled, RequireHttps, SignalDefault},
    Field, Raw, Rule,
};
use crate::turn::Expiry;

/// A type with a word for each of its values.
trait Choice: Copy + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self)];
    const PLACEHOLDER: &'static str;
}

macro_rules! choice_field {
    ($type:ty, $placeholder:literal, $($word:literal => $value:expr),+) => {
        impl Choice for $type {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, $value)),+];
            const PLACEHOLDER: &'static str = $placeholder;
        }

        impl Field for $type {
            fn read(&mut self, raw: &Raw, _: &Rule) -> Result<(), String> {
                *self = choose(raw)?;
                Ok(())
            }

            fn show(&self, _: &Rule) -> Option<String> {
                Self::WORDS.iter().find(|(_, value)| value == self).map(|(word, _)| format!("\"{word}\""))
            }

            fn placeholder(&self, _: &Rule) -> &'static str {
                Self::PLACEHOLDER
            }
        }
    };
}

fn choose<C: Choice>(raw: &Raw) -> Result<C, String> {
    let text = raw.scalar().unwrap_or_default();
    C::WORDS.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = C::WORDS.iter().map(|(word, _)| *word).collect();
        format!("is not one of {}; write one of them", words.join(", "))
    })
}

choice_field!(Expiry, "allocate|refresh|strict",
    "allocate" => Expiry::Allocate, "refresh" => Expiry::Refresh, "strict" => Expiry::Strict);
choice_field!(LogLevel, "LEVEL",
    "off" => LogLevel::Off, "error" => LogLevel::Error, "warn" => LogLevel::Warn, "info" => LogLevel::Info,
    "debug" => LogLevel::Debug, "trace" => LogLevel::Trace);
choice_field!(LogFormat, "auto|text|json",
    "auto" => LogFormat::Auto, "text" => LogFormat::Text, "json" => LogFormat::Json);
choice_field!(RequireHttps, "auto|always|never",
    "auto" => RequireHttps::Auto, "always" => RequireHttps::Always, "never" => RequireHttps::Never);
choice_field!(PageEnabled, "auto|on|off",
    "auto" => PageEnabled::Auto, "on" => PageEnabled::On, "off" => PageEnabled::Off);
choice_field!(SignalDefault, "auto|deny|webhook|any",
    "auto" => SignalDefault::Auto, "deny" => SignalDefault::Deny, "webhook" => SignalDefault::Webhook,
    "any" => SignalDefault::Any);
