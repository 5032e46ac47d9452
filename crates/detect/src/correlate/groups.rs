//! The groups of one correlation, bounded in number and in bytes.
//!
//! They stand in two lists, those that were hit once and those that were hit again, each in the order
//! of the last hit, or nearly: one that was hit lately keeps its place, for moving it costs more than
//! all the rest. Events come in the order of time, so that is also the order in which groups can be
//! forgotten. When there is no room, those that were hit once go first: a flood of new sources does
//! not push out the ones that are on the way to something.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::key::Key;

/// No group.
const NONE: u32 = u32::MAX;
/// The most groups that slots can be numbered for.
const GROUPS_MAX: usize = 1 << 30;
/// No time at all: before every window.
pub(crate) const NEVER: i64 = i64::MIN;
/// What a group costs in the index, about.
const INDEX_COST: usize = 8;
/// What the allocator adds to each piece of memory, about.
const HEAP_COST: usize = 16;

/// What a piece of memory with room for so many things costs, in bytes, about.
pub(crate) fn heap<T>(count: usize) -> usize {
    count.saturating_mul(size_of::<T>()).saturating_add(HEAP_COST)
}

/// The same of one that grows and shrinks. It depends on nothing but the count, so that what is evicted
/// does not depend on whether the state was saved and restored.
pub(crate) fn growing<T>(count: usize) -> usize {
    heap::<T>(count.checked_next_power_of_two().unwrap_or(count))
}

/// Whether something of this capacity should give memory back.
pub(crate) fn is_roomy(count: usize, capacity: usize) -> bool {
    capacity > 16 && capacity / 4 > count
}

/// A group and what is known about it.
#[derive(Debug)]
pub(crate) struct Group<S> {
    pub(crate) key: Key,
    /// The time of its newest event.
    pub(crate) newest: i64,
    /// The time of the newest of its events that came late.
    pub(crate) late: i64,
    /// The same of those that claimed to be from the future.
    pub(crate) ahead: i64,
    pub(crate) state: S,
    /// When it took its place in the list.
    pub(crate) listed: i64,
    /// What `state` holds on the heap, when it was last asked.
    heap: u32,
    /// Whether it was hit more than once.
    pub(crate) again: bool,
    older: u32,
    newer: u32,
}

/// One list: from the group that was hit the longest time ago to the one that was hit last.
#[derive(Debug, Clone, Copy)]
struct List {
    oldest: u32,
    newest: u32,
    length: usize,
}

const EMPTY: List = List { oldest: NONE, newest: NONE, length: 0 };

/// What the groups of one correlation may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) groups: usize,
    pub(crate) bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Groups<S> {
    quota: Quota,
    slots: Vec<Option<Group<S>>>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: RandomState,
    once: List,
    again: List,
    bytes: usize,
}

