//! What every kind of correlation has in common: a small state for each group that answers one
//! question about a window which only ever moves forward.

use std::collections::VecDeque;

use super::key::Token;
use super::snapshot::{Broken, Reader, Writer};
use crate::detection::EVIDENCE;

/// An event, as a group remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) time: i64,
    pub(crate) id: u64,
}

/// What an event brings besides being there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fact {
    /// Nothing, or not what was asked for.
    None,
    /// A value to tell from others.
    Token(Token),
    /// A number.
    Number(f64),
}

impl Fact {
    /// Some order, so that equal ones stand side by side.
    pub(crate) fn rank(self) -> (u8, Token) {
        match self {
            Self::None => (0, Token::default()),
            Self::Token(token) => (1, token),
            Self::Number(number) => {
                let mut token = Token::default();
                if let Some(bits) = token.first_chunk_mut() {
                    *bits = number.to_bits().to_le_bytes();
                }
                (2, token)
            }
        }
    }

    pub(crate) fn save(self, to: &mut Writer) {
        let (kind, token) = self.rank();
        to.byte(kind);
        to.bytes(&token);
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, Broken> {
        let (kind, token) = (from.byte()?, from.array::<16>()?);
        match kind {
            0 => Ok(Self::None),
            1 => Ok(Self::Token(token)),
            2 => {
                let bits = token.first_chunk().copied().unwrap_or_default();
                Ok(Self::Number(f64::from_bits(u64::from_le_bytes(bits))))
            }
            _ => Err(Broken),
        }
    }
}

/// An event's part in one group of one correlation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Note {
    /// Which of the correlation's rules it matched.
    pub(crate) member: u32,
    pub(crate) fact: Fact,
    pub(crate) at: Mark,
}

/// The answer about a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) holds: bool,
    pub(crate) figure: Option<f64>,
}

/// One correlation's question.
pub(crate) trait Kind: Send {
    /// What a group remembers for it.
    type State: Send;

    /// The state of a group without events.
    fn start(&self) -> Self::State;

    /// Adds an event. `from` is where the window begins that ends at the group's newest event; the
    /// event lies in it, and may be older than others.
    fn note(&self, state: &mut Self::State, note: Note, from: i64);

    /// Forgets what is older than `from`: no window will reach that far back again.
    fn forget(&self, state: &mut Self::State, from: i64);

    /// About the window from `from` to the newest event.
    fn verdict(&self, state: &Self::State, from: i64) -> Verdict;

    /// The events that made the verdict, in any order.
    fn evidence(&self, state: &Self::State, from: i64, out: &mut Vec<Mark>);

    /// Whether the window from `from` held more than is kept.
    fn is_saturated(&self, _state: &Self::State, _from: i64) -> bool {
        false
    }

    /// What the state holds on the heap, in bytes, about.
    fn heap(&self, state: &Self::State) -> usize;

    /// The beginning of the oldest window that waits for its end.
    fn waiting(&self, _state: &Self::State) -> Option<i64> {
        None
    }

    /// Decides about the window from `from`, which has passed, and no longer waits for it.
    fn decide(&self, _state: &mut Self::State, _from: i64, _out: &mut Vec<Mark>) -> bool {
        false
    }

    /// Writes the state down.
    fn save(&self, state: &Self::State, to: &mut Writer);

    /// Reads it back.
    fn load(&self, from: &mut Reader<'_>) -> Result<Self::State, Broken>;
}

/// Adds something in its place by time, behind its equals.
pub(crate) fn insert_by_time<T>(line: &mut VecDeque<T>, new: T, time: impl Fn(&T) -> i64) {
    let newer = line.iter().rev().take_while(|it| time(it) > time(&new)).count();
    if newer == 0 {
        if line.len() == line.capacity() {
            // Most groups see one event; those that see many double.
            line.reserve_exact(line.len().max(1));
        }
        line.push_back(new);
    } else {
        line.insert(line.len().saturating_sub(newer), new);
    }
}

/// The identities of the newest of these events, oldest first, each once.
pub(crate) fn identities(marks: &mut Vec<Mark>) -> Vec<u64> {
    marks.sort_by_key(|it| it.time);
    marks.dedup_by_key(|it| it.id);
    let surplus = marks.len().saturating_sub(EVIDENCE);
    marks.drain(..).skip(surplus).map(|it| it.id).collect()
}

impl Mark {
    pub(crate) fn save(self, to: &mut Writer) {
        to.signed(self.time);
        to.unsigned(self.id);
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, Broken> {
        Ok(Self { time: from.signed()?, id: from.unsigned()? })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Feeds one group in the order given and says what the verdicts were.
    pub(crate) fn verdicts<K: Kind>(kind: &K, span: i64, notes: &[(i64, u32, Fact)]) -> Vec<Verdict> {
        let mut state = kind.start();
        let mut newest = i64::MIN / 2;
        let mut verdicts = Vec::new();
        for (id, &(time, member, fact)) in (0..).zip(notes) {
            newest = newest.max(time);
            kind.note(&mut state, Note { member, fact, at: Mark { time, id } }, newest - span);
            kind.forget(&mut state, newest - span);
            verdicts.push(kind.verdict(&state, newest - span));
            let mut to = Writer::default();
            kind.save(&state, &mut to);
            let bytes = to.into_bytes();
            let mut from = Reader::new(&bytes);
            state = kind.load(&mut from).expect("what was written can be read");
            assert!(from.is_at_end());
            for cut in 0..bytes.len() {
                // Whatever becomes of it, it must not panic.
                let _ = kind.load(&mut Reader::new(&bytes[..cut]));
            }
        }
        verdicts
    }

    #[test]
    fn evidence_is_the_newest_in_order() {
        let mut marks: Vec<_> = (0..100).rev().map(|it| Mark { time: it, id: it.unsigned_abs() }).collect();
        marks.push(Mark { time: 99, id: 99 });
        assert_eq!(identities(&mut marks), (36..100).collect::<Vec<_>>());
    }
}
