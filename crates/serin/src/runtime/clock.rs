//! The one place that reads the clock for events.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use serin_event::Timestamp;

/// Now.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Seconds by which the host's zone is east of UTC at `time`. Zones change at quarter hours, so one
/// look-up serves all events of the same quarter.
pub(crate) fn utc_offset(time: Timestamp) -> i32 {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    /// Quarter hour and offset of the last look-up, packed so that both change at once.
    static LAST: AtomicI64 = AtomicI64::new(i64::MIN);
    const QUARTER: i64 = 900 * 1_000_000;
    const SHIFT: i64 = 1 << 20;

    let quarter = time.0.div_euclid(QUARTER);
    let last = LAST.load(Ordering::Relaxed);
    if last != i64::MIN && last.div_euclid(SHIFT) == quarter {
        return i32::try_from(last.rem_euclid(SHIFT) - SHIFT / 2).unwrap_or(0);
    }
    let zone = ZONE.get_or_init(TimeZone::system);
    let instant = jiff::Timestamp::from_microsecond(time.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let offset = zone.to_offset(instant).seconds();
    LAST.store(quarter * SHIFT + i64::from(offset) + SHIFT / 2, Ordering::Relaxed);
    offset
}
