//! Bytes between nodes that are lost, doubled, out of order, changed or made up. What is changed or made up never gets
//! this far, since nodes seal what they say; should it, nothing may break.

use std::time::Duration;

use proptest::{collection::vec, prelude::*, sample::Index};

use super::{
    cases,
    script::{Step, play, step},
    world::World,
};

/// What becomes of bytes under way.
#[derive(Clone, Debug)]
enum Fate {
    Arrives,
    IsLost,
    IsDoubled,
    IsLate,
    IsChanged(Vec<(Index, u8)>),
    IsCut(Index),
    IsMadeUp(Vec<u8>),
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn whatever_becomes_of_bytes_between_nodes_nothing_breaks(
        script in vec((step(), vec(fate(true), 0..4)), 1..80),
    ) {
        let mut world = World::new(2);
        run(&mut world, &script);
    }

    #[test]
    fn lost_doubled_and_late_bytes_are_made_good(script in vec((step(), vec(fate(false), 0..4)), 1..80)) {
        let mut world = World::new(2);
        run(&mut world, &script);
        // Everything is sent again until it has arrived: then nothing is left to say.
        for _ in 0..40 {
            world.pass(Duration::from_millis(600));
            world.settle();
        }
    }

    #[test]
    fn any_bytes_are_refused(bytes in vec(vec(any::<u8>(), 0..300), 1..20)) {
        let mut world = World::new(2);
        for bytes in bytes {
            world.deliver(0, 1, &bytes);
            world.settle();
        }
    }
}

fn run(world: &mut World, script: &[(Step, Vec<Fate>)]) {
    for (step, fates) in script {
        play(world, std::slice::from_ref(step));
        for fate in fates {
            if !world.under_way.is_empty() {
                let (from, to, bytes) = world.under_way.remove(0);
                meet(world, from, to, &bytes, fate);
            }
        }
    }
}

fn meet(world: &mut World, from: usize, to: usize, bytes: &bytes::Bytes, fate: &Fate) {
    let mut changed = bytes.to_vec();
    match fate {
        Fate::Arrives => world.deliver(from, to, bytes),
        Fate::IsLost => {}
        Fate::IsDoubled => {
            world.deliver(from, to, bytes);
            world.deliver(from, to, bytes);
        }
        Fate::IsLate => world.under_way.push((from, to, bytes.clone())),
        Fate::IsChanged(changes) => {
            for (at, value) in changes {
                if !changed.is_empty() {
                    let at = at.index(changed.len());
                    changed[at] ^= value;
                }
            }
            world.deliver(from, to, &changed);
        }
        Fate::IsCut(at) => {
            changed.truncate(at.index(changed.len() + 1));
            world.deliver(from, to, &changed);
        }
        Fate::IsMadeUp(bytes) => world.deliver(from, to, bytes),
    }
}

fn fate(may_change: bool) -> impl Strategy<Value = Fate> {
    let honest = prop_oneof![
        6 => Just(Fate::Arrives), 1 => Just(Fate::IsLost), 1 => Just(Fate::IsDoubled), 1 => Just(Fate::IsLate),
    ];
    let weight = u32::from(may_change);
    prop_oneof![
        9 => honest,
        3 * weight => vec((any::<Index>(), 1..=255_u8), 1..4).prop_map(Fate::IsChanged),
        weight => any::<Index>().prop_map(Fate::IsCut),
        weight => vec(any::<u8>(), 0..200).prop_map(Fate::IsMadeUp),
    ]
}
