//! Acts on files of the first folder, as a 0.3 guest does them.

use wasip3::filesystem::preopens::get_directories;
use wasip3::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};
use wasip3::{wit_bindgen, wit_stream};

/// `ACT|PATH|…` → what came of it.
pub async fn act(what: &str) -> String {
    let folders = get_directories();
    let Some((dir, _)) = folders.first() else { return "no folder".into() };
    let words: Vec<&str> = what.split('|').collect();
    let number = |word: &str| word.parse::<u64>().unwrap();
    let owned = |word: &str| word.to_owned();
    let done = match words[..] {
        ["write", path, offset, n] => write(dir, path, Some(number(offset)), number(n)).await,
        ["append", path, n] => write(dir, path, None, number(n)).await,
        ["size", path, n] => match open(dir, path, OpenFlags::CREATE).await {
            Ok(file) => file.set_size(number(n)).await,
            Err(code) => Err(code),
        },
        ["mkdir", path] => dir.create_directory_at(owned(path)).await,
        ["rmdir", path] => dir.remove_directory_at(owned(path)).await,
        ["unlink", path] => dir.unlink_file_at(owned(path)).await,
        ["symlink", target, path] => dir.symlink_at(owned(target), owned(path)).await,
        ["link", path, new] => dir.link_at(PathFlags::empty(), owned(path), dir, owned(new)).await,
        ["rename", path, new] => dir.rename_at(owned(path), dir, owned(new)).await,
        ["read", path] => return read(dir, path).await,
        _ => return format!("what? {what}"),
    };
    match done {
        Ok(()) => "Ok(())".into(),
        Err(code) => format!("Err({})", word(&code)),
    }
}

/// The bare name of an error, which its own form for people surrounds with a sentence.
fn word(code: &ErrorCode) -> &'static str {
    match code {
        ErrorCode::InsufficientSpace => "InsufficientSpace",
        ErrorCode::NotPermitted => "NotPermitted",
        ErrorCode::CrossDevice => "CrossDevice",
        _ => "another",
    }
}

async fn open(dir: &Descriptor, path: &str, how: OpenFlags) -> Result<Descriptor, ErrorCode> {
    let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
    dir.open_at(PathFlags::SYMLINK_FOLLOW, path.to_owned(), how, flags).await
}

async fn write(dir: &Descriptor, path: &str, offset: Option<u64>, n: u64) -> Result<(), ErrorCode> {
    let file = open(dir, path, OpenFlags::CREATE).await?;
    let (mut data, reader) = wit_stream::new();
    let told = match offset {
        Some(offset) => file.write_via_stream(reader, offset),
        None => file.append_via_stream(reader),
    };
    wit_bindgen::spawn_local(async move {
        data.write_all(vec![b'w'; n as usize]).await;
    });
    told.await
}

async fn read(dir: &Descriptor, path: &str) -> String {
    match open(dir, path, OpenFlags::empty()).await {
        Ok(file) => {
            let (data, told) = file.read_via_stream(0);
            let bytes = data.collect().await.len();
            drop(told);
            bytes.to_string()
        }
        Err(code) => format!("Err({})", word(&code)),
    }
}
