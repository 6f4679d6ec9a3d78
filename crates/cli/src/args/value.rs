//! Values of options, checked where they are read.

use std::time::Duration;

/// `HOST:PORT`, as typed; it is resolved where it is used.
pub fn address(text: &str) -> Result<String, String> {
    let sentence = || format!("`{text}` is no address; write HOST:PORT, as in 127.0.0.1:8080 or [::1]:8080");
    let (host, port) = text.rsplit_once(':').ok_or_else(sentence)?;
    let bare = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
    if host.is_empty() || !bare || port.parse::<u16>().is_err() {
        return Err(sentence());
    }
    Ok(text.to_owned())
}

/// `500ms`, `10s`, `5m`, `1h`, or a plain number of seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let sentence = || format!("`{text}` is no time; write it as 500ms, 10s, 5m or 1h");
    let number: u64 = text[..digits].parse().map_err(|_| sentence())?;
    let milliseconds = match &text[digits..] {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    // A year is for ever here, and keeps sums with the clock from overflowing.
    milliseconds.filter(|ms| *ms <= 31_536_000_000).map(Duration::from_millis).ok_or_else(sentence)
}

/// `KEY=VALUE`
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for good in ["127.0.0.1:0", "[::1]:8080", "localhost:443", "0.0.0.0:80"] {
            assert_eq!(address(good).as_deref(), Ok(good));
        }
        for bad in ["", "8080", ":8080", "::1:80", "127.0.0.1", "127.0.0.1:65536", "host:http"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for bad in ["", "s", "-1s", "1d", "1.5s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
