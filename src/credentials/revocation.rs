//! Credentials that are no longer good, although their time is not over.

use std::{
    collections::{HashMap, hash_map::RandomState},
    fmt,
    hash::BuildHasher as _,
};

use super::{Claims, KeyId};

/// The most revocations a cluster keeps. Whoever collects them refuses more: one that is left out would let in whom it
/// was made for.
pub const REVOCATIONS_MAX: usize = 100_000;
/// The longest life of a plain credential, in seconds, unless configured otherwise.
pub const PLAIN_LIFE_MAX: u64 = 86_400;

/// An order that credentials are no longer good. It hits those that agree with every field that is given; with none
/// given, all. Only time-limited credentials: users with a password of their own are removed where they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Its name.
    pub id: Box<str>,
    /// This username as it is sent, expiry time and claims included.
    pub username: Option<Box<str>>,
    /// This user.
    pub user: Option<Box<str>>,
    /// Credentials with this label.
    pub label: Option<Box<str>>,
    /// Credentials made with this secret.
    pub key_id: Option<KeyId>,
    /// Only what was issued at this second (since the Unix epoch) or before.
    pub issued_before: u64,
    /// Nobody it hits is valid after this second: then it may be forgotten.
    pub expires: u64,
    /// Whether live allocations end at once; else when they would have to be refreshed.
    pub cut: bool,
}

/// All revocations, in a form that answers quickly whom they hit. Immutable; replaced as a whole.
pub struct Revocations {
    rows: Vec<Revocation>,
    /// For the hash of a [`Criteria`] the first of its rows that matter.
    first: HashMap<u64, u32>,
    /// For each row the next one with the same hash.
    next: Vec<Option<u32>>,
    /// Which sets of fields there are criteria for: one bit for each [`Criteria::fields`].
    shapes: u16,
    hasher: RandomState,
    plain_life_max: u64,
}

impl Revocations {
    /// Arranges revocations. See [`REVOCATIONS_MAX`].
    #[must_use]
    pub fn new(revocations: impl IntoIterator<Item = Revocation>) -> Self {
        let rows: Vec<Revocation> = revocations.into_iter().collect();
        let mut made = Self {
            first: HashMap::with_capacity(rows.len()),
            next: vec![None; rows.len()],
            shapes: 0,
            hasher: RandomState::new(),
            plain_life_max: PLAIN_LIFE_MAX,
            rows: Vec::new(),
        };
        for place in decisive(&rows) {
            let Some(row) = rows.get(place as usize) else { continue };
            let criteria = Criteria::of(row);
            made.shapes |= 1 << criteria.fields();
            let before = made.first.insert(made.hasher.hash_one(criteria), place);
            if let Some(next) = made.next.get_mut(place as usize) {
                *next = before;
            }
        }
        made.rows = rows;
        made
    }

    /// Sets the longest life of a plain credential, in seconds. Such a name does not tell when it was issued: it counts
    /// as issued so long before it expires, so that nothing slips through. Default: [`PLAIN_LIFE_MAX`].
    #[must_use]
    pub const fn with_plain_life_max(mut self, seconds: u64) -> Self {
        self.plain_life_max = seconds;
        self
    }

    /// The revocation that a time-limited credential is hit by at `now_unix`, one that cuts if there is one.
    ///
    /// `username` is the whole name, `claims` what it says, `key_id` the secret that was found to have signed it, if
    /// that is known, and `expires` the end of its life.
    #[must_use]
    pub fn hit(
        &self,
        username: &str,
        claims: &Claims<'_>,
        key_id: Option<&KeyId>,
        expires: u64,
        now_unix: u64,
    ) -> Option<&Revocation> {
        if self.shapes == 0 {
            return None;
        }
        let issued = claims.issued.unwrap_or_else(|| expires.saturating_sub(self.plain_life_max));
        let known = Criteria {
            username: Some(username),
            user: Some(claims.user),
            label: claims.label,
            key_id: key_id.map(KeyId::as_str).or(claims.key_id),
        };
        let mut found: Option<&Revocation> = None;
        for fields in (0..=Criteria::ALL).filter(|fields| self.shapes & (1 << fields) != 0) {
            let Some(criteria) = known.only(fields) else { continue };
            for row in self.rows_of(criteria) {
                if issued <= row.issued_before && now_unix <= row.expires {
                    if row.cut {
                        return Some(row);
                    }
                    found = Some(row);
                }
            }
        }
        found
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Each of them, in the order they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Revocation> {
        self.rows.iter()
    }

    /// The rows with exactly these criteria that matter.
    fn rows_of(&self, criteria: Criteria<'_>) -> impl Iterator<Item = &Revocation> {
        let mut place = self.first.get(&self.hasher.hash_one(criteria)).copied();
        let chain = std::iter::from_fn(move || {
            let row = place? as usize;
            place = self.next.get(row).copied().flatten();
            self.rows.get(row)
        });
        chain.filter(move |row| Criteria::of(row) == criteria)
    }
}

impl Default for Revocations {
    fn default() -> Self {
        Self::new([])
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// What a revocation asks for, or what a credential has to offer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Criteria<'a> {
    username: Option<&'a str>,
    user: Option<&'a str>,
    label: Option<&'a str>,
    key_id: Option<&'a str>,
}

impl<'a> Criteria<'a> {
    /// Every field is given.
    const ALL: u16 = 0b1111;

