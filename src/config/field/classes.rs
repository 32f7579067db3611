//! How quota classes are read and shown.

use super::{
    super::types::QuotaClass,
    Field, Raw, Rule, Shape, quoted,
    units::{rate, show_rate},
};
use crate::credentials::is_class;

/// The most classes: each Allocate that claims one looks through them.
const CLASSES_MAX: usize = 64;
/// As many as `limits.allocations_per_user`.
const ALLOCATIONS_MAX: u32 = 1_000_000;
const FORM: &str =
    "write a name of a-z, 0-9, _ and -, and its limits, such as \"gold=100\" or \"gold=100,8Mbit/s\"";

impl Field for Vec<QuotaClass> {
    fn read(&mut self, raw: &Raw, _: &Rule) -> Result<(), String> {
        let Some(items) = raw.items() else {
            return Err("is not a list; write [\"gold=100,8Mbit/s\", \"…\"]".to_owned());
        };
        let mut classes = Self::new();
        for item in &items {
            let read = match (item.split_once('='), classes.last_mut()) {
                (Some((name, allocations)), _) => class(name, allocations).map(|class| classes.push(class)),
                // Lists are taken apart at commas: this is what follows one inside a class.
                (None, Some(class)) if class.bandwidth.is_none() => {
                    bandwidth(item).map(|bandwidth| class.bandwidth = Some(bandwidth))
                }
                (None, Some(_) | None) => Err(format!("is no quota class; {FORM}")),
            };
            read.map_err(|fault| format!("{} {fault}", quoted(item)))?;
        }
        if classes.len() > CLASSES_MAX {
            return Err(format!("has {} quota classes; write at most {CLASSES_MAX}", classes.len()));
        }
        let twice = |(place, class): (usize, &QuotaClass)| {
            classes.iter().take(place).any(|earlier| earlier.name == class.name).then(|| class.name.clone())
        };
        if let Some(name) = classes.iter().enumerate().find_map(twice) {
            return Err(format!("has the quota class {name:?} twice; remove one of them"));
        }
        *self = classes;
        Ok(())
    }

    fn show(&self, _: &Rule) -> Option<String> {
        let show = |class: &QuotaClass| {
            let bandwidth = class.bandwidth.map_or_else(String::new, |rate| format!(",{}", show_rate(rate)));
            format!("\"{}={}{bandwidth}\"", class.name, class.allocations)
        };
        Some(format!("[{}]", self.iter().map(show).collect::<Vec<_>>().join(", ")))
    }

    fn placeholder(&self, _: &Rule) -> &'static str {
        "NAME=N[,RATE]"
    }

    fn shape(&self) -> Shape {
        Shape::Many
    }
}

fn class(name: &str, allocations: &str) -> Result<QuotaClass, String> {
    let name = name.trim();
    if !is_class(name) {
        return Err(format!("names no quota class; {FORM}"));
    }
    let allocations = allocations.trim().parse().ok().filter(|&count| count <= ALLOCATIONS_MAX);
    let allocations = allocations.ok_or_else(|| {
        format!("has no number of allocations from 0 (unlimited) to {ALLOCATIONS_MAX}; {FORM}")
    })?;
    Ok(QuotaClass { name: name.to_owned(), allocations, bandwidth: None })
}

fn bandwidth(text: &str) -> Result<u64, String> {
    rate(text).ok_or_else(|| {
        "is neither a quota class nor the bandwidth of the one before it; write one such as \"8Mbit/s\""
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { unit: super::super::Unit::None, min: 0, max: u64::MAX };

    fn read(raw: &Raw) -> Result<Vec<QuotaClass>, String> {
        let mut classes = Vec::new();
        classes.read(raw, &RULE).map(|()| classes)
    }

    fn list(items: &[&str]) -> Raw {
        Raw::List(items.iter().map(|&item| Raw::Text(item.to_owned())).collect())
    }

    #[test]
    fn classes_are_read_from_a_list_and_from_one_text_and_shown_alike() {
        let classes = read(&list(&["gold=100,8Mbit/s", "free = 2", "all=0,0"])).unwrap();

        let of =
            |name: &str, allocations, bandwidth| QuotaClass { name: name.to_owned(), allocations, bandwidth };
        assert_eq!(classes, [of("gold", 100, Some(1_000_000)), of("free", 2, None), of("all", 0, Some(0))]);
        assert_eq!(read(&Raw::Text("gold=100,8Mbit/s,free=2,all=0,0".to_owned())).unwrap(), classes);
        let shown = classes.show(&RULE).unwrap();
        assert_eq!(
            read(&list(&shown.trim_matches(['[', ']', '"']).split("\", \"").collect::<Vec<_>>())),
            Ok(classes)
        );
        assert_eq!(read(&list(&[])), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_class_says_what_to_write() {
        for (items, fault) in [
            (&["gold"][..], "is no quota class"),
            (&["8Mbit/s", "gold=1"], "is no quota class"),
            (&["Gold=1"], "names no quota class"),
            (&["gold=many"], "has no number of allocations"),
            (&["gold=1000001"], "has no number of allocations"),
            (&["gold=1,fast"], "is neither a quota class nor the bandwidth"),
            (&["gold=1,1,2"], "is no quota class"),
            (&["gold=1", "gold=2"], "has the quota class \"gold\" twice"),
        ] {
            let error = read(&list(items)).unwrap_err();
            assert!(error.contains(fault), "{items:?}: {error}");
        }
        let many: Vec<String> = (0..=CLASSES_MAX).map(|n| format!("c{n}=1")).collect();
        assert!(read(&Raw::Text(many.join(","))).unwrap_err().contains("at most 64"));
    }
}
