//! The first bytes of a file: a component, or something else that a person should hear named.

use super::Error;

/// Leading bytes of files that people mistake for components.
const FOREIGN: [(&[u8], &str); 8] = [
    (b"\x7fELF", "a native program or precompiled code (only WebAssembly is ever taken from outside)"),
    (b"MZ", "a Windows program"),
    (b"\xcf\xfa\xed\xfe", "a macOS program"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"PK\x03\x04", "a zip file"),
    (b"#!", "a script"),
    (b"{", "a JSON document"),
];

/// Succeeds when `bytes` start as a component does: `\0asm`, version 13, layer 1. Cheap: looks at a few bytes only.
pub fn check(bytes: &[u8]) -> Result<(), Error> {
    match bytes {
        [] => Err(Error::Empty),
        [0, b'a', b's', b'm', v0, v1, l0, l1, ..] => match (u16::from_le_bytes([*v0, *v1]), u16::from_le_bytes([*l0, *l1])) {
            (13, 1) => Ok(()),
            (1, 0) => Err(Error::CoreModule),
            (version, layer) => Err(Error::Version { version, layer }),
        },
        _ if b"\0asm".starts_with(bytes) || bytes.starts_with(b"\0asm") => Err(Error::Short(bytes.len())),
        _ if is_text(bytes) => Err(Error::Text),
        _ => Err(match FOREIGN.iter().find(|(start, _)| bytes.starts_with(start)) {
            Some((_, name)) => Error::Foreign(name),
            None if bytes.len() < 8 => Error::Short(bytes.len()),
            None => Error::Unknown(bytes[..8].to_vec()),
        }),
    }
}

// The text format may begin with a byte order mark, blanks, and comments: `;; to the end of line` and `(; nested ;)`.
fn is_text(bytes: &[u8]) -> bool {
    let mut rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    loop {
        rest = rest.trim_ascii_start();
        if rest.starts_with(b";;") {
            let Some(end) = rest.iter().position(|&byte| byte == b'\n') else { return false };
            rest = &rest[end..];
        } else if rest.starts_with(b"(;") {
            let Some(end) = end_of_comment(rest) else { return false };
            rest = &rest[end..];
        } else {
            let inner = rest.strip_prefix(b"(").map(<[u8]>::trim_ascii_start);
            return inner.is_some_and(|inner| inner.starts_with(b"module") || inner.starts_with(b"component"));
        }
    }
}

fn end_of_comment(bytes: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (0usize, 0);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"(;" => (depth, at) = (depth + 1, at + 2),
            b";)" if depth == 1 => return Some(at + 2),
            b";)" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(bytes: &[u8], want: &str) {
        let got = check(bytes).map_or_else(|error| error.to_string(), |()| "a component".to_string());
        assert!(got.contains(want), "{bytes:?}: {got}");
    }

    #[test]
    fn h39_what_is_no_component_is_named() {
        check_text(b"\0asm\x0d\0\x01\0", "a component");
        check_text(b"", "the file is empty");
        check_text(b"\0", "too short for a WebAssembly component (1 B)");
        check_text(b"\0asm\x01\0", "too short for a WebAssembly component (6 B)");
        check_text(b"x", "too short for a WebAssembly component (1 B)");
        check_text(b"\0asm\x01\0\0\0", "core WebAssembly module");
        check_text(b"\0asm\x0d\0\x02\0", "version 13 (layer 2)");
        check_text(b"\0asm\x0a\0\x01\0", "version 10 (layer 1)");
        check_text(b"\0asm\x02\0\0\0", "version 2 (layer 0)");
        check_text(b"\x7fELF\x02\x01\x01\0\0", "precompiled");
        check_text(b"\x1f\x8b\x08\0\0\0\0\0", "gzip");
        check_text(b"PK\x03\x04\0\0\0\0", "zip");
        check_text(b"{\"schemaVersion\":2}", "JSON");
        check_text(b"hello, world", "starts with the bytes [68, 65");
    }

    #[test]
    fn h39_text_is_told_through_blanks_and_comments() {
        check_text(b"(module)", "`wasm-tools parse");
        check_text(b"\xef\xbb\xbf \n(component)", "`wasm-tools parse");
        check_text(b";; a comment\n(; (; nested ;) ;)\n( module $m)", "`wasm-tools parse");
        check_text(b"(; never closed (module)", "starts with the bytes");
        check_text(b";; only a comment", "starts with the bytes");
        check_text(b"(lambda (x) x)", "starts with the bytes");
    }
}
