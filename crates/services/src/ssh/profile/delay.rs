//! How long a refused password takes, by product.

use std::time::Duration;

/// The rule that a server's delays follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delay {
    /// OpenSSH before 7.8 under PAM: as long as PAM takes.
    Pam,
    /// OpenSSH since 7.8 under PAM: 5 to 9.3 ms, fixed for each user name, doubled until it is longer
    /// than PAM took. Seen from outside, one of two or three values for each user.
    PamInSteps,
    /// OpenSSH since 7.8 without PAM: 5 to 9.3 ms, fixed for each user name.
    PerUser,
    /// Dropbear: 250 to 350 ms.
    Random,
    /// Always the same.
    Fixed,
}

impl Delay {
    /// Until the refusal goes out.
    ///
    /// `usual` is what PAM is asked for (2 s: `pam_unix` and `pam_faildelay`); none, none. `user` is
    /// the same for every attempt on one user name, and a secret to everybody else: 32 bits of a
    /// keyed hash of it. `random` is new for each attempt.
    pub(crate) fn of(self, usual: Duration, user: u32, random: [u32; 3]) -> Duration {
        if usual.is_zero() {
            return Duration::ZERO;
        }
        let usual = usual.min(LONGEST);
        match self {
            Self::Pam => pam(usual, random),
            Self::PamInSteps => in_steps(user, pam(usual, random)),
            Self::PerUser => per_user(user),
            Self::Random => {
                let [random, ..] = random;
                Duration::from_nanos(250_000_000_u64.saturating_add(u64::from(random % 100_000_000)))
            }
            Self::Fixed => usual,
        }
    }
}

/// Longer than any client waits.
const LONGEST: Duration = Duration::from_mins(10);

/// Linux-PAM's `_pam_compute_delay`: half to one and a half times what was asked for, the mean of
/// three random numbers.
fn pam(usual: Duration, random: [u32; 3]) -> Duration {
    let mean = random.iter().map(|&it| f64::from(it) / f64::from(u32::MAX)).sum::<f64>() / 3.0;
    usual.mul_f64(0.5 + mean)
}

/// OpenSSH's `ensure_minimum_time_since`: the time of a user, doubled until it is no shorter than
/// what was spent already.
pub(crate) fn in_steps(user: u32, spent: Duration) -> Duration {
    let mut step = per_user(user);
    while step < spent {
        step = step.saturating_mul(2);
    }
    step
}

/// OpenSSH's `user_specific_delay`: 5 ms and as many picoseconds as the hash says.
fn per_user(user: u32) -> Duration {
    Duration::from_millis(5).saturating_add(Duration::from_nanos(u64::from(user / 1000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Duration = Duration::from_secs(2);

    #[test]
    fn one_user_waits_for_one_of_few_times() {
        // Debian 12's sshd took 2.748 s for each of six refusals of one user: 5.367 ms, doubled nine
        // times.
        let user = 367_000_000;
        let between = |mean: u32| Delay::PamInSteps.of(USUAL, user, [mean; 3]);
        for mean in [0x8000_0000, 0x4000_0000, 0xd000_0000] {
            assert_eq!(between(mean).as_millis(), 2747);
        }
        assert_eq!(between(0).as_millis(), 1373);
        assert_eq!(between(u32::MAX).as_millis(), 5495);
    }

    #[test]
    fn each_rule_stays_within_its_bounds() {
        let shortest = |rule: Delay| rule.of(USUAL, 0, [0; 3]).as_millis();
        let longest = |rule: Delay| rule.of(USUAL, u32::MAX, [u32::MAX; 3]).as_millis();
        assert_eq!((shortest(Delay::Pam), longest(Delay::Pam)), (1000, 3000));
        assert_eq!((shortest(Delay::PerUser), longest(Delay::PerUser)), (5, 9));
        assert_eq!((shortest(Delay::Random), longest(Delay::Fixed)), (250, 2000));
        let [a, b] = [0, 99_999_999].map(|it| Delay::Random.of(USUAL, 0, [it, 0, 0]).as_millis());
        assert_eq!((a, b), (250, 349));
    }

    #[test]
    fn no_delay_asked_for_is_no_delay() {
        for rule in [Delay::Pam, Delay::PamInSteps, Delay::PerUser, Delay::Random, Delay::Fixed] {
            assert_eq!(rule.of(Duration::ZERO, 1, [1; 3]), Duration::ZERO);
        }
    }
}
