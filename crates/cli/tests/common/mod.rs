//! Drives the real binary on a data folder of its own, on free ports.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The longest that anything in a test may take; a machine that builds other things at the same time is slow.
pub const LONG: Duration = Duration::from_secs(300);

/// A command of the binary under test, in an environment that nothing outside changes.
pub fn wctl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wctl"));
    for name in [
        "KUBECONFIG",
        "WCTL_DATA",
        "WCTL_API",
        "WCTL_HTTP",
        "WCTL_NAMESPACE",
        "WCTL_LOG",
        "WCTL_KEYVALUE",
        "WCTL_BASELINE",
        "DOCKER_CONFIG",
    ] {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// The folder of an example.
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

/// What a command printed on stdout, as text.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a command printed on stderr, as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Fails with everything that was printed, unless the command ended with `code`.
#[track_caller]
pub fn ended(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "stdout:\n{}\nstderr:\n{}", stdout(output), stderr(output));
}

/// One clear sentence on stderr, and nothing else that looks like a panic.
#[track_caller]
pub fn one_sentence(output: &Output) -> String {
    let text = stderr(output);
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{text}");
    assert!(!text.contains("panicked") && !text.contains("RUST_BACKTRACE"), "{text}");
    errors[0].to_owned()
}

/// The component of an example's only service (built once for each test binary).
pub fn component(name: &str) -> PathBuf {
    static BUILT: OnceLock<Mutex<std::collections::HashMap<String, PathBuf>>> = OnceLock::new();
    let mut built = BUILT.get_or_init(Mutex::default).lock().unwrap();
    built.entry(name.to_owned()).or_insert_with(|| build(&example(name).join("app.yaml"))).clone()
}

/// Builds an app of one service and says where its component is.
pub fn build(file: &Path) -> PathBuf {
    let output = wctl().arg("build").arg(file).args(["-o", "json"]).output().unwrap();
    ended(&output, 0);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    PathBuf::from(json["services"][0]["file"].as_str().unwrap())
}

/// A command that does what its arguments say, built once.
pub fn teller() -> &'static Path {
    static BUILT: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BUILT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("src")).unwrap();
        let manifest = "[package]\nname = \"teller\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
        std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        std::fs::write(folder.path().join("src/main.rs"), include_str!("../guests/teller.rs")).unwrap();
        std::fs::write(folder.path().join("app.yaml"), "app: teller\nbuild: .\n").unwrap();
        let built = build(&folder.path().join("app.yaml"));
        (folder, built)
    });
    path
}

/// A process of the binary that runs on a data folder, and what it prints. Killed when it is dropped.
pub struct Process {
    lines: Lines,
    /// What it says in `run.json`.
    pub running: Value,
}

#[derive(Default)]
struct Printed {
    lines: Mutex<Vec<String>>,
    changed: Condvar,
}

impl Printed {
    #[track_caller]
    fn await_line(&self, text: &str) -> String {
        let deadline = Instant::now() + LONG;
        let mut lines = self.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "`{text}` was never printed:\n{}", lines.join("\n"));
            lines = self.changed.wait_timeout(lines, left).unwrap().0;
        }
    }
}

/// A command that goes on printing; killed when it is dropped.
pub struct Lines {
    child: Child,
    printed: Arc<Printed>,
}

impl Lines {
    /// Starts it.
    pub fn of(mut command: Command) -> Lines {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let printed = Arc::new(Printed::default());
        collect(child.stdout.take().unwrap(), printed.clone());
        collect(child.stderr.take().unwrap(), printed.clone());
        Lines { child, printed }
    }

    /// Waits until a line that holds `text` was printed.
    #[track_caller]
    pub fn prints(&self, text: &str) -> String {
        self.printed.await_line(text)
    }

