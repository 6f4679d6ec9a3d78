//! Where the apps of `wctl up` answer: all of them are asked side by side, and each is told as soon as it does.

use std::time::Duration;

use anyhow::Result;
use futures::stream::{FuturesUnordered, StreamExt};
use runtime::node;
use serde_json::Value;

use crate::cluster::{name_of, namespace_of};
use crate::urls::{self, Route};
use crate::{answer, print};

/// Tells the URLs of all apps, and whether all of them answer. What does not in time is told in one line for each app.
pub async fn apps(apps: &[Value], gateway: &str, handle: Option<&node::Handle>, at_most: Duration) -> bool {
    let mut all: FuturesUnordered<_> = apps.iter().map(|app| one(app, gateway, handle, at_most)).collect();
    let mut whole = true;
    while let Some(answers) = all.next().await {
        whole &= answers;
    }
    whole
}

/// The URLs of one app, each once it answers, and then the address where it is alone.
async fn one(app: &Value, gateway: &str, handle: Option<&node::Handle>, at_most: Duration) -> bool {
    let routes = urls::routes(&app["spec"]);
    let asked = routes.iter().map(|route| async move { (route, answer::wait(gateway, route, at_most).await) });
    let mut asked: FuturesUnordered<_> = asked.collect();
    let mut silent = Vec::new();
    while let Some((route, answered)) = asked.next().await {
        match answered {
            Ok(status) => print::line(answers(route, gateway, status.as_u16())),
            Err(error) => silent.push((route.url(Some(gateway)), print::chain(&error))),
        }
    }
    silent.sort();
    if let Some((_, why)) = silent.first() {
        let urls = silent.iter().map(|(url, _)| url.as_str()).collect::<Vec<_>>().join(", ");
        print::warn(format_args!("app {} does not answer at {urls}: {why}; see `wctl status {}`", name_of(app), name_of(app)));
    }
    // Whoever asks there is led by the app's routes, so without one nothing would answer.
    if let (Some(handle), false) = (handle, routes.is_empty())
        && let Some(line) = alone(app, handle).await
    {
        print::line(line);
    }
    silent.is_empty()
}

/// A URL and a command that asks it, with what to expect of it.
fn answers(route: &Route, gateway: &str, status: u16) -> String {
    let note = match status {
        // A comment to a shell too, so that the whole line can be pasted.
        405 => "   # it does not take GET at this very path",
        400.. => "   # it has nothing at this very path; add one that it serves",
        _ => "",
    };
    let status = if note.is_empty() { String::new() } else { format!(" ({status})") };
    format!("{}   {}", print::bold(route.url(Some(gateway))), print::dim(format_args!("{}{note}{status}", route.curl(gateway))))
}

async fn alone(app: &Value, handle: &node::Handle) -> Option<String> {
    let address: Result<_, _> = handle.expose(namespace_of(app), name_of(app)).await;
    match address {
        Ok(address) => {
            Some(format!("{}   {}", print::bold(format_args!("http://{address}/")), print::dim("this app alone, whatever the host")))
        }
        Err(error) => {
            tracing::debug!("app {} has no address of its own: {error}", name_of(app));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_its_command_gets() {
        let users = Route { host: "shop.localhost".into(), path: "/users".into() };
        let line = |status| console::strip_ansi_codes(&answers(&users, "http://127.0.0.1:8080", status)).into_owned();
        let command = "http://shop.localhost:8080/users   curl -H 'Host: shop.localhost' http://127.0.0.1:8080/users";
        assert_eq!(line(200), command);
        assert_eq!(line(404), format!("{command}   # it has nothing at this very path; add one that it serves (404)"));
        assert_eq!(line(405), format!("{command}   # it does not take GET at this very path (405)"));
    }

    #[tokio::test]
    async fn an_app_that_is_not_there_holds_up_no_other() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        // A gateway that knows one app.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let read = stream.read(&mut request).await.unwrap_or(0);
                let well = String::from_utf8_lossy(&request[..read]).contains("well.localhost");
                let status = if well { "200 OK" } else { "503 Service Unavailable" };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let app = |name: &str| serde_json::json!({"metadata": {"name": name}, "spec": {"services": {name: {"route": format!("{name}.localhost")}}}});
        let patience = Duration::from_millis(300);
        let well = [app("well")];
        assert!(tokio::time::timeout(patience, apps(&well, &gateway, None, Duration::from_secs(60))).await.is_ok());
        let both = [app("broken"), app("well")];
        assert!(!apps(&both, &gateway, None, patience).await, "one of them never answers");
    }
}
