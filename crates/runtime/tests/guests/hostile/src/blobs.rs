//! Acts on containers.

wit_bindgen::generate!({
    path: "../../../../../wit/wasi-blobstore",
    world: "imports",
    with: {
        "wasi:io/error@0.2.0": wasip2::io::error,
        "wasi:io/poll@0.2.0": wasip2::io::poll,
        "wasi:io/streams@0.2.0": wasip2::io::streams,
    },
    generate_all,
});

use wasi::blobstore::blobstore::{self, ObjectId};
use wasi::blobstore::container::Container;
use wasi::blobstore::types::{IncomingValue, OutgoingValue};

/// `ACT|CONTAINER|NAME|VALUE` → what came of it.
pub fn act(what: &str) -> String {
    let mut parts = what.split('|');
    let mut next = || parts.next().unwrap_or_default().to_owned();
    let (act, container, name, value) = (next(), next(), next(), next());
    let id = |container: &str, object: &str| ObjectId { container: container.into(), object: object.into() };
    match act.as_str() {
        "exists" => return format!("{:?}", blobstore::container_exists(&container)),
        "delete" => return format!("{:?}", blobstore::delete_container(&container)),
        "copy" => return format!("{:?}", blobstore::copy_object(&id(&container, &name), &id(&value, &name))),
        "move" => return format!("{:?}", blobstore::move_object(&id(&container, &name), &id(&value, &name))),
        "body" => return format!("{:?}", OutgoingValue::new_outgoing_value().outgoing_value_write_body().map(|_| ())),
        _ => {}
    }
    let opened = if act == "create" { blobstore::create_container(&container) } else { blobstore::get_container(&container) };
    let container = match opened {
        Ok(container) => container,
        Err(error) => return error,
    };
    match act.as_str() {
        "create" => format!("{:?}", container.info().map(|info| (info.name, info.created_at > 1_700_000_000))),
        "put" => format!("{:?}", put(&container, &name, value.as_bytes(), 1)),
        "much" => format!("{:?}", put(&container, &name, &[b'x'; 4096], value.parse().unwrap())),
        "unfinished" => {
            let outgoing = OutgoingValue::new_outgoing_value();
            let written = container.write_data(&name, &outgoing);
            let body = outgoing.outgoing_value_write_body().unwrap();
            body.blocking_write_and_flush(b"half").unwrap();
            format!("{written:?} {:?}", outgoing.outgoing_value_write_body().is_err())
        }
        // Ignores what the stream says.
        "careless" => {
            let outgoing = OutgoingValue::new_outgoing_value();
            container.write_data(&name, &outgoing).unwrap();
            let body = outgoing.outgoing_value_write_body().unwrap();
            for _ in 0..value.parse().unwrap() {
                let _ = body.blocking_write_and_flush(&[b'x'; 4096]);
            }
            drop(body);
            format!("{:?}", OutgoingValue::finish(outgoing))
        }
        "open" => {
            let outgoing = OutgoingValue::new_outgoing_value();
            container.write_data(&name, &outgoing).unwrap();
            let body = outgoing.outgoing_value_write_body().unwrap();
            body.blocking_write_and_flush(b"half").unwrap();
            let finished = OutgoingValue::finish(outgoing);
            format!("{finished:?} {}", body.blocking_write_and_flush(b"more").is_err())
        }
        "nowhere" => format!("{:?}", OutgoingValue::finish(OutgoingValue::new_outgoing_value())),
        "empty" => {
            let outgoing = OutgoingValue::new_outgoing_value();
            let again = (container.write_data(&name, &outgoing), container.write_data("other", &outgoing));
            format!("{again:?} {:?}", OutgoingValue::finish(outgoing))
        }
        "get" => match container.get_data(&name, 0, u64::MAX) {
            Ok(incoming) => format!("{:?}", IncomingValue::incoming_value_consume_sync(incoming).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) => error,
        },
        "range" => {
            let (start, end) = value.split_once('-').unwrap();
            let incoming = container.get_data(&name, start.parse().unwrap(), end.parse().unwrap()).unwrap();
            format!("{} {}", incoming.size(), String::from_utf8_lossy(&streamed(incoming)))
        }
        "length" => match container.get_data(&name, 0, u64::MAX) {
            Ok(incoming) => streamed(incoming).len().to_string(),
            Err(error) => error,
        },
        "whole" => format!("{:?}", IncomingValue::incoming_value_consume_sync(container.get_data(&name, 0, u64::MAX).unwrap()).map(|bytes| bytes.len())),
        "has" => format!("{:?}", container.has_object(&name)),
        "info" => format!("{:?}", container.object_info(&name).map(|info| (info.container, info.name, info.size))),
        "remove" => format!("{:?}", container.delete_object(&name)),
        "clear" => format!("{:?}", container.clear()),
        "names" => {
            let listing = container.list_objects().unwrap();
            let skipped = listing.skip_stream_object_names(name.parse().unwrap_or(0)).unwrap();
            let (mut names, over) = listing.read_stream_object_names(100).unwrap();
            names.sort();
            format!("{skipped:?} {names:?} {over}")
        }
        _ => format!("what? {what}"),
    }
}

fn put(container: &Container, name: &str, bytes: &[u8], times: u64) -> Result<(), String> {
    let outgoing = OutgoingValue::new_outgoing_value();
    container.write_data(name, &outgoing)?;
    let body = outgoing.outgoing_value_write_body().map_err(|()| "no body".to_owned())?;
    for _ in 0..times {
        if let Err(error) = body.blocking_write_and_flush(bytes) {
            return Err(match error {
                wasip2::io::streams::StreamError::LastOperationFailed(error) => error.to_debug_string(),
                wasip2::io::streams::StreamError::Closed => "closed".into(),
            });
        }
    }
    drop(body);
    OutgoingValue::finish(outgoing)
}

fn streamed(incoming: IncomingValue) -> Vec<u8> {
    let stream = IncomingValue::incoming_value_consume_async(incoming).unwrap();
    let mut all = Vec::new();
    while let Ok(bytes) = stream.blocking_read(10_000) {
        all.extend_from_slice(&bytes);
    }
    all
}
