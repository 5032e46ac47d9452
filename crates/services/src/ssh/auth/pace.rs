//! How long a server takes to answer: PAM, and what OpenSSH and Dropbear add to it.

use std::time::Duration;

use aws_lc_rs::digest;

use super::super::profile::{Delay, Profile, in_steps};
use crate::dialogue::random;

/// What answers take on one connection.
pub(super) struct Pace {
    rule: Delay,
    /// Whether some refusals are left out of OpenSSH's rule: those of `none`, and what took over five
    /// seconds anyhow (since 9.5).
    lenient: bool,
    /// `ssh.login_delay`. Zero: nothing takes any time.
    delay: Duration,
    /// Differs between installations.
    secret: u64,
    seed: u64,
    drawn: u64,
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
        Self { rule: profile.delay, lenient: profile.version >= (9, 5), delay, secret, seed, drawn: 0 }
    }

    /// How long `account` waits for a refusal.
    pub(super) fn refusal(&mut self, what: What, account: &[u8]) -> Duration {
        if self.delay.is_zero() {
            return Duration::ZERO;
        }
        match (self.rule, what) {
            // What the conversation ends with is not padded.
            (Delay::Pam, What::Password) | (Delay::Pam | Delay::PamInSteps, What::Answer) => self.pam(),
            (Delay::Pam, _) | (Delay::PerUser, What::Answer) => QUICK,
            (Delay::PamInSteps | Delay::PerUser, What::Nothing) if self.lenient => QUICK,
            (Delay::PamInSteps, What::Password) => match self.pam() {
                spent if self.lenient && spent > LONGEST => spent,
                spent => in_steps(self.user(account), spent),
            },
            (Delay::PamInSteps | Delay::PerUser, _) => in_steps(self.user(account), QUICK),
            (Delay::Random | Delay::Fixed, What::Nothing | What::Key) | (Delay::Fixed, What::Other) => {
                Duration::ZERO
            }
            (Delay::Random | Delay::Fixed, _) => self.rule.of(self.delay, 0, self.draw()),
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
            Delay::PamInSteps | Delay::PerUser => in_steps(self.user(account), HASHING),
            Delay::Pam | Delay::Random | Delay::Fixed => HASHING,
        }
    }

    fn pam(&mut self) -> Duration {
        Delay::Pam.of(self.delay, 0, self.draw())
    }

    /// What makes the times of a user its own: `user_specific_delay` of OpenSSH.
    fn user(&self, account: &[u8]) -> u32 {
        let mut hash = digest::Context::new(&digest::SHA512);
        hash.update(self.secret.to_string().as_bytes());
        hash.update(account);
        hash.finish().as_ref().first_chunk().map_or(0, |it| u32::from_be_bytes(*it))
    }

    fn draw(&mut self) -> [u32; 3] {
        [(); 3].map(|()| {
            self.drawn = self.drawn.saturating_add(1);
            u32::try_from(random(self.seed, self.drawn) >> 32).unwrap_or(0)
        })
    }
}

/// What a refusal takes that asks nobody, measured with OpenSSH 9.2.
const QUICK: Duration = Duration::from_micros(800);
/// What the start of a conversation with PAM takes.
const ASKING: Duration = Duration::from_millis(3);
/// What a password that is right takes: the hash of it.
const HASHING: Duration = Duration::from_millis(25);
/// OpenSSH's `MAX_FAIL_DELAY_SECONDS`.
const LONGEST: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rule: Delay, seed: u64) -> Pace {
        Pace { rule, lenient: false, delay: Duration::from_secs(2), secret: 7, seed, drawn: 0 }
    }

    #[test]
    fn openssh_refuses_a_name_after_times_that_double() {
        let least = pace(Delay::PamInSteps, 1).refusal(What::Key, b"root");
        assert!(least >= Duration::from_millis(5) && least < Duration::from_micros(9300), "{least:?}");
        assert_eq!(least, pace(Delay::PamInSteps, 2).refusal(What::Other, b"root"));
        assert_ne!(least, pace(Delay::PamInSteps, 1).refusal(What::Key, b"admin"));
        let times = (0..500).map(|seed| pace(Delay::PamInSteps, seed).refusal(What::Password, b"root"));
        let mut times: Vec<_> = times.collect();
        times.sort();
        times.dedup();
        assert!((2..=3).contains(&times.len()), "{times:?}");
        assert!(times.windows(2).all(|it| it[1] == it[0] * 2), "{times:?}");
        assert_eq!(times[0].as_nanos() % least.as_nanos(), 0);
    }

    #[test]
    fn what_pam_says_in_a_conversation_is_not_rounded() {
        for seed in 0..200 {
            let mut pace = pace(Delay::PamInSteps, seed);
            let times = [pace.refusal(What::Answer, b"root"), pace.refusal(What::Answer, b"root")];
            assert_ne!(times[0], times[1]);
            assert!(times.iter().all(|it| (1.0..=3.0).contains(&it.as_secs_f64())), "{times:?}");
        }
    }

    #[test]
    fn none_is_refused_at_once_from_9_5_on() {
        let mut pace = pace(Delay::PamInSteps, 1);
        assert!(pace.refusal(What::Nothing, b"root") >= Duration::from_millis(5));
        pace.lenient = true;
        assert_eq!(pace.refusal(What::Nothing, b"root"), QUICK);
        pace.delay = Duration::from_secs(20);
        assert!(pace.refusal(What::Password, b"root") <= Duration::from_secs(30), "not doubled any more");
    }

    #[test]
    fn dropbear_delays_passwords_and_not_keys() {
        for seed in 0..200 {
            let time = pace(Delay::Random, seed).refusal(What::Password, b"root").as_millis();
            assert!((250..=350).contains(&time), "{time}");
        }
        assert!(pace(Delay::Random, 1).refusal(What::Key, b"root").is_zero());
    }

    #[test]
    fn without_a_delay_nothing_waits() {
        for rule in [Delay::Pam, Delay::PamInSteps, Delay::PerUser, Delay::Random, Delay::Fixed] {
            let mut pace = Pace { delay: Duration::ZERO, ..pace(rule, 1) };
            assert!(pace.refusal(What::Password, b"root").is_zero());
            assert!(pace.welcome(b"root").is_zero() && pace.question().is_zero());
        }
    }
}
