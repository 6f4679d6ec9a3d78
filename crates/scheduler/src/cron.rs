//! When a cron line comes round: the only place that knows its syntax.
//!
//! Times are whole minutes of the wall clock, in UTC or in a named time zone.

use crate::app::word;
use cronexpr::Crontab;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A cron line that was understood.
#[derive(Debug, Clone)]
pub struct Schedule(Crontab);

/// Most ticks that are looked at one by one; a line has a tick for each minute at most, so a whole day fits.
const LOOKED_AT: usize = 2000;

impl Schedule {
    /// Reads five fields or a macro (`@daily`); the zone is an IANA name, none means UTC. The error is a sentence for people.
    pub fn read(line: &str, zone: Option<&str>) -> Result<Schedule, String> {
        (word::CRON.read)(line).map_err(|problem| problem.message)?;
        let zone = zone.unwrap_or("UTC");
        zone_is_known(zone)?;
        let text = format!("{} {zone}", fields(line));
        cronexpr::parse_crontab(&text).map(Schedule).map_err(|error| format!("`{line}` is not a cron line: {error}"))
    }

    /// The first tick after a time.
    pub fn after(&self, time: Timestamp) -> Option<Timestamp> {
        self.0.find_next(cronexpr::MakeTimestamp(time)).ok().map(|zoned| zoned.timestamp())
    }

    /// The last tick after `from` and not after `until`.
    pub fn last(&self, from: Timestamp, until: Timestamp) -> Option<Timestamp> {
        self.after(from).filter(|first| *first <= until)?;
        // The stretch before `until` is doubled until a tick is in it, so that what was missed for years costs no more than a day.
        let mut minutes = 1i64;
        let mut tick = loop {
            let start = until.as_second().saturating_sub(minutes.saturating_mul(60));
            let start = Timestamp::from_second(start).unwrap_or(from).max(from);
            match self.after(start).filter(|tick| *tick <= until) {
                Some(tick) => break tick,
                None if start == from => return None,
                None => minutes = minutes.saturating_mul(2),
            }
        };
        for _ in 0..LOOKED_AT {
            match self.after(tick).filter(|next| *next <= until) {
                Some(next) => tick = next,
                None => break,
            }
        }
        Some(tick)
    }
}

/// Whether a time zone can be looked up; the error is a sentence for people.
pub fn zone_is_known(zone: &str) -> Result<(), String> {
    let known = !zone.is_empty() && !zone.contains(char::is_whitespace) && TimeZone::get(zone).is_ok();
    known.then_some(()).ok_or_else(|| format!("`{zone}` is not a time zone; write one like Europe/Zurich, or UTC"))
}

/// A macro as fields.
fn fields(line: &str) -> &str {
    match line {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        line => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn after(line: &str, zone: Option<&str>, from: &str) -> String {
        Schedule::read(line, zone).expect("a cron line").after(time(from)).expect("a tick").to_string()
    }

    #[test]
    fn ticks_come_in_their_zone() {
        assert_eq!(after("*/5 * * * *", None, "2026-03-01T10:02:10Z"), "2026-03-01T10:05:00Z");
        assert_eq!(after("0 3 * * *", Some("Europe/Zurich"), "2026-01-01T00:00:00Z"), "2026-01-01T02:00:00Z");
        assert_eq!(after("0 3 * * *", Some("Europe/Zurich"), "2026-07-01T00:00:00Z"), "2026-07-01T01:00:00Z");
        assert_eq!(after("@weekly", None, "2026-01-01T00:00:00Z"), "2026-01-04T00:00:00Z");
        assert_eq!(after("0 0 * * MON", None, "2026-01-01T00:00:00Z"), "2026-01-05T00:00:00Z");
        // Cron's own rule: where day and weekday are both given, either will do.
        assert_eq!(after("0 0 13 * 5", None, "2026-01-01T00:00:00Z"), "2026-01-02T00:00:00Z");
    }

    #[test]
    fn the_last_tick_is_found_however_long_ago_the_first_was() {
        let last = |line: &str, from: &str, until: &str| Schedule::read(line, None).expect("a line").last(time(from), time(until));
        assert_eq!(last("* * * * *", "2020-01-01T00:00:00Z", "2026-01-01T00:00:30Z"), Some(time("2026-01-01T00:00:00Z")));
        assert_eq!(last("* 3 * * *", "2020-01-01T00:00:00Z", "2026-01-01T10:00:00Z"), Some(time("2026-01-01T03:59:00Z")));
        assert_eq!(last("@yearly", "2020-01-01T00:00:00Z", "2026-05-01T00:00:00Z"), Some(time("2026-01-01T00:00:00Z")));
        assert_eq!(last("0 3 * * *", "2026-01-01T03:00:00Z", "2026-01-02T02:59:59Z"), None);
        assert_eq!(last("0 3 * * *", "2026-01-02T03:00:00Z", "2026-01-01T00:00:00Z"), None, "a clock that was set back");
    }

    #[test]
    fn what_is_no_schedule_is_told() {
        for (line, zone, says) in [
            ("every day", None, "fields"),
            ("61 * * * *", None, "minute"),
            ("* * * * *", Some("Mars/Olympus"), "time zone"),
            ("* * * * *", Some(""), "time zone"),
            ("@never", None, "cron line"),
        ] {
            let error = Schedule::read(line, zone).expect_err(line);
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
