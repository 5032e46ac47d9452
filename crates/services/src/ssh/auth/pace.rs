//! How long a server takes to answer: PAM, and what OpenSSH and Dropbear add to it.

use std::time::Duration;

use aws_lc_rs::digest;

use super::super::profile::{Product, Profile};
use crate::dialogue::random;

/// What answers take on one connection.
pub(super) struct Pace {
    rule: Rule,
    /// Whether some refusals are left out of OpenSSH's rule: those of `none`, and what took over five
    /// seconds anyhow (since 9.5).
    lenient: bool,
    /// Whether PAM is asked about passwords.
    pam: bool,
    /// `ssh.login_delay`. Zero: nothing takes any time.
    delay: Duration,
    /// Differs between installations.
    secret: u64,
    seed: u64,
    drawn: u64,
}

/// The rule that a server's delays follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// OpenSSH before 7.8: as long as it takes.
    Plain,
    /// OpenSSH since 7.8: in steps of the user's own (`ensure_minimum_time_since` in `auth2.c`). Seen
    /// from outside, a user name is refused after one of two or three times.
    Steps,
    /// Dropbear: 250 to 350 ms, which `login_delay` stretches.
    Random,
    /// Cisco IOS: two thirds of what PAM takes, as in `telnet`.
    Router,
}

/// What was refused, as far as time goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A password that was looked up.
    Password,
    /// The answer to a question.
    Answer,
    /// `none`.
    Nothing,
    /// A key that nobody is let in with.
    Key,
    /// What can be refused without looking anything up.
    Other,
}

impl Pace {
    /// Of a server like `profile`. The same `secret` gives a user the same delays on every
    /// connection.
    pub(super) fn new(profile: &Profile, delay: Duration, secret: u64, seed: u64) -> Self {
        let rule = match profile.product {
            Product::OpenSsh if profile.version < (7, 8) => Rule::Plain,
            Product::OpenSsh => Rule::Steps,
            Product::Dropbear => Rule::Random,
            Product::Cisco => Rule::Router,
        };
        let lenient = profile.version >= (9, 5);
        Self { rule, pam: profile.pam, lenient, delay, secret, seed, drawn: 0 }
    }

    /// How long `account` waits for a refusal.
    pub(super) fn refusal(&mut self, what: What, account: &[u8]) -> Duration {
        if self.delay.is_zero() {
            return Duration::ZERO;
        }
        let asks = matches!(what, What::Password | What::Answer);
        match self.rule {
            Rule::Random if matches!(what, What::Nothing | What::Key) => Duration::ZERO,
            Rule::Random => self.delay.mul_f64(0.125 + 0.05 * self.fraction()),
            Rule::Router if asks => self.delay_of_pam().mul_f64(2.0 / 3.0),
            Rule::Router => Duration::ZERO,
            Rule::Plain | Rule::Steps => {
                let spent = if asks && self.pam { self.delay_of_pam() } else { QUICK };
                // What a conversation ends with is not padded.
                let as_it_is = self.rule == Rule::Plain
                    || what == What::Answer
                    || self.lenient && (what == What::Nothing || spent > LONGEST);
                if as_it_is { spent } else { self.in_steps(account, spent) }
            }
        }
    }

    /// How long it takes to ask for a password.
    pub(super) fn question(&self) -> Duration {
        if self.delay.is_zero() { Duration::ZERO } else { ASKING }
    }

    /// How long it takes to let `account` in.
    pub(super) fn welcome(&self, account: &[u8]) -> Duration {
        match self.rule {
            _ if self.delay.is_zero() => Duration::ZERO,
            Rule::Steps => self.in_steps(account, HASHING),
            Rule::Plain | Rule::Random | Rule::Router => HASHING,
        }
    }

    /// Linux-PAM's `_pam_compute_delay`: half to one and a half times what it is asked for, the mean of
    /// three random numbers. `pam_unix` and `pam_faildelay` ask for two seconds.
    fn delay_of_pam(&mut self) -> Duration {
        let sum = self.fraction() + self.fraction() + self.fraction();
        self.delay.mul_f64(0.5 + sum / 3.0)
    }

    /// 5 ms and up to 4.3 more, which depend on the user, doubled until that is no shorter than what
    /// was spent already.
    fn in_steps(&self, account: &[u8], spent: Duration) -> Duration {
        let mut hash = digest::Context::new(&digest::SHA512);
        hash.update(self.secret.to_string().as_bytes());
        hash.update(account);
        let picoseconds = hash.finish().as_ref().first_chunk().map_or(0, |it| u32::from_be_bytes(*it));
        let mut step = LEAST.saturating_add(Duration::from_nanos((picoseconds / 1000).into()));
        while step < spent {
            step = step.saturating_mul(2);
        }
        step
    }

