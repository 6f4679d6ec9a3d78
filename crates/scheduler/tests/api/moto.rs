//! An S3-compatible store on loopback: moto, which `scripts/setup` installs.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use artifact::blobs::Bucket;

/// The process, which ends with the test.
pub struct S3 {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl S3 {
    /// Starts it with an empty bucket `kept`; says so and answers nothing where it is missing, unless WCTL_REQUIRE_TOOLS is set.
    pub async fn start() -> Option<S3> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("moto_server");
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let child = match command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => child,
            Err(error) => {
                assert!(std::env::var_os("WCTL_REQUIRE_TOOLS").is_none(), "moto_server is missing: {error}; run scripts/setup");
                eprintln!("skipped: moto_server is not installed (scripts/setup installs it)");
                return None;
            }
        };
        let folder = tempfile::tempdir().unwrap();
        let credentials = "[default]\naws_access_key_id = ours\naws_secret_access_key = hush-4471\nregion = us-east-1\n";
        std::fs::write(folder.path().join("credentials"), credentials).unwrap();
        let s3 = S3 { child, port, folder };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (http, began) = (reqwest::Client::new(), Instant::now());
        while http.put(format!("http://127.0.0.1:{port}/kept")).send().await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "moto_server does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(s3)
    }

    /// The part of the bucket below a prefix.
    pub fn bucket(&self, prefix: &str) -> Bucket {
        let url = format!("s3://kept/{prefix}?endpoint=http://127.0.0.1:{}", self.port);
        let credentials = self.folder.path().join("credentials").to_str().unwrap().to_owned();
        Bucket::with(&url, |name| (name == "AWS_SHARED_CREDENTIALS_FILE").then(|| credentials.clone())).unwrap()
    }

    /// Ends it: from now on nobody answers at its port.
    pub fn stop(&mut self) {
        // What has ended cannot be ended again.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.stop();
    }
}
