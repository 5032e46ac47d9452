//! Which messages a channel sends now, of what waits: pure, so that it can be tested by its results.

use std::time::Duration;

use serin_event::Severity;

/// One thing that waits to be told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting<'a> {
    /// Things with the same name become one message.
    pub(super) incident: &'a str,
    pub(super) severity: Severity,
    pub(super) test: bool,
    /// It ends what the receiver keeps open for this incident: never told together with another.
    pub(super) resolves: bool,
    /// Too old to be told as if it were news, or held back for the night.
    pub(super) late: bool,
    /// Until it may go, although it has not gathered company for long enough.
    pub(super) gathers: Duration,
}

/// The moment at which it is planned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// How long nobody is to be disturbed at least, when that is now.
    pub(super) quiet: Option<Duration>,
    /// What is told all the same.
    pub(super) quiet_severity: Severity,
    pub(super) company: Company,
    /// How many messages may go.
    pub(super) room: usize,
    /// Until one may go.
    pub(super) room_in: Duration,
    /// So many incidents one message may tell of.
    pub(super) most: usize,
    pub(super) urgency: Urgency,
}

/// What goes together although there is room for several messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    /// Nothing.
    Nothing,
    /// What is late, and tests.
    Usual,
    /// Everything.
    Everything,
}

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    Usual,
    /// The last chance for now: nothing gathers, and one message may go beyond the rate.
    Hurry,
    /// Nothing more can be read before something goes: neither nights nor gathering count.
    Full,
}

/// One message: the places of what it tells, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Message {
    pub(super) places: Vec<usize>,
    /// Whether it counts for the rate.
    pub(super) counts: bool,
    /// Whether it ends something, and so goes only after all that came before of the same incident.
    pub(super) ends: bool,
    /// Whether others go beside it.
    pub(super) more: bool,
}

/// What goes, and for how long the rest waits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Plan {
    pub(super) messages: Vec<Message>,
    /// For each thing that no message tells, by place.
    pub(super) waits: Vec<(usize, Duration)>,
}

/// What is told together in any case: one incident.
#[derive(Debug, Clone)]
struct Group {
    places: Vec<usize>,
    severity: Severity,
    /// Whether all of it is late.
    late: bool,
}

impl Plan {
    pub(super) fn of(waiting: &[Waiting<'_>], moment: &Moment) -> Self {
        let mut plan = Self::default();
        let (tests, resolving, others) = sorted(waiting);
        if moment.company == Company::Nothing {
            plan.each(tests, moment, false);
        } else {
            plan.message(tests, moment, false, false);
        }
        let ready = plan.hold(others, waiting, moment);
        plan.spread(ready, moment);
        // After what they end.
        for place in resolving {
            plan.messages.push(Message { places: vec![place], ends: true, ..Message::default() });
        }
        plan
    }

    /// Keeps back what is for later, and returns what may go.
    fn hold(&mut self, groups: Vec<Group>, waiting: &[Waiting<'_>], moment: &Moment) -> Vec<Group> {
        let gathers = |group: &Group| {
            let times = group.places.iter().filter_map(|it| waiting.get(*it)).map(|it| it.gathers);
            times.min().unwrap_or_default()
        };
        let (mut ready, mut gathering) = (Vec::new(), Vec::new());
        for group in groups {
            match moment.quiet {
                Some(time) if group.severity < moment.quiet_severity && moment.urgency != Urgency::Full => {
                    self.wait(&[group], time);
                }
                _ if gathers(&group).is_zero() || moment.urgency != Urgency::Usual => ready.push(group),
                _ => gathering.push(group),
            }
        }
        // The first of them whose time is up takes the others along.
        if ready.is_empty() {
            let time = gathering.iter().map(&gathers).min().unwrap_or_default();
            self.wait(&gathering, time);
        } else {
            ready.append(&mut gathering);
        }
        ready.sort_by_key(|it| it.places.first().copied());
        ready
    }

    /// One message for each incident as far as there is room, and one for the rest.
    fn spread(&mut self, ready: Vec<Group>, moment: &Moment) {
        if ready.is_empty() {
            return;
        }
        let room = if moment.urgency == Urgency::Hurry { moment.room.max(1) } else { moment.room };
        if room == 0 {
            self.wait(&ready, moment.room_in);
            return;
        }
        if room == 1 || moment.company == Company::Everything {
            self.message(ready, moment, true, false);
            return;
        }
        let alone = moment.company == Company::Nothing;
        let (late, mut news): (Vec<_>, Vec<_>) = ready.into_iter().partition(|it| it.late && !alone);
        let room = room - usize::from(!late.is_empty());
        self.message(late, moment, true, false);
        if news.len() <= room {
            self.each(news, moment, true);
            return;
        }
        // The most severe ones alone, and of these the oldest.
        news.sort_by_key(|it| (std::cmp::Reverse(it.severity), it.places.first().copied()));
        let mut rest = news.split_off(room - 1);
        for groups in [&mut news, &mut rest] {
            groups.sort_by_key(|it| it.places.first().copied());
        }
        let more = !news.is_empty();
        self.each(news, moment, true);
        self.message(rest, moment, true, more);
    }

    fn message(&mut self, mut groups: Vec<Group>, moment: &Moment, counts: bool, more: bool) {
        let rest = groups.split_off(groups.len().min(moment.most.max(1)));
        self.wait(&rest, Duration::ZERO);
        let mut places: Vec<_> = groups.into_iter().flat_map(|it| it.places).collect();
        places.sort_unstable();
        if !places.is_empty() {
            self.messages.push(Message { places, counts, ends: false, more });
        }
    }

    fn each(&mut self, groups: Vec<Group>, moment: &Moment, counts: bool) {
        for group in groups {
            self.message(vec![group], moment, counts, false);
        }
    }

    fn wait(&mut self, groups: &[Group], time: Duration) {
        self.waits.extend(groups.iter().flat_map(|it| &it.places).map(|it| (*it, time)));
    }
}

/// Tests, what ends something, and everything else, gathered by incident and in order of its first.
fn sorted(waiting: &[Waiting<'_>]) -> (Vec<Group>, Vec<usize>, Vec<Group>) {
    let mut at: std::collections::HashMap<(bool, &str), usize> = std::collections::HashMap::new();
    let (mut groups, mut tests, mut resolving): (Vec<Group>, Vec<bool>, Vec<usize>) = Default::default();
    for (place, it) in waiting.iter().enumerate() {
        if it.resolves {
            resolving.push(place);
            continue;
        }
        // A test that is late is told with everything else that is late.
        let test = it.test && !it.late;
        let index = *at.entry((test, it.incident)).or_insert_with(|| {
            groups.push(Group { places: Vec::new(), severity: it.severity, late: true });
            tests.push(test);
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(index) {
            group.places.push(place);
            group.severity = group.severity.max(it.severity);
            group.late &= it.late;
        }
    }
    let (tests, others): (Vec<_>, Vec<_>) = groups.into_iter().zip(tests).partition(|it| it.1);
    let groups = |it: Vec<(Group, bool)>| it.into_iter().map(|it| it.0).collect();
    (groups(tests), resolving, groups(others))
}
