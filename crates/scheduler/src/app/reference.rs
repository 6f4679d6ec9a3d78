//! Whether a text is a reference to an image.

/// What follows `@` in a reference, if it is well formed.
pub(crate) struct Reference {
    digest: Option<String>,
}

impl Reference {
    pub fn digest(&self) -> Option<&String> {
        self.digest.as_ref()
    }
}

impl std::str::FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
        let hex =
            |d: &str| d.strip_prefix("sha256:").is_some_and(|h| h.len() == 64 && h.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
        let good = name.len() <= 255
            && !name.is_empty()
            && name.split('/').all(|part| part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()));
        if !good || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"./-_:".contains(&b)) || digest.is_some_and(|d| !hex(d)) {
            return Err("it is not registry/name:tag or name@sha256:digest".into());
        }
        Ok(Reference { digest: digest.map(str::to_owned) })
    }
}
