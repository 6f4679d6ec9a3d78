//! Blocks of names and values: compressed as one stream over all frames, with a dictionary that both ends know (the SPDY draft 3, section 2.6.10.1).

use std::sync::LazyLock;

use bytes::Buf;
use flate2::{Decompress, FlushDecompress, Status};

/// The longest block, when it is not compressed.
const LONGEST: usize = 64 << 10;
/// Most names of a block.
const MOST: u32 = 64;
/// The checksum of the dictionary, by which a compressor names it.
const DICTIONARY_ID: u32 = 0xe3c6_a7c2;

/// Words of the dictionary, each of which has its length in front of it there.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow \
    authorization cache-control connection content-base content-encoding content-language content-length content-location content-md5 \
    content-range content-type date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since \
    last-modified location max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer \
    transfer-encoding upgrade user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
    keep-alive origin";
/// What follows them.
const TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative \
    Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 \
    Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, \
    GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,\
    publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for word in WORDS.split(' ') {
        let word = word.replace('_', " ");
        all.extend_from_slice(&(word.len() as u32).to_be_bytes());
        all.extend_from_slice(word.as_bytes());
    }
    all.extend_from_slice(TAIL.as_bytes());
    all
});

/// Reads the blocks of one client, one after the other.
pub(super) struct Names {
    inflate: Decompress,
    begun: bool,
}

impl Default for Names {
    fn default() -> Names {
        Names { inflate: Decompress::new(false), begun: false }
    }
}

const BROKEN: &str = "it sent names that cannot be decompressed";

impl Names {
    /// The names, with their values.
    ///
    /// # Errors
    /// When they cannot be read; then no later block can be either.
    pub fn read(&mut self, block: &[u8]) -> Result<Vec<(String, String)>, &'static str> {
        let block = if std::mem::replace(&mut self.begun, true) { block } else { self.begin(block)? };
        let plain = self.inflate(block)?;
        pairs(&plain).ok_or("it sent names that cannot be read")
    }

    /// Takes the head of the stream off the first block (RFC 1950), and gives the decompressor the dictionary if that is named there.
    fn begin<'a>(&mut self, mut block: &'a [u8]) -> Result<&'a [u8], &'static str> {
        let head = block.try_get_u16().map_err(|_| BROKEN)?;
        if head >> 8 & 0x0f != 8 || head % 31 != 0 {
            return Err(BROKEN);
        }
        if head & 0x20 != 0 {
            if block.try_get_u32() != Ok(DICTIONARY_ID) {
                return Err(BROKEN);
            }
            // As a block that is stored: afterwards it is what later blocks may refer to, as with a dictionary.
            let length = DICTIONARY.len() as u16;
            let stored = [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes(), &DICTIONARY].concat();
            self.inflate(&stored)?;
        }
        Ok(block)
    }

    fn inflate(&mut self, mut from: &[u8]) -> Result<Vec<u8>, &'static str> {
        let (mut plain, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            let before = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(from, &mut chunk, FlushDecompress::Sync).map_err(|_| BROKEN)?;
            let (read, wrote) = ((self.inflate.total_in() - before.0) as usize, (self.inflate.total_out() - before.1) as usize);
            plain.extend_from_slice(&chunk[..wrote]);
            from = &from[read..];
            if plain.len() > LONGEST {
                return Err("it sent too many names");
            }
            // What is there fits the rest of the chunk, or nothing moves.
            if status == Status::StreamEnd || wrote < chunk.len() && (from.is_empty() || read == 0 && wrote == 0) {
                return Ok(plain);
            }
        }
    }
}

fn pairs(mut plain: &[u8]) -> Option<Vec<(String, String)>> {
    fn text(from: &mut &[u8]) -> Option<String> {
        let length = from.try_get_u32().ok()? as usize;
        let (text, rest) = from.split_at_checked(length)?;
        *from = rest;
        std::str::from_utf8(text).ok().map(str::to_owned)
    }
    let count = plain.try_get_u32().ok().filter(|count| *count <= MOST)?;
    (0..count).map(|_| Some((text(&mut plain)?, text(&mut plain)?))).collect()
}

/// A block without names, as it stands at the beginning of the compressed stream or later: stored, since nothing is there to be compressed,
/// and ended so that the other side need not wait for more.
pub(super) fn none(first: bool) -> Vec<u8> {
    let head: &[u8] = if first { &[0x78, 0x01] } else { &[] };
    [head, &[0, 4, 0, !4, 0xff, 0, 0, 0, 0], &[0, 0, 0, 0xff, 0xff]].concat()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use flate2::{Compression, FlushCompress};

    /// A client's compressor.
    pub struct Compress {
        deflate: flate2::Compress,
        begun: bool,
    }

    impl Default for Compress {
        fn default() -> Compress {
            Compress { deflate: flate2::Compress::new(Compression::best(), false), begun: false }
        }
    }

    impl Compress {
        pub fn block(&mut self, names: &[(&str, &str)]) -> Vec<u8> {
            let mut plain = (names.len() as u32).to_be_bytes().to_vec();
            for text in names.iter().flat_map(|(name, value)| [name, value]) {
                plain.extend_from_slice(&(text.len() as u32).to_be_bytes());
                plain.extend_from_slice(text.as_bytes());
            }
            let mut out = Vec::with_capacity(4096);
            self.deflate.compress_vec(&plain, &mut out, FlushCompress::Sync).unwrap();
            if std::mem::replace(&mut self.begun, true) { out } else { [&[0x78, 0x9c][..], &out].concat() }
        }
    }

    #[test]
    fn the_dictionary_is_the_one_that_its_name_says() {
        let (mut a, mut b) = (1_u32, 0_u32);
        for byte in DICTIONARY.iter() {
            a = (a + u32::from(*byte)) % 65521;
            b = (b + a) % 65521;
        }
        assert_eq!((DICTIONARY.len(), b << 16 | a), (1423, DICTIONARY_ID));
    }

    #[test]
    fn blocks_are_read_one_after_the_other_and_none_is_read_as_none() {
        let (mut compress, mut names) = (Compress::default(), Names::default());
        for port in ["80", "8080", "80"] {
            let read = names.read(&compress.block(&[("port", port), ("streamtype", "data")])).unwrap();
            assert_eq!(read, [("port".to_owned(), port.to_owned()), ("streamtype".to_owned(), "data".to_owned())]);
        }
        let mut names = Names::default();
        assert_eq!((names.read(&none(true)), names.read(&none(false))), (Ok(vec![]), Ok(vec![])));
    }

    #[test]
    fn names_refer_to_the_dictionary() {
        // Written by zlib with the dictionary: one name, `content-length`, with the value `7`.
        let block = b"\x78\xf9\xe3\xc6\xa7\xc2\x02\xa6\x23\x46\xac\x45\x12\xa3\x39\x00\x00\x00\xff\xff";
        assert_eq!(Names::default().read(block), Ok(vec![("content-length".to_owned(), "7".to_owned())]));
    }

    #[test]
    fn a_bomb_is_left_unread() {
        let long = "x".repeat(LONGEST);
        assert_eq!(Names::default().read(&Compress::default().block(&[("port", &long)])), Err("it sent too many names"));
        assert!(Names::default().read(b"\x78\xbb\x00\x00\x00\x00").is_err() && Names::default().read(b"").is_err());
    }
}
