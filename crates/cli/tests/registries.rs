//! Other registries: Debian's docker-registry behind a password. Skipped with a word where it is missing, unless WCTL_REQUIRE_TOOLS=1.

mod common;

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{Machine, component, ended, one_sentence, stderr, stdout};

/// `ali:open-sesame`, as htpasswd writes it.
const USERS: &str = "ali:$2b$05$abcdefghijklmnopqrstuutXu9KzOt.1yBoZUeFWoT/914/JfszCO\n";

struct Registry {
    child: Child,
    address: SocketAddr,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn registry(folder: &Path) -> Option<Registry> {
    if Command::new("docker-registry").arg("--version").output().is_err() {
        assert!(std::env::var_os("WCTL_REQUIRE_TOOLS").is_none_or(|value| value != "1"), "docker-registry is required");
        println!("skipped: docker-registry is not installed");
        return None;
    }
    std::fs::write(folder.join("users"), USERS).unwrap();
    // A free port may be taken by somebody else before the registry has it, so it is tried again.
    for _ in 0..5 {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (config, folder) = (folder.join("config.yml"), folder.display());
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\nhttp: {{addr: '{address}'}}\nauth: {{htpasswd: {{realm: test, path: {folder}/users}}}}\n"
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new("docker-registry").arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut registry = Registry { child, address };
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(30) && registry.child.try_wait().unwrap().is_none() {
            if TcpStream::connect(address).is_ok() {
                return Some(registry);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    panic!("docker-registry does not start");
}

fn login(machine: &Machine, host: &str, password: &str) -> Output {
    let mut command = machine.command(&["login", host, "--username", "ali", "--password-stdin"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_opens_a_registry_to_pushes_pulls_and_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let Some(registry) = registry(folder.path()) else { return };
    let host = registry.address.to_string();
    let (wasm, image) = (component("hello"), format!("{host}/acme/hello:1"));
    let wasm = wasm.to_str().unwrap();
    // The server runs before anybody logs in: it must hear of the login.
    let machine = Machine::up(&[]);
    assert!(machine.fails(&["push", wasm, &image]).contains(&format!("run `wctl login {host}`")));
    let output = login(&machine, &host, "open-barley\n");
    ended(&output, 1);
    assert!(one_sentence(&output).contains("does not take this user name and password, so nothing was kept"), "{}", stderr(&output));
    assert!(!machine.data.join("credentials.json").exists());
    assert!(machine.fails(&["push", wasm, &image]).contains("wctl login"));

    let output = login(&machine, &format!("https://{host}/"), "open-sesame\n");
    ended(&output, 0);
    assert_eq!(stdout(&output), format!("logged in to {host} as ali\n"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(machine.data.join("credentials.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "nobody else may read the password");
    }
    machine.ok(&["push", wasm, &image]);
    let back = machine.data.join("back.wasm");
    machine.ok(&["pull", &image, back.to_str().unwrap()]);
    assert_eq!(std::fs::read(&back).unwrap(), std::fs::read(wasm).unwrap());
    machine.deploy(&format!("app: far\nimage: {image}\nroute: far.localhost\n"));
    assert_eq!(machine.get("far.localhost", "/").await, (200, "Hello from wctl!\n".into()));
    assert!(machine.fails(&["pull", &format!("{host}/acme/hello:2")]).contains("acme/hello:2"));
    assert!(!machine.everything().contains("open-sesame"), "{}", machine.everything());
}