impl<S> Groups<S> {
    pub(crate) fn new(quota: Quota) -> Self {
        Self {
            quota: Quota { groups: quota.groups.clamp(1, GROUPS_MAX), bytes: quota.bytes },
            slots: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::new(),
            once: EMPTY,
            again: EMPTY,
            bytes: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// What all groups take, in bytes, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The group in this slot.
    pub(crate) fn get(&self, slot: u32) -> Option<&Group<S>> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// The same.
    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Group<S>> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// Where the group with this key is.
    pub(crate) fn find(&self, key: &Key) -> Option<u32> {
        let slots = &self.slots;
        self.index.find(self.hasher.hash_one(&**key), |&it| has_key(slots, it, key)).copied()
    }

    /// Where the group with this key is; a new one, not hit yet, when there was none. Room is made by
    /// [`Groups::make_room`] alone.
    pub(crate) fn find_or_insert(&mut self, key: &Key, start: impl FnOnce() -> S) -> u32 {
        let Self { slots, hasher, index, .. } = self;
        let hash = hasher.hash_one(&**key);
        let rehash = |&it: &u32| {
            let group = slots.get(it as usize).and_then(Option::as_ref);
            group.map_or(0, |it| hasher.hash_one(&*it.key))
        };
        let free = self.free.last().copied();
        let slot = free.unwrap_or_else(|| u32::try_from(slots.len()).unwrap_or(NONE));
        match index.entry(hash, |&it| has_key(slots, it, key), rehash) {
            Entry::Occupied(found) => return *found.get(),
            Entry::Vacant(vacant) => vacant.insert(slot),
        };
        let group = Group {
            key: key.clone(),
            newest: NEVER,
            late: NEVER,
            ahead: NEVER,
            state: start(),
            listed: NEVER,
            heap: 0,
            again: false,
            older: NONE,
            newer: NONE,
        };
        self.bytes = self.bytes.saturating_add(Self::fixed_cost(&group));
        if free.is_some() {
            self.free.pop();
            if let Some(place) = self.slots.get_mut(slot as usize) {
                *place = Some(group);
            }
        } else {
            if self.slots.len() == self.slots.capacity() {
                // Doubling would cost up to as much again as is in use.
                self.slots.reserve_exact((self.slots.len() / 4).max(16));
            }
            self.slots.push(Some(group));
        }
        self.append(slot);
        slot
    }

    /// A hit: the group becomes the last to go, unless that is less than `grain` ago. `heap` is what
    /// its state now holds on the heap.
    pub(crate) fn touch(&mut self, slot: u32, again: bool, grain: i64, heap: usize) {
        self.weigh(slot, heap);
        let Some(group) = self.get(slot) else { return };
        if group.again == again && group.newest.saturating_sub(group.listed) < grain {
            return;
        }
        self.list(slot, again, group.newest);
    }

    /// Puts a group at the end of a list, as of a time.
    pub(crate) fn list(&mut self, slot: u32, again: bool, listed: i64) {
        self.unlink(slot);
        if let Some(group) = self.get_mut(slot) {
            (group.again, group.listed) = (again, listed);
        }
        self.append(slot);
    }

    /// Notes what a group's state holds on the heap.
    pub(crate) fn weigh(&mut self, slot: u32, heap: usize) {
        let heap = u32::try_from(heap).unwrap_or(u32::MAX);
        if let Some(group) = self.get_mut(slot) {
            let before = std::mem::replace(&mut group.heap, heap);
            self.bytes = self.bytes.saturating_add(heap as usize).saturating_sub(before as usize);
        }
    }

    /// Forgets groups whose newest event is older than `from`. Each is looked at once.
    pub(crate) fn expire(&mut self, from: i64, mut gone: impl FnMut(Group<S>)) {
        for again in [false, true] {
            loop {
                let oldest = self.line(again).oldest;
                if self.get(oldest).is_none_or(|it| it.newest >= from) {
                    break;
                }
                self.remove(oldest).map(&mut gone);
            }
        }
    }

    /// Forgets groups until one more fits, or until nothing is over the quota when `for_one` is false;
    /// never the one in `spare`.
    pub(crate) fn make_room(&mut self, for_one: bool, spare: Option<u32>, mut gone: impl FnMut(Group<S>)) {
        let most = self.quota.groups.saturating_sub(usize::from(for_one));
        while self.len() > most || self.bytes > self.quota.bytes {
            // A fifth of the room is for new ones, lest nobody new could ever be hit twice.
            let again = self.once.length <= most / 5 && self.again.length > 0;
            let mut victim = self.line(again).oldest;
            if Some(victim) == spare {
                let next = self.get(victim).map_or(NONE, |it| it.newer);
                victim = if next == NONE { self.line(!again).oldest } else { next };
            }
            match self.remove(victim) {
                Some(group) => gone(group),
                None => break,
            }
        }
    }

    /// Takes a group out.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<Group<S>> {
        self.unlink(slot);
        let group = self.slots.get_mut(slot as usize)?.take()?;
        if let Ok(entry) = self.index.find_entry(self.hasher.hash_one(&*group.key), |&it| it == slot) {
            entry.remove();
        }
        self.free.push(slot);
        self.bytes = self.bytes.saturating_sub(Self::fixed_cost(&group)).saturating_sub(group.heap as usize);
        Some(group)
    }

    /// All groups: those that were hit once first, each list from its oldest.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Group<S>> {
        let mut at = self.once.oldest;
        let mut again = false;
        std::iter::from_fn(move || {
            if at == NONE && !again {
                (again, at) = (true, self.again.oldest);
            }
            let group = self.get(at)?;
            at = group.newer;
            Some(group)
        })
    }

    fn fixed_cost(group: &Group<S>) -> usize {
        [size_of::<Option<Group<S>>>(), INDEX_COST, group.key.heap()].iter().sum()
    }

