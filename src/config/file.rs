//! The syntax of configuration files, with the line of each value.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{
    field::Raw,
    problem::{Origin, Problem},
};

/// The most a configuration file may hold. Real ones have a few KiB.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;

/// One `section.name = value` of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// The dotted path.
    pub(crate) path: String,
    /// The value.
    pub(crate) raw: Raw,
    /// From 1.
    pub(crate) line: usize,
}

/// Takes a TOML text apart. What can be understood is returned beside everything that cannot.
pub(crate) fn parse(path: &Path, text: &str) -> (Vec<Assignment>, Vec<Problem>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let problems = errors
        .iter()
        .map(|error| {
            let line = error.span().map(|span| line_of(text, span.start));
            let origin = Origin::File(path.to_owned(), line);
            Problem::of_file(
                origin,
                format!("is not TOML here: {}", error.message().trim().replace('\n', ", ")),
            )
        })
        .collect();
    let mut assignments = Vec::new();
    collect(text, "", table.get_ref(), 0, &mut assignments);
    assignments.sort_by_key(|assignment| assignment.line);
    (assignments, problems)
}

fn collect(text: &str, prefix: &str, table: &DeTable<'_>, depth: usize, assignments: &mut Vec<Assignment>) {
    for (name, value) in table {
        let path = if prefix.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{prefix}.{}", name.get_ref())
        };
        // Keys are two deep: what lies deeper is unknown as a whole.
        if let (DeValue::Table(inner), true) = (value.get_ref(), depth < 1) {
            if inner.is_empty() {
                continue;
            }
            collect(text, &path, inner, depth + 1, assignments);
            continue;
        }
        let line = line_of(text, name.span().start);
        assignments.push(Assignment { path, raw: raw(value.get_ref()), line });
    }
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Raw::Other("a number this large"), Raw::Integer),
        DeValue::Boolean(value) => Raw::Boolean(*value),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw(item.get_ref())).collect()),
        DeValue::Float(_) => Raw::Other("a number with a point"),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Table(_) => Raw::Other("a table"),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_knows_its_line() {
        let (assignments, problems) = parse(
            Path::new("f"),
            "top = 1\n[relay]\nport_min = 0x10\n\naddresses = [\n \"::1\",\n]\n[log]\nredact = true\n",
        );
        assert_eq!(problems, []);
        let seen: Vec<_> = assignments.iter().map(|a| (a.path.as_str(), a.raw.show(), a.line)).collect();
        assert_eq!(
            seen,
            [
                ("top", "1".to_owned(), 1),
                ("relay.port_min", "16".to_owned(), 3),
                ("relay.addresses", "[\"::1\"]".to_owned(), 5),
                ("log.redact", "true".to_owned(), 9),
            ]
        );
    }

    #[test]
    fn what_is_not_toml_names_the_line_and_keeps_the_rest() {
        let (assignments, problems) = parse(Path::new("f"), "[relay]\nport_min = \nport_max = 5\n");
        assert_eq!(assignments.last().map(|a| a.path.as_str()), Some("relay.port_max"));
        assert_eq!(problems.len(), 1);
        assert!(problems[0].to_string().starts_with("f:2: is not TOML here: "), "{}", problems[0]);
    }
}
