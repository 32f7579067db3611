//! Flags built from the table of keys.

use clap::{Arg, ArgAction, ArgMatches, ValueHint, builder::PossibleValuesParser, parser::ValueSource};

use super::{
    field::Shape,
    keys::{self, Key},
    render::wrap,
};

/// Of the paragraphs in `--help`, which stand ten columns in.
const HELP_WIDTH: usize = 90;

/// A flag for each key that may have one, of the given sections (all if empty), grouped by section in help.
#[must_use]
pub fn flags(sections: &[&str]) -> Vec<Arg> {
    keys::all()
        .filter(|key| sections.is_empty() || sections.contains(&key.section()))
        .filter_map(flag)
        .collect()
}

fn flag(key: &'static Key) -> Option<Arg> {
    let name = key.flag()?;
    let default = key.default_text();
    let unset = if key.path == "listen.tls" { "\":5349\" with a certificate" } else { "not set" };
    let default = default.filter(|text| text != "[]").unwrap_or_else(|| unset.to_owned());
    let more = format!(
        "{}.\n{}\nDefault: {default}. Environment: {}. File: {} in [{}].",
        key.brief,
        wrap(key.about, HELP_WIDTH),
        key.environment(),
        key.name(),
        key.section()
    );
    let arg = Arg::new(key.path)
        .long(name)
        .value_name(key.placeholder())
        .value_hint(hint(key))
        .help(key.brief)
        .long_help(more)
        .help_heading(format!("[{}]", key.section()));
    Some(match key.shape() {
        // `--log-redact` alone means true.
        Shape::Switch => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_parser(PossibleValuesParser::new(["true", "false"]))
            .hide_possible_values(true),
        Shape::One => arg.action(ArgAction::Set),
        Shape::Many => arg.action(ArgAction::Append),
    })
}

/// What shells offer for the value.
fn hint(key: &Key) -> ValueHint {
    if key.placeholder() == "FILE" { ValueHint::FilePath } else { ValueHint::Unknown }
}

/// What was given on the command line, as [`Sources::flags`](super::Sources) takes it.
#[must_use]
pub fn given_flags(matches: &ArgMatches) -> Vec<(String, Vec<String>)> {
    keys::all()
        .filter(|key| {
            matches!(matches.try_contains_id(key.path), Ok(true))
                && matches.value_source(key.path) == Some(ValueSource::CommandLine)
        })
        .filter_map(|key| {
            let values: Vec<String> = matches.get_many::<String>(key.path)?.cloned().collect();
            Some((key.path.to_owned(), values))
        })
        .collect()
}
