//! Which server a verb talks to, and what becomes of those that are not ours.

mod common;

use common::{Machine, component, ended, one_sentence, stderr, stdout, wctl};

fn hello() -> String {
    format!("app: hello\nimage: {}\nroute: hello.localhost\n", component("hello").display())
}

#[test]
fn kubeconfig_names_the_server_unless_a_folder_is_named() {
    let machine = Machine::up(&[]);
    let home = tempfile::tempdir().unwrap();
    let elsewhere = |args: &[&str]| {
        let mut command = wctl();
        command.env("KUBECONFIG", machine.data.join("kubeconfig")).env("HOME", home.path()).args(args).output().unwrap()
    };
    let output = elsewhere(&["get", "nodes", "-o", "name"]);
    ended(&output, 0);
    assert!(stdout(&output).starts_with("node/"), "{}", stdout(&output));
    let file = home.path().join("app.yaml");
    std::fs::write(&file, hello()).unwrap();
    let output = elsewhere(&["deploy", "--wait", file.to_str().unwrap()]);
    ended(&output, 0);
    // The gateway of another folder is none of this one's business.
    assert!(stdout(&output).contains("http://hello.localhost/\n"), "{}", stdout(&output));
    let folder = home.path().join("folder");
    let output = elsewhere(&["--data", folder.to_str().unwrap(), "get", "nodes"]);
    ended(&output, 1);
    assert!(one_sentence(&output).contains("there is no server yet"), "{}", stderr(&output));
    // Of several, those that are not there are passed over, as kubectl does.
    let several = std::env::join_paths([home.path().join("nowhere"), machine.data.join("kubeconfig")]).unwrap();
    let output = wctl().env("KUBECONFIG", several).env("HOME", home.path()).args(["get", "apps", "-o", "name"]).output().unwrap();
    ended(&output, 0);
    assert_eq!(stdout(&output), "app.wctl.dev/hello\n", "{}", stderr(&output));
    let output = elsewhere(&["--namespace", "elsewhere", "status"]);
    ended(&output, 0);
    assert!(stderr(&output).contains("no apps in namespace elsewhere"), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_ours_is_never_written_to() {
    // Anything that answers HTTP will do: it is asked for its version, and gets nothing else.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let log = asked.clone();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = listener.accept().await {
            let log = log.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 8192];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
                    log.lock().unwrap().push(text.lines().next().unwrap_or_default().to_owned());
                    let body = "{\"major\":\"1\",\"minor\":\"33\",\"platform\":\"linux/amd64\"}";
                    let answer =
                        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("kubeconfig"), kubeconfig(&format!("http://{address}"))).unwrap();
    let app = home.path().join("app.yaml");
    std::fs::write(&app, hello()).unwrap();
    for args in
        [&["deploy", app.to_str().unwrap()][..], &["delete", "app", "x"], &["scale", "x", "--replicas", "1"], &["rollout", "restart", "x"]]
    {
        let output = wctl().arg("--data").arg(home.path()).args(args).output().unwrap();
        ended(&output, 1);
        let sentence = one_sentence(&output);
        assert!(sentence.contains("not a wctl server"), "{args:?}: {sentence}");
    }
    let only = asked.lock().unwrap().clone();
    assert!(!only.is_empty() && only.iter().all(|line| line.starts_with("GET /version")), "{only:?}");
    let output = wctl().arg("--data").arg(home.path()).args(["logs", "x"]).output().unwrap();
    ended(&output, 1);
    assert!(one_sentence(&output).contains("is it a wctl server?") && stdout(&output).is_empty(), "{}", stdout(&output));
}

fn kubeconfig(url: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{{name: a, cluster: {{server: '{url}'}}}}]\nusers: [{{name: a, user: {{token: t}}}}]\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n"
    )
}

/// What listens at an address that is no wctl server's: it answers the same to everything.
fn answering(answer: &'static str) -> std::net::SocketAddr {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buffer = [0; 4096];
            // Whoever goes away is told nothing.
            if stream.read(&mut buffer).is_ok() {
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    address
}

#[test]
fn other_servers_are_told_in_words_of_ours() {
    const REGISTRY: &str =
        "HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\ncontent-length: 19\r\nconnection: close\r\n\r\n404 page not found\n";
    const PAGE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 14\r\nconnection: close\r\n\r\n<html> </html>";
    let home = tempfile::tempdir().unwrap();
    let (registry, page) = (answering(REGISTRY), answering(PAGE));
    for (url, told) in [
        (format!("http://{registry}"), "answers 404, but not as a wctl server does"),
        (format!("http://{page}"), "answers, but not as a wctl server does"),
        (format!("https://{page}"), "does not speak TLS, so it is no wctl server"),
    ] {
        std::fs::write(home.path().join("kubeconfig"), kubeconfig(&url)).unwrap();
        for verb in [&["get", "app", "x"][..], &["get", "pods"], &["scale", "x", "--replicas", "1"]] {
            let output = wctl().arg("--data").arg(home.path()).args(verb).output().unwrap();
            ended(&output, 1);
            let sentence = one_sentence(&output);
            assert!(sentence.contains(told) && sentence.ends_with("name another with --data, --api or KUBECONFIG"), "{verb:?}: {sentence}");
            assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        }
    }
}
