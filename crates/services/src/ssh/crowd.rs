//! Who has not logged in yet, and who is turned away when they are many (`MaxStartups` in
//! `sshd_config`).

use super::places::{Place, Places};

/// The connections of one listener that have not logged in.
#[derive(Debug, Default)]
pub(super) struct Crowd(Places);

impl Crowd {
    /// One more, or none where it is turned away. `chance` is any number.
    pub(super) fn join(&self, chance: u64) -> Option<Place> {
        self.0.take(|before| !turns_away(before, chance))
    }
}

/// OpenSSH's `should_drop_connection`: nobody below 10, everybody from 100 on, between them 30 % and
/// proportionally more.
fn turns_away(waiting: usize, chance: u64) -> bool {
    const BEGIN: usize = 10;
    const RATE: usize = 30;
    const FULL: usize = 100;
    if !(BEGIN..FULL).contains(&waiting) {
        return waiting >= FULL;
    }
    let beyond = waiting.saturating_sub(BEGIN).saturating_mul(100_usize.saturating_sub(RATE));
    let percent = RATE.saturating_add(beyond.checked_div(FULL.saturating_sub(BEGIN)).unwrap_or(0));
    chance % 100 < u64::try_from(percent).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_are_heard_out_and_a_hundred_are_the_most() {
        let crowd = Crowd::default();
        let mut all: Vec<_> = (0..10).map(|_| crowd.join(0).unwrap()).collect();
        assert!(crowd.join(29).is_none() && crowd.join(30).is_some(), "30 % of the next");
        all.extend((0..90).map(|_| crowd.join(99).unwrap()));
        assert!(crowd.join(99).is_none());
        drop(all);
        assert!(crowd.join(0).is_some());
    }

    #[test]
    fn the_more_there_are_the_more_are_turned_away() {
        let share = |waiting| (0..100).filter(|&it| turns_away(waiting, it)).count();
        assert_eq!([9, 10, 55, 99, 100].map(share), [0, 30, 65, 99, 100]);
    }
}
