//! Closed sets of names, for metrics and logs.

use std::fmt;

/// A closed set whose members are metric labels.
pub trait Label: Copy + fmt::Debug + 'static {
    /// Every member, in the order of [`Label::index`].
    const MEMBERS: &'static [Self];

    /// The member's place in [`Label::MEMBERS`].
    fn index(self) -> usize;

    /// The member's name: lower case, words joined by `_`.
    fn label(self) -> &'static str;
}

/// One counter for each member of a closed set.
///
/// `N` is the number of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally<L, const N: usize> {
    counts: [u64; N],
    set: std::marker::PhantomData<L>,
}

impl<L: Label, const N: usize> Tally<L, N> {
    /// The count of `member`.
    #[must_use]
    pub fn get(&self, member: L) -> u64 {
        self.counts.get(member.index()).copied().unwrap_or(0)
    }

    /// The counts of all members together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Every member and its count.
    pub fn iter(&self) -> impl Iterator<Item = (L, u64)> + '_ {
        L::MEMBERS.iter().copied().zip(self.counts)
    }

    /// Adds the counts of `other` to these.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
    }

    pub(crate) fn add(&mut self, member: L, amount: u64) {
        if let Some(count) = self.counts.get_mut(member.index()) {
            *count += amount;
        }
    }

    pub(crate) fn subtract(&mut self, member: L, amount: u64) {
        if let Some(count) = self.counts.get_mut(member.index()) {
            debug_assert!(*count >= amount, "{member:?} would be counted below zero");
            *count = count.saturating_sub(amount);
        }
    }
}

impl<L: Label, const N: usize> Default for Tally<L, N> {
    fn default() -> Self {
        debug_assert_eq!(L::MEMBERS.len(), N, "a tally has one counter for each member");
        Self { counts: [0; N], set: std::marker::PhantomData }
    }
}

/// Gives an enum without data its `ALL`, `as_str` and [`Label`].
macro_rules! labels {
    ($name:ident { $($member:ident => $text:literal,)+ }) => {
        impl $name {
            /// Every member.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$member),+];

            /// The label used in metrics and logs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$member => $text,)+
                }
            }
        }

        impl $crate::turn::label::Label for $name {
            const MEMBERS: &'static [Self] = &Self::ALL;

            fn index(self) -> usize {
                self as usize
            }

            fn label(self) -> &'static str {
                self.as_str()
            }
        }
    };
}
pub(crate) use labels;
