//! Frames of SPDY/3.1, read from pieces of any size, and written. What is read is bounded, whatever comes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::names::{self, Names};

/// The longest frame of control that is read.
const LONGEST: usize = 16 << 10;
const HEAD: usize = 8;

const VERSION: u16 = 3;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const FIN: u8 = 1;
const REFUSED_STREAM: u32 = 3;

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A new stream, with what it is about; `fin` where the client sends nothing on it.
    Open { id: u32, names: Vec<(String, String)>, fin: bool },
    /// A part of a stream, perhaps of a frame.
    Data { id: u32, bytes: Bytes, fin: bool },
    /// A stream that is given up.
    Reset { id: u32 },
    /// To be sent back.
    Ping { id: u32 },
    /// What changes nothing here.
    Other,
}

/// Reads frames.
#[derive(Default)]
pub(super) struct Reader {
    buffer: BytesMut,
    names: Names,
    /// The frame of data under way: its stream, what is missing, and whether it is the last.
    data: Option<(u32, usize, bool)>,
}

impl Reader {
    /// Takes the next piece, after all frames of the one before were read.
    pub fn take(&mut self, piece: Bytes) {
        self.buffer.extend_from_slice(&piece);
    }

    /// The next frame that is there.
    ///
    /// # Errors
    /// When it is none of SPDY/3.1's; then nothing more can be read.
    pub fn next(&mut self) -> Result<Option<Frame>, &'static str> {
        if let Some((id, missing, fin)) = self.data.take() {
            return Ok(self.rest(id, missing, fin));
        }
        let Some(mut head) = self.buffer.get(..HEAD) else { return Ok(None) };
        let (first, second) = (head.get_u32(), head.get_u32());
        let (flags, length) = ((second >> 24) as u8, (second & 0x00ff_ffff) as usize);
        if first >> 31 == 0 {
            self.buffer.advance(HEAD);
            return Ok(self.rest(first, length, flags & FIN != 0));
        }
        if (first >> 16) as u16 & 0x7fff != VERSION {
            return Err("it does not speak SPDY/3.1");
        }
        if length > LONGEST {
            return Err("it sent a frame that is too long");
        }
        if self.buffer.len() < HEAD + length {
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        let body = self.buffer.split_to(length).freeze();
        self.control(first as u16, flags, body).map(Some)
    }

    /// As much of a frame of data as is there.
    fn rest(&mut self, id: u32, missing: usize, fin: bool) -> Option<Frame> {
        let there = self.buffer.len().min(missing);
        if there < missing {
            self.data = Some((id, missing - there, fin));
            if there == 0 {
                return None;
            }
        }
        let bytes = self.buffer.split_to(there).freeze();
        Some(Frame::Data { id, bytes, fin: fin && there == missing })
    }

    fn control(&mut self, kind: u16, flags: u8, mut body: Bytes) -> Result<Frame, &'static str> {
        let short = "it sent a frame that is too short";
        let mut number = || body.try_get_u32().map(|number| number & 0x7fff_ffff).map_err(|_| short);
        Ok(match kind {
            SYN_STREAM => {
                let (id, _associated) = (number()?, number()?);
                // Priority and slot.
                body.try_get_u16().map_err(|_| short)?;
                Frame::Open { id, names: self.names.read(&body)?, fin: flags & FIN != 0 }
            }
            SYN_REPLY | HEADERS => {
                number()?;
                // Not wanted, but what comes later is compressed with it.
                self.names.read(&body)?;
                Frame::Other
            }
            RST_STREAM => Frame::Reset { id: number()? },
            PING => Frame::Ping { id: body.try_get_u32().map_err(|_| short)? },
            _ => Frame::Other,
        })
    }
}

fn control(kind: u16, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD + body.len());
    frame.put_u16(0x8000 | VERSION);
    frame.put_u16(kind);
    frame.put_u32(body.len() as u32);
    frame.put_slice(body);
    frame.freeze()
}

/// A stream is taken; `first` where no other one was before.
pub(super) fn reply(id: u32, first: bool) -> Bytes {
    control(SYN_REPLY, &[&id.to_be_bytes()[..], &names::none(first)].concat())
}

/// A stream is not taken, or no longer.
pub(super) fn refuse(id: u32) -> Bytes {
    control(RST_STREAM, &[id.to_be_bytes(), REFUSED_STREAM.to_be_bytes()].concat())
}

