//! Words of 0.3's `wasi:filesystem` for those of 0.2, which the acts speak.

use wasmtime_wasi::p2::bindings::filesystem::types as two;
use wasmtime_wasi::p3::bindings::filesystem::types as three;

/// 0.3's word for an error.
pub fn code3(code: two::ErrorCode) -> three::ErrorCode {
    use three::ErrorCode as To;
    use two::ErrorCode as From;
    match code {
        From::Access => To::Access,
        // 0.3 has no such word, since there whoever would block waits.
        From::WouldBlock => To::Other(Some("would block".into())),
        From::Already => To::Already,
        From::BadDescriptor => To::BadDescriptor,
        From::Busy => To::Busy,
        From::Deadlock => To::Deadlock,
        From::Quota => To::Quota,
        From::Exist => To::Exist,
        From::FileTooLarge => To::FileTooLarge,
        From::IllegalByteSequence => To::IllegalByteSequence,
        From::InProgress => To::InProgress,
        From::Interrupted => To::Interrupted,
        From::Invalid => To::Invalid,
        From::Io => To::Io,
        From::IsDirectory => To::IsDirectory,
        From::Loop => To::Loop,
        From::TooManyLinks => To::TooManyLinks,
        From::MessageSize => To::MessageSize,
        From::NameTooLong => To::NameTooLong,
        From::NoDevice => To::NoDevice,
        From::NoEntry => To::NoEntry,
        From::NoLock => To::NoLock,
        From::InsufficientMemory => To::InsufficientMemory,
        From::InsufficientSpace => To::InsufficientSpace,
        From::NotDirectory => To::NotDirectory,
        From::NotEmpty => To::NotEmpty,
        From::NotRecoverable => To::NotRecoverable,
        From::Unsupported => To::Unsupported,
        From::NoTty => To::NoTty,
        From::NoSuchDevice => To::NoSuchDevice,
        From::Overflow => To::Overflow,
        From::NotPermitted => To::NotPermitted,
        From::Pipe => To::Pipe,
        From::ReadOnly => To::ReadOnly,
        From::InvalidSeek => To::InvalidSeek,
        From::TextFileBusy => To::TextFileBusy,
        From::CrossDevice => To::CrossDevice,
    }
}

/// 0.2's flags for 0.3's: of those that are set, `pairs` names both.
fn flags<A, B: std::ops::BitOr<Output = B>>(none: B, is_set: impl Fn(&A) -> bool, pairs: Vec<(A, B)>) -> B {
    pairs.into_iter().filter(|(three, _)| is_set(three)).fold(none, |all, (_, two)| all | two)
}

/// How a path is looked up.
pub fn path_flags(from: three::PathFlags) -> two::PathFlags {
    use three::PathFlags as From;
    use two::PathFlags as To;
    flags(To::empty(), |flag| from.contains(*flag), vec![(From::SYMLINK_FOLLOW, To::SYMLINK_FOLLOW)])
}

/// How something is opened.
pub fn open_flags(from: three::OpenFlags) -> two::OpenFlags {
    use three::OpenFlags as From;
    use two::OpenFlags as To;
    let pairs = vec![
        (From::CREATE, To::CREATE),
        (From::DIRECTORY, To::DIRECTORY),
        (From::EXCLUSIVE, To::EXCLUSIVE),
        (From::TRUNCATE, To::TRUNCATE),
    ];
    flags(To::empty(), |flag| from.contains(*flag), pairs)
}

/// What a descriptor may do.
pub fn descriptor_flags(from: three::DescriptorFlags) -> two::DescriptorFlags {
    use three::DescriptorFlags as From;
    use two::DescriptorFlags as To;
    let pairs = vec![
        (From::READ, To::READ),
        (From::WRITE, To::WRITE),
        (From::FILE_INTEGRITY_SYNC, To::FILE_INTEGRITY_SYNC),
        (From::DATA_INTEGRITY_SYNC, To::DATA_INTEGRITY_SYNC),
        (From::REQUESTED_WRITE_SYNC, To::REQUESTED_WRITE_SYNC),
        (From::MUTATE_DIRECTORY, To::MUTATE_DIRECTORY),
    ];
    flags(To::empty(), |flag| from.contains(*flag), pairs)
}
