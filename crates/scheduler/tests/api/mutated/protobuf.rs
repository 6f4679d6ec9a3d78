//! Bodies that look like protobuf.

use super::Chance;

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(number << 3 | 2, &mut out);
    varint(bytes.len() as u64, &mut out);
    out.extend_from_slice(bytes);
    out
}

/// A message of any fields, some of which hold messages.
fn message(chance: &mut Chance, levels: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..chance.draw(6) {
        let most = if chance.draw(8) == 0 { 300_000 } else { 20 };
        let number = 1 + chance.draw(most) as u64;
        match chance.draw(8) {
            0 => {
                varint(number << 3, &mut out);
                varint(u64::MAX >> chance.draw(64), &mut out);
            }
            1 => {
                varint(number << 3 | 1, &mut out);
                out.extend([0xff; 8]);
            }
            2 => {
                // A length that goes beyond the end, or past all memory.
                varint(number << 3 | 2, &mut out);
                varint(u64::MAX >> chance.draw(60), &mut out);
            }
            3 => out.extend([0xff; 11]),
            4 => {
                let bytes: [&[u8]; 5] = [b"web", b"", b"\xff\xfe", b"default", b"\0"];
                out.extend(field(number, bytes[chance.draw(bytes.len())]));
            }
            _ if levels > 0 => {
                let inner = message(chance, levels - 1);
                out.extend(field(number, &inner));
            }
            _ => {}
        }
    }
    out
}

/// A body that says to be of this kind.
pub fn protobuf(version: &str, kind: &str, chance: &mut Chance) -> Vec<u8> {
    let raw = match chance.draw(4) {
        // Messages within messages, deeper than anybody goes.
        0 => (0..1 + chance.draw(2_000)).fold(Vec::new(), |inner, _| field(2, &inner)),
        1 => [field(1, &field(1, b"web")), field(2, &message(chance, 6))].concat(),
        _ => [field(1, &[field(1, b"web"), message(chance, 3)].concat()), field(2, &message(chance, 6)), message(chance, 4)].concat(),
    };
    let meta = [field(1, version.as_bytes()), field(2, kind.as_bytes())].concat();
    let mut bytes = [b"k8s\0".as_slice(), &field(1, &meta), &field(2, &raw)].concat();
    if chance.draw(8) == 0 {
        let at = chance.draw(bytes.len());
        bytes[at] ^= 1 << chance.draw(8);
    }
    bytes
}
