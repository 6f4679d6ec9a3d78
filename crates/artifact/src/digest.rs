//! A digest: `sha256:` and 64 hexadecimal digits, the only name that content has here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of some bytes. Written `sha256:<64 lower-case hex digits>`, which is also its form in JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// Why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Another algorithm, or none.
    #[error("the digest {0} is not a sha256 digest: write sha256: and 64 hexadecimal digits")]
    Algorithm(String),
    /// The right algorithm, the wrong digits.
    #[error("the digest {0} is malformed: after sha256: come exactly 64 digits of 0-9 and a-f")]
    Digits(String),
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// The 64 hexadecimal digits alone; safe as a file name.
    pub fn hex(&self) -> String {
        use fmt::Write;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Computes a digest of bytes that arrive in pieces.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Hasher {
        Hasher::default()
    }

    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all pieces so far.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Digest, ParseError> {
        let digits = text.strip_prefix("sha256:").ok_or_else(|| ParseError::Algorithm(shown(text)))?;
        let malformed = || ParseError::Digits(shown(text));
        if digits.len() != 64 {
            return Err(malformed());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            *byte = (nibble(pair[0]).ok_or_else(malformed)? << 4) | nibble(pair[1]).ok_or_else(malformed)?;
        }
        Ok(Digest(bytes))
    }
}

// Upper case is refused, so that one content has one spelling.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// `text` as it may stand in a message: quoted, control characters escaped, cut when it is very long.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(120) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?} (cut)", &text[..end]),
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Digest {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Digest, ParseError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_digest_of_nothing() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse(), Ok(Digest::of(b"")));
        assert_eq!(serde_json::to_string(&Digest::of(b"")).unwrap(), format!("{empty:?}"));
    }

    #[test]
    fn pieces_hash_as_the_whole() {
        let mut hasher = Hasher::new();
        hasher.update(b"one ");
        hasher.update(b"two");
        assert_eq!(hasher.finish(), Digest::of(b"one two"));
    }

    #[test]
    fn r16_other_algorithms_and_lengths_are_parse_errors() {
        let good = Digest::of(b"x").to_string();
        let bad = [
            "".to_string(),
            "sha256:".to_string(),
            "md5:d41d8cd98f00b204e9800998ecf8427e".to_string(),
            "sha256:..%2f..%2fetc".to_string(),
            good.to_uppercase(),
            good.replace("sha256", "sha512"),
            format!("{good}0"),
            good[..70].to_string(),
            format!("{}é", &good[..69]),
            format!("{} ", &good[..70]),
            format!("SHA256:{}", &good[7..]),
        ];
        for text in bad {
            assert!(text.parse::<Digest>().is_err(), "{text} was taken for a digest");
        }
    }
}
