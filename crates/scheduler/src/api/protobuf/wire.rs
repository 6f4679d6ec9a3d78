//! Protobuf's wire format: fields with their numbers, and what they hold.

type Result<T> = std::result::Result<T, String>;

/// Reads a message from its start to its end.
pub(super) struct Reader<'a>(&'a [u8]);

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Data<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Data<'a> {
    pub(super) fn number(self) -> Result<u64> {
        match self {
            Data::Number(number) => Ok(number),
            Data::Bytes(_) => Err("bytes stand where a number should".to_owned()),
        }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8]> {
        match self {
            Data::Bytes(bytes) => Ok(bytes),
            Data::Number(_) => Err("a number stands where bytes should".to_owned()),
        }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// The next field; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Data<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0).ok_or("a field has no number")?;
        let data = match tag & 7 {
            0 => Data::Number(self.varint()?),
            1 => Data::Number(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| "a length is too large")?;
                Data::Bytes(self.take(length)?)
            }
            5 => Data::Number(u64::from(u32::from_le_bytes(self.array()?))),
            other => return Err(format!("wire type {other} is not known")),
        };
        Ok(Some((number, data)))
    }

    /// The next of numbers that stand one behind the other; `None` at the end.
    pub(super) fn packed(&mut self) -> Result<Option<u64>> {
        if self.0.is_empty() { Ok(None) } else { self.varint().map(Some) }
    }

    /// The bytes of a field, the last of its number; none where it is missing.
    pub(super) fn find(mut self, wanted: u32) -> Result<&'a [u8]> {
        let mut found: &[u8] = &[];
        while let Some((number, data)) = self.next()? {
            if number == wanted {
                found = data.bytes()?;
            }
        }
        Ok(found)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or("it ends in the middle of a number")?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is longer than 64 bits".to_owned())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or("it ends in the middle of a field")?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| "it ends in the middle of a number".to_owned())
    }
}