    /// All that was printed so far.
    pub fn everything(&self) -> String {
        self.printed.lines.lock().unwrap().join("\n")
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // The test is over, whatever it still does.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts it, and waits until it says that it runs on `data`.
    pub fn start(command: Command, data: &Path) -> Process {
        let mut process = Process { lines: Lines::of(command), running: Value::Null };
        process.running = process.await_running(data);
        process
    }

    fn await_running(&mut self, data: &Path) -> Value {
        let deadline = Instant::now() + LONG;
        loop {
            if let Ok(text) = std::fs::read(data.join("run.json"))
                && let Ok(json) = serde_json::from_slice::<Value>(&text)
                && json["pid"] == self.lines.child.id()
            {
                return json;
            }
            if let Some(status) = self.lines.child.try_wait().unwrap() {
                panic!("it ended with {status} before it ran:\n{}", self.everything());
            }
            assert!(Instant::now() < deadline, "it does not run:\n{}", self.everything());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until a line that holds `text` was printed.
    #[track_caller]
    pub fn prints(&self, text: &str) -> String {
        self.lines.prints(text)
    }

    /// All that was printed so far.
    pub fn everything(&self) -> String {
        self.lines.everything()
    }
}

/// A `wctl up` that runs, and its data folder.
pub struct Machine {
    pub data: PathBuf,
    pub api: String,
    pub http: String,
    process: Process,
    // Dropped last: the folder goes when the process is gone.
    folder: Option<tempfile::TempDir>,
}

impl Machine {
    /// A new data folder, and `wctl up` with these files on it.
    pub fn up(files: &[&Path]) -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let mut machine = Machine::on(folder.path(), files);
        machine.folder = Some(folder);
        machine
    }

    /// A new data folder, and `wctl up` with these variables on it.
    pub fn up_with(variables: &[(&str, &str)]) -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let mut command = wctl();
        command.envs(variables.iter().copied());
        let mut machine = Machine::by(command, folder.path(), &[]);
        machine.folder = Some(folder);
        machine
    }

    /// `wctl up` on a data folder.
    pub fn on(data: &Path, files: &[&Path]) -> Machine {
        Machine::by(wctl(), data, files)
    }

    fn by(mut command: Command, data: &Path, files: &[&Path]) -> Machine {
        command.arg("--data").arg(data).args(["--api", "127.0.0.1:0", "--http", "127.0.0.1:0", "up"]).args(files);
        let process = Process::start(command, data);
        let text = |field: &str| process.running[field].as_str().unwrap_or_default().to_owned();
        Machine { data: data.to_owned(), api: text("api"), http: text("http"), process, folder: None }
    }

    /// The same folder, once the process has ended.
    pub fn again(mut self, files: &[&Path]) -> Machine {
        let folder = self.folder.take();
        let data = self.data.clone();
        drop(self);
        let mut machine = Machine::on(&data, files);
        machine.folder = folder;
        machine
    }

    /// Waits until a line that holds `text` was printed.
    #[track_caller]
    pub fn prints(&self, text: &str) -> String {
        self.process.prints(text)
    }

    /// All that was printed so far.
    pub fn everything(&self) -> String {
        self.process.everything()
    }

    /// Its process.
    pub fn pid(&self) -> u64 {
        self.process.running["pid"].as_u64().unwrap()
    }

    /// A verb on this machine.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = wctl();
        command.arg("--data").arg(&self.data).args(args);
        command
    }

    /// A verb that must succeed; its stdout.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        assert!(
            output.status.success(),
            "wctl {args:?}\nstdout:\n{}\nstderr:\n{}\nup:\n{}",
            stdout(&output),
            stderr(&output),
            self.everything()
        );
        stdout(&output)
    }

    /// A verb that must succeed and print JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(&[args, &["-o", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in:\n{text}"))
    }

    /// A verb that must fail with exit code 1 and one sentence; the sentence.
    #[track_caller]
    pub fn fails(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        ended(&output, 1);
        one_sentence(&output)
    }

    /// Writes an app file into the data folder's neighbourhood and deploys it.
    #[track_caller]
    pub fn deploy(&self, yaml: &str) -> String {
        let file = self.data.join("test-app.yaml");
        std::fs::write(&file, yaml).unwrap();
        self.ok(&["deploy", file.to_str().unwrap(), "--wait"])
    }

    /// Stops it as `wctl down` does, and waits for its end.
    #[track_caller]
    pub fn down(&mut self) {
        self.ok(&["down"]);
        let status = self.process.lines.child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.everything());
        assert!(!self.data.join("run.json").exists());
    }

    /// Ends it with no chance to say goodbye.
    pub fn kill(&mut self) {
        self.process.lines.child.kill().unwrap();
        self.process.lines.child.wait().unwrap();
    }

    /// A request through the gateway.
    pub async fn ask(&self, method: reqwest::Method, host: &str, path: &str, body: Option<Value>) -> (u16, String) {
        let request = client().request(method, format!("{}{path}", self.http)).header("host", host);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = request.send().await.unwrap_or_else(|error| panic!("{error:?}\n{}", self.everything()));
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// A GET through the gateway.
    pub async fn get(&self, host: &str, path: &str) -> (u16, String) {
        self.ask(reqwest::Method::GET, host, path, None).await
    }
}

/// An HTTP client that knows no proxy.
pub fn client() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Connections belong to the runtime of one test, so none is kept for the next.
        reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(Duration::from_secs(60)).build().unwrap()
    })
}

fn collect(stream: impl std::io::Read + Send + 'static, printed: Arc<Printed>) {
    use std::io::BufRead;
    std::thread::spawn(move || {
        for line in std::io::BufReader::new(stream).lines().map_while(Result::ok) {
            printed.lines.lock().unwrap().push(line);
            printed.changed.notify_all();
        }
    });
}
