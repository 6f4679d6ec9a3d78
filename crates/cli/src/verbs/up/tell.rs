//! Where the apps of `wctl up` answer: all of them are asked side by side, and each is told as soon as it does.

use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use runtime::node;
use serde_json::{Value, json};

use crate::args::LineFormat;
use crate::cluster::{name_of, namespace_of};
use crate::urls::{self, Route};
use crate::{answer, print};

/// Whom to ask, and how to tell.
#[derive(Clone, Copy)]
pub struct How<'a> {
    /// `http://HOST:PORT`
    pub gateway: &'a str,
    /// The node of this process, which can give an app an address of its own.
    pub handle: Option<&'a node::Handle>,
    /// How long an app may take to answer.
    pub at_most: Duration,
    /// Lines for people, or for programs.
    pub format: LineFormat,
}

impl How<'_> {
    /// Tells the URLs of all apps, and whether all of them answer. What does not in time is told in one line for each app.
    pub async fn apps(self, apps: &[Value]) -> bool {
        let mut all: FuturesUnordered<_> = apps.iter().map(|app| self.one(app)).collect();
        let mut whole = true;
        while let Some(answers) = all.next().await {
            whole &= answers;
        }
        whole
    }

    /// The URLs of one app, each once it answers, and then the address where it is alone.
    async fn one(self, app: &Value) -> bool {
        let routes = urls::routes(&app["spec"]);
        let asked = routes.iter().map(|route| async move { (route, answer::wait(self.gateway, route, self.at_most).await) });
        let mut asked: FuturesUnordered<_> = asked.collect();
        let mut silent = Vec::new();
        while let Some((route, answered)) = asked.next().await {
            match answered {
                Ok(status) => self.answers(app, route, status.as_u16()),
                Err(error) => silent.push((route.url(Some(self.gateway)), print::chain(&error))),
            }
        }
        silent.sort();
        if let Some((_, why)) = silent.first() {
            self.silent(app, &silent.iter().map(|(url, _)| url.as_str()).collect::<Vec<_>>(), why);
        }
        // Whoever asks there is led by the app's routes, so without one nothing would answer.
        if !routes.is_empty() {
            self.alone(app).await;
        }
        silent.is_empty()
    }

    fn answers(self, app: &Value, route: &Route, status: u16) {
        match self.format {
            LineFormat::Text => print::line(line(route, self.gateway, status)),
            LineFormat::Json => {
                let (url, curl) = (route.url(Some(self.gateway)), route.curl(self.gateway));
                print::record(
                    &json!({"type": "url", "namespace": namespace_of(app), "app": name_of(app), "url": url, "curl": curl, "status": status}),
                );
            }
        }
    }

    fn silent(self, app: &Value, urls: &[&str], why: &str) {
        let name = name_of(app);
        match self.format {
            LineFormat::Text => {
                print::warn(format_args!("app {name} does not answer at {}: {why}; see `wctl status {name}`", urls.join(", ")));
            }
            LineFormat::Json => {
                print::record(&json!({"type": "silent", "namespace": namespace_of(app), "app": name, "urls": urls, "why": why}));
            }
        }
    }

    async fn alone(self, app: &Value) {
        let Some(handle) = self.handle else { return };
        let (namespace, name) = (namespace_of(app), name_of(app));
        let node::Exposed { address, instead_of } = match handle.expose(namespace, name).await {
            Ok(exposed) => exposed,
            Err(error) => return tracing::debug!("app {name} has no address of its own: {error}"),
        };
        if let Some(port) = instead_of {
            let address = address.port();
            print::warn(format_args!("port {port}, where app {name} alone answered until now, is taken; from now on it is {address}"));
        }
        match self.format {
            LineFormat::Text => {
                let note = print::dim("this app alone, whatever the host");
                print::line(format_args!("{}   {note}", print::bold(format_args!("http://{address}/"))));
            }
            LineFormat::Json => {
                print::record(&json!({"type": "alone", "namespace": namespace, "app": name, "url": format!("http://{address}/")}));
            }
        }
    }
}

/// A URL and a command that asks it, with what to expect of it.
fn line(route: &Route, gateway: &str, status: u16) -> String {
    let note = match status {
        // A comment to a shell too, so that the whole line can be pasted.
        405 => "   # it does not take GET at this very path (405)".to_owned(),
        400.. => format!("   # it has nothing at this very path; add one that it serves ({status})"),
        _ => String::new(),
    };
    format!("{}   {}", print::bold(route.url(Some(gateway))), print::dim(format_args!("{}{note}", route.curl(gateway))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_its_command_gets() {
        let users = Route { host: "shop.localhost".into(), path: "/users".into() };
        let told = |status| console::strip_ansi_codes(&line(&users, "http://127.0.0.1:8080", status)).into_owned();
        let command = "http://shop.localhost:8080/users   curl -H 'Host: shop.localhost' http://127.0.0.1:8080/users";
        assert_eq!(told(200), command);
        assert_eq!(told(404), format!("{command}   # it has nothing at this very path; add one that it serves (404)"));
        assert_eq!(told(405), format!("{command}   # it does not take GET at this very path (405)"));
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
        let how = |at_most| How { gateway: &gateway, handle: None, at_most, format: LineFormat::Json };
        let well = [app("well")];
        assert!(tokio::time::timeout(Duration::from_secs(10), how(Duration::from_secs(60)).apps(&well)).await.unwrap_or(false));
        let both = [app("broken"), app("well")];
        assert!(!how(Duration::from_millis(300)).apps(&both).await, "one of them never answers");
    }
}
