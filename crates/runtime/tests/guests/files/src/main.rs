//! A command that does one act on files for each of its arguments, and prints what came of it.

use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags, filesystem_error_code};
use wasip2::io::streams::{OutputStream, StreamError};

type Done = Result<String, String>;

fn main() {
    let folders = get_directories();
    let mut held = Vec::new();
    for act in std::env::args().skip(1) {
        let words: Vec<&str> = act.split(' ').collect();
        match done(&folders, &mut held, &words) {
            Ok(told) => println!("{told}"),
            Err(why) => println!("{why}"),
        }
    }
}

fn done<'a>(folders: &'a [(Descriptor, String)], held: &mut Vec<Descriptor>, words: &[&'a str]) -> Done {
    let at = |path: &'a str| at(folders, path);
    let number = |word: &str| word.parse::<u64>().unwrap();
    match words {
        ["std", path, n] => std::fs::write(path, vec![b'x'; number(n) as usize]).map(|()| "ok".into()).map_err(|error| error.to_string()),
        ["cat", path] => std::fs::read_to_string(path).map_err(|error| format!("{:?}", error.kind())),
        ["ls", path] => {
            let mut names: Vec<String> = std::fs::read_dir(path)
                .map_err(|error| error.to_string())?
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            Ok(names.join(" "))
        }
        ["len", path] => std::fs::metadata(path).map(|data| data.len().to_string()).map_err(|error| format!("{:?}", error.kind())),
        ["write", path, offset, n] => {
            let file = open(folders, path, OpenFlags::CREATE)?;
            file.write(&vec![b'w'; number(n) as usize], number(offset)).map(|n| n.to_string()).map_err(word)
        }
        ["stream", path, offset, n] => {
            let file = open(folders, path, OpenFlags::CREATE)?;
            poured(&file.write_via_stream(number(offset)).map_err(word)?, number(n))
        }
        // All that the host says of an error.
        ["debug", path] => {
            let stream = open(folders, path, OpenFlags::CREATE)?.write_via_stream(0).map_err(word)?;
            match stream.blocking_write_and_flush(b"x") {
                Err(StreamError::LastOperationFailed(error)) => Ok(format!("error {:?}", error.to_debug_string())),
                other => Ok(format!("{other:?}")),
            }
        }
        ["append", path, n] => {
            let file = open(folders, path, OpenFlags::CREATE)?;
            poured(&file.append_via_stream().map_err(word)?, number(n))
        }
        ["size", path, n] => ok(open(folders, path, OpenFlags::CREATE)?.set_size(number(n))),
        ["truncate", path] => open(folders, path, OpenFlags::TRUNCATE).map(|_| "ok".into()),
        ["exclusive", path] => open(folders, path, OpenFlags::CREATE | OpenFlags::EXCLUSIVE).map(|_| "ok".into()),
        ["mkdir", path] => at(path).and_then(|(dir, path)| ok(dir.create_directory_at(path))),
        ["rmdir", path] => at(path).and_then(|(dir, path)| ok(dir.remove_directory_at(path))),
        ["unlink", path] => at(path).and_then(|(dir, path)| ok(dir.unlink_file_at(path))),
        ["symlink", target, path] => at(path).and_then(|(dir, path)| ok(dir.symlink_at(target, path))),
        ["link", path, new] => {
            let ((dir, path), (new_dir, new)) = (at(path)?, at(new)?);
            ok(dir.link_at(PathFlags::empty(), path, new_dir, new))
        }
        ["rename", path, new] => {
            let ((dir, path), (new_dir, new)) = (at(path)?, at(new)?);
            ok(dir.rename_at(path, new_dir, new))
        }
        // Has two names change places, again and again.
        ["swap", one, other, n] => {
            let dir = &folders[0].0;
            for _ in 0..number(n) {
                dir.rename_at(one, dir, "between").map_err(word)?;
                dir.rename_at(other, dir, one).map_err(word)?;
                dir.rename_at("between", dir, other).map_err(word)?;
            }
            Ok("swapped".into())
        }
        // Reads and writes through a path, again and again: how often what, by the first letter of the file.
        ["chase", path, n] => {
            let mut seen = std::collections::BTreeMap::<String, u32>::new();
            for _ in 0..number(n) {
                let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
                let told = match folders[0].0.open_at(PathFlags::SYMLINK_FOLLOW, path, OpenFlags::empty(), flags) {
                    Ok(file) => {
                        let letter = file.read(1, 0).map(|(bytes, _)| String::from_utf8_lossy(&bytes).into_owned()).map_err(word)?;
                        file.write(b"!", 9).map_err(word)?;
                        letter
                    }
                    Err(code) => word(code),
                };
                *seen.entry(told).or_default() += 1;
            }
            Ok(format!("{seen:?}"))
        }
        // Without the library's own look at the path.
        ["raw", path] => folders[0]
            .0
            .open_at(PathFlags::SYMLINK_FOLLOW, path, OpenFlags::empty(), DescriptorFlags::READ)
            .map(|_| "opened".into())
            .map_err(word),
        ["hold", path] => {
            held.push(open(folders, path, OpenFlags::CREATE)?);
            Ok("held".into())
        }
        ["grow", n] => poured(&held.last().unwrap().append_via_stream().map_err(word)?, number(n)),
        ["release"] => {
            held.clear();
            Ok("released".into())
        }
        ["many", prefix, n] => {
            for made in 0..number(n) {
                if let Err(why) = open(folders, &format!("{prefix}{made}"), OpenFlags::CREATE) {
                    return Ok(format!("{made} {why}"));
                }
            }
            Ok(format!("{n} ok"))
        }
        _ => Err(format!("what? {words:?}")),
    }
}

fn word(code: ErrorCode) -> String {
    code.name().to_owned()
}

fn ok(done: Result<(), ErrorCode>) -> Done {
    done.map(|()| "ok".into()).map_err(word)
}

/// The folder that holds an absolute path, and the path within it.
fn at<'a>(folders: &'a [(Descriptor, String)], path: &'a str) -> Result<(&'a Descriptor, &'a str), String> {
    let within = |(dir, name): &'a (Descriptor, String)| Some((dir, path.strip_prefix(name.as_str())?.strip_prefix('/')?));
    folders.iter().find_map(within).ok_or_else(|| "no-such-folder".into())
}

fn open(folders: &[(Descriptor, String)], path: &str, how: OpenFlags) -> Result<Descriptor, String> {
    let (dir, path) = at(folders, path)?;
    let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
    dir.open_at(PathFlags::SYMLINK_FOLLOW, path, how, flags).map_err(word)
}

fn poured(stream: &OutputStream, mut n: u64) -> Done {
    let chunk = [b's'; 4096];
    while n > 0 {
        let length = n.min(4096);
        if let Err(error) = stream.blocking_write_and_flush(&chunk[..length as usize]) {
            let StreamError::LastOperationFailed(error) = error else { return Err("closed".into()) };
            let code = filesystem_error_code(&error).map_or("no code".into(), word);
            // The first line is the host's sentence.
            return Err(format!("{code} with {n} left: {}", error.to_debug_string().lines().next().unwrap_or_default()));
        }
        n -= length;
    }
    Ok("ok".into())
}
