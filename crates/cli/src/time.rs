//! Times as people read them.

use jiff::Timestamp;

/// How long ago a timestamp was: `5s`, `3m`, `2h`, `9d`; `-` if there is none.
pub fn age(then: Option<&str>) -> String {
    then.and_then(|text| text.parse().ok())
        .map_or_else(|| "-".to_owned(), |then: Timestamp| span(Timestamp::now().as_second() - then.as_second()))
}

/// A number of seconds in its largest unit, two of them below ten minutes and below ten hours.
pub fn span(seconds: i64) -> String {
    let s = seconds.max(0);
    match s {
        0..120 => format!("{s}s"),
        120..600 if s % 60 != 0 => format!("{}m{}s", s / 60, s % 60),
        120..7_200 => format!("{}m", s / 60),
        7_200..36_000 if s % 3_600 >= 60 => format!("{}h{}m", s / 3_600, s % 3_600 / 60),
        7_200..172_800 => format!("{}h", s / 3_600),
        _ => format!("{}d", s / 86_400),
    }
}

/// The time of day of a timestamp in this machine's time zone.
pub fn clock(then: Option<&str>) -> String {
    let then: Timestamp = then.and_then(|text| text.parse().ok()).unwrap_or_else(Timestamp::now);
    then.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        let spans =
            [(-3, "0s"), (5, "5s"), (119, "119s"), (125, "2m5s"), (3_600, "60m"), (7_260, "2h1m"), (90_000, "25h"), (900_000, "10d")];
        for (seconds, text) in spans {
            assert_eq!(span(seconds), text);
        }
        assert_eq!(age(None), "-");
    }
}