    fn of(row: &'a Revocation) -> Self {
        Self {
            username: row.username.as_deref(),
            user: row.user.as_deref(),
            label: row.label.as_deref(),
            key_id: row.key_id.as_ref().map(KeyId::as_str),
        }
    }

    /// One bit for each field that is given.
    fn fields(&self) -> u16 {
        let given = [self.username, self.user, self.label, self.key_id].map(|field| field.is_some());
        given.into_iter().fold(0, |fields, is_given| fields << 1 | u16::from(is_given))
    }

    /// These fields and no others; `None` if one of them is missing.
    fn only(&self, fields: u16) -> Option<Self> {
        let keep = |bit: u16, field: Option<&'a str>| field.filter(|_| fields & bit != 0);
        let kept = Self {
            username: keep(0b1000, self.username),
            user: keep(0b100, self.user),
            label: keep(0b10, self.label),
            key_id: keep(0b1, self.key_id),
        };
        (kept.fields() == fields).then_some(kept)
    }
}

/// The places of rows that decide anything: of those with the same criteria, none that another one makes superfluous.
fn decisive(rows: &[Revocation]) -> Vec<u32> {
    let mut order: Vec<(Criteria<'_>, &Revocation, u32)> =
        rows.iter().zip(0_u32..).map(|(row, place)| (Criteria::of(row), row, place)).collect();
    order.sort_unstable_by(|(criteria, row, place), (other_criteria, other, other_place)| {
        let reach = |row: &Revocation| (row.issued_before, row.expires, row.cut);
        // The farthest reach comes first.
        criteria.cmp(other_criteria).then(reach(other).cmp(&reach(row))).then(place.cmp(other_place))
    });
    let mut decisive = Vec::new();
    let mut reached: Option<(Criteria<'_>, Option<u64>, Option<u64>)> = None;
    for (criteria, row, place) in order {
        let (any, cutting) = match reached {
            Some((same, any, cutting)) if same == criteria => (any, cutting),
            Some(_) | None => (None, None),
        };
        let longest = if row.cut { cutting } else { any };
        if Some(row.expires) > longest {
            decisive.push(place);
        }
        let longest_cutting = if row.cut { cutting.max(Some(row.expires)) } else { cutting };
        reached = Some((criteria, any.max(Some(row.expires)), longest_cutting));
    }
    decisive
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key_id(id: &str) -> KeyId {
        KeyId::new(id).unwrap()
    }

    /// Hits everything that was issued by 100, until 1000.
    fn row(id: &str) -> Revocation {
        Revocation {
            id: id.into(),
            username: None,
            user: None,
            label: None,
            key_id: None,
            issued_before: 100,
            expires: 1000,
            cut: false,
        }
    }

    /// What a credential issued at `issued` for ten minutes is hit by at 200.
    fn hit(revocations: &Revocations, user_part: &str, key: &str) -> Option<String> {
        let claims = Claims::read(user_part);
        let expires = claims.issued.map_or(700, |issued| issued + 600);
        let username = format!("{expires}:{user_part}");
        let found = revocations.hit(&username, &claims, Some(&key_id(key)), expires, 200);
        found.map(|row| row.id.clone().into())
    }

    #[test]
    fn each_field_hits_those_it_names_and_nobody_else() {
        let revocations = Revocations::new([
            Revocation { username: Some("700:ann".into()), ..row("name") },
            Revocation { user: Some("bob".into()), ..row("user") },
            Revocation { label: Some("desk".into()), ..row("label") },
            Revocation { key_id: Some(key_id("old")), ..row("key") },
        ])
        .with_plain_life_max(600);

        assert_eq!(hit(&revocations, "ann", "k").as_deref(), Some("name"));
        assert_eq!(hit(&revocations, "bob", "k").as_deref(), Some("user"));
        assert_eq!(hit(&revocations, "bob~1~k~90~~~", "k").as_deref(), Some("user"));
        assert_eq!(hit(&revocations, "cat~1~k~90~desk~~", "k").as_deref(), Some("label"));
        assert_eq!(hit(&revocations, "cat", "old").as_deref(), Some("key"));
        for other in ["ann2", "cat", "cat~1~k~90~desk2~~", "ann~1~k~90~~~", "desk", ""] {
            assert_eq!(hit(&revocations, other, "k"), None, "{other}");
        }
    }

    #[test]
    fn all_given_fields_must_agree() {
        let both =
            Revocation { user: Some("bob".into()), label: Some("desk".into()), cut: true, ..row("both") };
        let revocations = Revocations::new([both]);

        assert_eq!(hit(&revocations, "bob~1~k~90~desk~~", "k").as_deref(), Some("both"));
        for other in ["bob~1~k~90~sofa~~", "bob~1~k~90~~~", "ann~1~k~90~desk~~", "bob"] {
            assert_eq!(hit(&revocations, other, "k"), None, "{other}");
        }
    }

    #[test]
    fn what_was_issued_later_is_not_hit_and_neither_is_anything_after_its_end() {
        let revocations = Revocations::new([row("all")]);
        let at = |issued: u64, now: u64| {
            let name = format!("bob~1~k~{issued}~~~");
            revocations.hit(&name, &Claims::read(&name), None, issued + 5000, now).is_some()
        };

        assert_eq!([at(100, 200), at(101, 200), at(100, 1000), at(100, 1001)], [true, false, true, false]);
    }

    #[test]
    fn a_plain_name_counts_as_issued_its_longest_life_before_its_end() {
        let plain = Claims::plain("bob");
        let day = Revocations::new([row("all")]);
        let hour = Revocations::new([row("all")]).with_plain_life_max(3600);

        assert!(day.hit("x", &plain, None, 100 + PLAIN_LIFE_MAX, 200).is_some());
        assert!(day.hit("x", &plain, None, 101 + PLAIN_LIFE_MAX, 200).is_none());
        assert!(hour.hit("x", &plain, None, 3700, 200).is_some());
        assert!(hour.hit("x", &plain, None, 3701, 200).is_none());
        assert!(hour.hit("x", &plain, None, 5, 5).is_some());
    }

    #[test]
    fn one_that_cuts_comes_first() {
        let revocations = Revocations::new([
            Revocation { user: Some("bob".into()), ..row("quiet") },
            Revocation { cut: true, ..row("cuts") },
        ]);

        assert_eq!(hit(&revocations, "bob~1~k~90~~~", "k").as_deref(), Some("cuts"));
    }

    #[test]
    fn many_for_one_user_cost_no_more_than_one() {
        let rows = (0..10_000_u64).map(|step| Revocation {
            user: Some("bob".into()),
            issued_before: step,
            expires: step + 600,
            ..row(&step.to_string())
        });
        let revocations = Revocations::new(rows);

        assert_eq!(revocations.len(), 10_000);
        assert_eq!(revocations.first.len(), 1);
        assert!(revocations.next.iter().all(Option::is_none), "rows that decide nothing are looked at");
    }

    fn field(texts: &'static [&'static str]) -> impl Strategy<Value = Option<Box<str>>> {
        proptest::option::of(proptest::sample::select(texts).prop_map(Box::from))
    }

    prop_compose! {
        fn any_row()(
            username in field(&["700:ann", "700:bob"]),
            user in field(&["ann", "bob"]),
            label in field(&["desk", "sofa"]),
            key in proptest::option::of(proptest::sample::select(&["k", "old"])),
            issued_before in 0..6_u64,
            expires in 0..6_u64,
            cut: bool,
        ) -> Revocation {
            let key_id = key.map(key_id);
            Revocation { id: "x".into(), username, user, label, key_id, issued_before, expires, cut }
        }
    }

    proptest! {
        #[test]
        fn a_hit_is_what_looking_at_every_row_finds(
            rows in proptest::collection::vec(any_row(), 0..12),
            user in proptest::sample::select(&["ann", "bob", ""]),
            label in proptest::option::of(proptest::sample::select(&["desk", "sofa"])),
            issued in proptest::option::of(0..6_u64),
            expires in 3..9_u64,
            now in 0..6_u64,
            key in proptest::sample::select(&["k", "old"]),
        ) {
            let claims = Claims { label, issued, key_id: issued.map(|_| key), ..Claims::plain(user) };
            let username = format!("700:{user}");
            let key = key_id(key);
            let matches = |row: &&Revocation| {
                row.username.as_deref().is_none_or(|name| name == username)
                    && row.user.as_deref().is_none_or(|name| name == user)
                    && row.label.as_deref().is_none_or(|name| Some(name) == label)
                    && row.key_id.as_ref().is_none_or(|id| *id == key)
                    && issued.unwrap_or(expires - 3) <= row.issued_before
                    && now <= row.expires
            };
            let hits: Vec<&Revocation> = rows.iter().filter(matches).collect();
            let expected = (!hits.is_empty()).then(|| hits.iter().any(|row| row.cut));

            let revocations = Revocations::new(rows.clone()).with_plain_life_max(3);
            let found = revocations.hit(&username, &claims, Some(&key), expires, now);

            prop_assert_eq!(found.map(|row| row.cut), expected);
            prop_assert!(found.is_none_or(|found| hits.contains(&found)));
        }
    }
}
