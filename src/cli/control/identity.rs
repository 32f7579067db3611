//! The names of allocations in a cluster: `<node>:<shard>-<number>`.

use crate::turn::AllocationId;

/// The name of an allocation of `node`.
pub(super) fn name(node: &str, shard: usize, id: AllocationId) -> String {
    format!("{node}:{shard}-{}", id.0)
}

/// The shard and the number of an allocation of `node`; `None` if this names none.
pub(super) fn read(node: &str, name: &str) -> Option<(usize, AllocationId)> {
    let (of, place) = name.rsplit_once(':')?;
    if of != node {
        return None;
    }
    let (shard, number) = place.split_once('-')?;
    Some((digits(shard)?, AllocationId(digits(number)?)))
}

/// One spelling for each number: no sign, no leading zero.
fn digits<T: std::str::FromStr + ToString>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number: &T| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_found_again_and_nothing_else() {
        let id = AllocationId(17);
        assert_eq!(name("a-1.x", 2, id), "a-1.x:2-17");
        assert_eq!(read("a-1.x", "a-1.x:2-17"), Some((2, id)));
        for other in ["", "2-17", "b:2-17", "a-1.x:2", "a-1.x:2-", "a-1.x:-17", "a-1.x:+2-17", "a-1.x:2-017"]
        {
            assert_eq!(read("a-1.x", other), None, "{other}");
        }
    }
}