/// A sign of life, asked for or given.
pub(super) fn ping(id: u32) -> Bytes {
    control(PING, &id.to_be_bytes())
}

/// Nothing more is taken.
pub(super) fn go_away() -> Bytes {
    control(GOAWAY, &[0; 8])
}

/// A part of a stream, of at most 16 MiB.
pub(super) fn data(id: u32, bytes: &[u8], fin: bool) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD + bytes.len());
    frame.put_u32(id);
    frame.put_u32(u32::from(if fin { FIN } else { 0 }) << 24 | bytes.len() as u32 & 0x00ff_ffff);
    frame.put_slice(bytes);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(reader: &mut Reader, bytes: &[u8], step: usize) -> Result<Vec<Frame>, &'static str> {
        let mut frames = Vec::new();
        for piece in bytes.chunks(step.max(1)) {
            reader.take(Bytes::copy_from_slice(piece));
            while let Some(frame) = reader.next()? {
                frames.push(frame);
            }
            assert!(reader.buffer.len() <= HEAD + LONGEST + step, "{} bytes wait", reader.buffer.len());
        }
        Ok(frames)
    }

    fn syn(id: u32, block: &[u8]) -> Vec<u8> {
        control(SYN_STREAM, &[&id.to_be_bytes()[..], &[0; 6], block].concat()).to_vec()
    }

    fn conversation() -> Vec<u8> {
        let mut compress = names::tests::Compress::default();
        let opened = |compress: &mut names::tests::Compress, id, kind| {
            syn(id, &compress.block(&[("port", "8080"), ("requestid", "0"), ("streamtype", kind)]))
        };
        [
            opened(&mut compress, 1, "error"),
            data(1, b"", true).to_vec(),
            opened(&mut compress, 3, "data"),
            data(3, b"GET / HTTP/1.1\r\n\r\n", false).to_vec(),
            ping(1).to_vec(),
            data(3, b"", true).to_vec(),
            control(RST_STREAM, &[0, 0, 0, 3, 0, 0, 0, 5]).to_vec(),
        ]
        .concat()
    }

    #[test]
    fn a_conversation_is_read_however_it_is_cut() {
        let bytes = conversation();
        let whole = read(&mut Reader::default(), &bytes, bytes.len()).unwrap();
        assert_eq!(whole.len(), 7);
        let Frame::Open { id: 3, names, fin: false } = &whole[2] else { panic!("{whole:?}") };
        assert!(names.contains(&("streamtype".into(), "data".into())) && names.contains(&("port".into(), "8080".into())), "{names:?}");
        assert_eq!(whole[6], Frame::Reset { id: 3 });
        for step in 1..40 {
            let mut sent = Vec::new();
            for frame in read(&mut Reader::default(), &bytes, step).unwrap() {
                if let Frame::Data { id: 3, bytes, .. } = frame {
                    sent.extend_from_slice(&bytes);
                }
            }
            assert_eq!(sent, b"GET / HTTP/1.1\r\n\r\n", "in steps of {step}");
        }
    }

    #[test]
    fn what_is_no_spdy_or_too_long_ends_the_conversation() {
        for wrong in [
            &b"\x80\x02\x00\x01\x00\x00\x00\x00"[..],
            b"\x80\x03\x00\x01\x00\xff\xff\xff",
            b"\x80\x03\x00\x01\x00\x00\x00\x02\x00\x00",
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert!(read(&mut Reader::default(), wrong, 64).is_err(), "{wrong:?}");
        }
        // A frame of data may be as long as it likes, since it is passed on as it comes.
        let mut reader = Reader::default();
        reader.take(Bytes::from_static(b"\x00\x00\x00\x03\x01\xff\xff\xffab"));
        assert_eq!(reader.next(), Ok(Some(Frame::Data { id: 3, bytes: Bytes::from_static(b"ab"), fin: false })));
        assert_eq!(reader.next(), Ok(None));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_keep_much(bytes in proptest::collection::vec(any::<u8>(), 0..4096), step in 1_usize..5000) {
            // That a client says nonsense is no failure of the test.
            let _ = read(&mut Reader::default(), &bytes, step);
        }

        #[test]
        fn nor_does_a_conversation_with_some_bytes_changed(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8), step in 1_usize..300) {
            let mut bytes = conversation();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = read(&mut Reader::default(), &bytes, step);
        }
    }
}