    /// Between 0 and 1.
    fn fraction(&mut self) -> f64 {
        self.drawn = self.drawn.saturating_add(1);
        let top = random(self.seed, self.drawn) >> 32;
        f64::from(u32::try_from(top).unwrap_or(0)) / f64::from(u32::MAX)
    }
}

/// What a refusal takes that asks nobody, measured with OpenSSH 9.2.
const QUICK: Duration = Duration::from_micros(800);
/// What the start of a conversation with PAM takes.
const ASKING: Duration = Duration::from_millis(3);
/// What a password that is right takes: the hash of it.
const HASHING: Duration = Duration::from_millis(25);
/// OpenSSH's `MIN_FAIL_DELAY_SECONDS`.
const LEAST: Duration = Duration::from_millis(5);
/// OpenSSH's `MAX_FAIL_DELAY_SECONDS`.
const LONGEST: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rule: Rule, seed: u64) -> Pace {
        Pace { rule, pam: true, lenient: false, delay: Duration::from_secs(2), secret: 7, seed, drawn: 0 }
    }

    #[test]
    fn openssh_refuses_a_name_after_times_that_double() {
        let least = pace(Rule::Steps, 1).refusal(What::Key, b"root");
        assert!(least >= Duration::from_millis(5) && least < Duration::from_micros(9300), "{least:?}");
        assert_eq!(least, pace(Rule::Steps, 2).refusal(What::Other, b"root"));
        assert_ne!(least, pace(Rule::Steps, 1).refusal(What::Key, b"admin"));
        let times = (0..500).map(|seed| pace(Rule::Steps, seed).refusal(What::Password, b"root"));
        let mut times: Vec<_> = times.collect();
        times.sort();
        times.dedup();
        assert!((2..=3).contains(&times.len()), "{times:?}");
        assert!(times.windows(2).all(|it| it[1] == it[0] * 2), "{times:?}");
        assert_eq!(times[0].as_nanos() % least.as_nanos(), 0);
    }

    #[test]
    fn a_step_is_doubled_until_it_is_long_enough() {
        let pace = pace(Rule::Steps, 1);
        let step = pace.in_steps(b"root", QUICK);
        assert_eq!(pace.in_steps(b"root", step), step);
        assert_eq!(pace.in_steps(b"root", step + QUICK), step * 2);
        assert_eq!(pace.in_steps(b"root", step * 200), step * 256);
    }

    #[test]
    fn without_pam_a_password_takes_no_longer_than_a_key() {
        let mut pace = Pace { pam: false, ..pace(Rule::Steps, 1) };
        assert_eq!(pace.refusal(What::Password, b"root"), pace.refusal(What::Key, b"root"));
    }

    #[test]
    fn what_pam_says_in_a_conversation_is_not_rounded() {
        for seed in 0..200 {
            let mut pace = pace(Rule::Steps, seed);
            let times = [pace.refusal(What::Answer, b"root"), pace.refusal(What::Answer, b"root")];
            assert_ne!(times[0], times[1]);
            assert!(times.iter().all(|it| (1.0..=3.0).contains(&it.as_secs_f64())), "{times:?}");
        }
    }

    #[test]
    fn none_is_refused_at_once_from_9_5_on() {
        let mut pace = pace(Rule::Steps, 1);
        assert!(pace.refusal(What::Nothing, b"root") >= Duration::from_millis(5));
        pace.lenient = true;
        assert_eq!(pace.refusal(What::Nothing, b"root"), QUICK);
        pace.delay = Duration::from_secs(20);
        assert!(pace.refusal(What::Password, b"root") <= Duration::from_secs(30), "not doubled any more");
    }

    #[test]
    fn dropbear_delays_passwords_and_not_keys() {
        for seed in 0..200 {
            let time = pace(Rule::Random, seed).refusal(What::Password, b"root").as_millis();
            assert!((250..=350).contains(&time), "{time}");
        }
        assert!(pace(Rule::Random, 1).refusal(What::Key, b"root").is_zero());
    }

    #[test]
    fn without_a_delay_nothing_waits() {
        for rule in [Rule::Plain, Rule::Steps, Rule::Random, Rule::Router] {
            let mut pace = Pace { delay: Duration::ZERO, ..pace(rule, 1) };
            assert!(pace.refusal(What::Password, b"root").is_zero());
            assert!(pace.welcome(b"root").is_zero() && pace.question().is_zero());
        }
    }
}