    fn append(&mut self, slot: u32) {
        let Some(again) = self.get(slot).map(|it| it.again) else { return };
        let list = self.line_mut(again);
        let before = std::mem::replace(&mut list.newest, slot);
        list.length = list.length.saturating_add(1);
        match self.get_mut(before) {
            Some(before) => before.newer = slot,
            None => self.line_mut(again).oldest = slot,
        }
        if let Some(group) = self.get_mut(slot) {
            (group.older, group.newer) = (before, NONE);
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Some(group) = self.get(slot) else { return };
        let (again, older, newer) = (group.again, group.older, group.newer);
        match self.get_mut(older) {
            Some(it) => it.newer = newer,
            None => self.line_mut(again).oldest = newer,
        }
        match self.get_mut(newer) {
            Some(it) => it.older = older,
            None => self.line_mut(again).newest = older,
        }
        let list = self.line_mut(again);
        list.length = list.length.saturating_sub(1);
    }

    /// Those that were hit again, or those that were hit once.
    fn line(&self, again: bool) -> &List {
        if again { &self.again } else { &self.once }
    }

    fn line_mut(&mut self, again: bool) -> &mut List {
        if again { &mut self.again } else { &mut self.once }
    }
}

fn has_key<S>(slots: &[Option<Group<S>>], slot: u32, key: &Key) -> bool {
    slots.get(slot as usize).and_then(Option::as_ref).is_some_and(|it| it.key == *key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(most: usize) -> Groups<()> {
        Groups::new(Quota { groups: most, bytes: 1 << 20 })
    }

    /// Hits a group as a correlation does, and says who had to go.
    fn hit(groups: &mut Groups<()>, name: &str, time: i64) -> Vec<String> {
        let mut gone = Vec::new();
        let key = Key::from(name.as_bytes());
        let known = groups.find(&key);
        if known.is_none() {
            groups.make_room(true, None, |it| gone.push(String::from_utf8(it.key.to_vec()).unwrap()));
        }
        let slot = groups.find_or_insert(&key, || ());
        groups.get_mut(slot).unwrap().newest = time;
        groups.touch(slot, known.is_some(), 1, 0);
        gone
    }

    fn names(groups: &Groups<()>) -> Vec<String> {
        groups.iter().map(|it| String::from_utf8(it.key.to_vec()).unwrap()).collect()
    }

    #[test]
    fn those_that_were_hit_once_go_first() {
        let mut groups = groups(5);
        for (time, name) in (1..).zip(["a", "a", "b", "b", "c", "d", "e"]) {
            assert!(hit(&mut groups, name, time).is_empty());
        }
        assert_eq!(hit(&mut groups, "f", 8), ["c"]);
        assert_eq!(names(&groups), ["d", "e", "f", "a", "b"]);
    }

    #[test]
    fn a_newcomer_finds_room_among_regulars() {
        let mut groups = groups(5);
        for (time, name) in (1..).zip(["a", "b", "c", "d", "e", "a", "b", "c", "d", "e"]) {
            hit(&mut groups, name, time);
        }
        assert_eq!(hit(&mut groups, "f", 11), ["a"]);
        assert_eq!(hit(&mut groups, "f", 12), [""; 0], "the newcomer is a regular now");
        assert_eq!(hit(&mut groups, "g", 13), ["b"]);
    }

    #[test]
    fn the_old_expire_without_a_look_at_the_rest() {
        let mut groups = groups(9);
        for (time, name) in (1..).zip(["a", "b", "c", "a", "d"]) {
            hit(&mut groups, name, time);
        }
        let mut gone = Vec::new();
        groups.expire(4, |it| gone.push(it.key.to_vec()));
        assert_eq!(gone, [b"b", b"c"]);
        assert_eq!(names(&groups), ["d", "a"]);
        groups.expire(100, |_| {});
        assert_eq!((groups.len(), groups.bytes()), (0, 0));
        assert!(hit(&mut groups, "z", 101).is_empty(), "slots are used again");
        assert_eq!(groups.slots.len(), 4);
    }

    #[test]
    fn bytes_are_bounded_as_well_but_the_one_at_work_stays() {
        let mut groups: Groups<()> = Groups::new(Quota { groups: 100, bytes: 1000 });
        for (time, name) in (1..).zip(["a", "b", "c"]) {
            hit(&mut groups, name, time);
        }
        let slot = groups.find(&Key::from(&b"a"[..])).unwrap();
        groups.touch(slot, false, 1, 5000);
        groups.make_room(false, Some(slot), |_| {});
        assert_eq!(names(&groups), ["a"]);
        groups.touch(slot, true, 1, 10);
        assert!(groups.bytes() < 1000);
    }
}
