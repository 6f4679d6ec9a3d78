//! Against Debian's docker-registry and skopeo, both directions. Skipped with a word where they are missing, unless WCTL_REQUIRE_TOOLS=1.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use artifact::blobs::Blobs;
use artifact::registry::Kind;
use artifact::{Reference, server};

use crate::support::*;

/// Whether all of these programs are here.
fn have(programs: &[&str]) -> bool {
    let missing: Vec<&&str> = programs.iter().filter(|program| Command::new(program).arg("--version").output().is_err()).collect();
    let required = std::env::var_os("WCTL_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    assert!(missing.is_empty() || !required, "{missing:?} are required");
    if !missing.is_empty() {
        println!("skipped: {missing:?} are not installed");
    }
    missing.is_empty()
}

/// Debian's registry on a loopback port; ends with the test.
struct DockerRegistry {
    child: Child,
    address: SocketAddr,
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn docker_registry(folder: &Path) -> DockerRegistry {
    let config = folder.join("config.yml");
    let text = format!(
        "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n",
        folder.join("data").display()
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new("docker-registry");
    let mut child = command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    // It chooses its port and says so: a port that this test had chosen could be another's by the time the registry asks for it.
    let address = lines.find_map(|line| line.split_once("listening on ")?.1.split(['"', ' ']).next()?.parse().ok());
    let registry = DockerRegistry { child, address: address.expect("docker-registry says where it listens") };
    // A full pipe would stop it.
    std::thread::spawn(move || lines.for_each(drop));
    registry
}

async fn skopeo(arguments: &[&str]) -> String {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let run = move || Command::new("skopeo").args(["--insecure-policy"]).args(&arguments).output().unwrap();
    let done = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Our registry on a loopback port.
async fn ours(folder: &Path) -> SocketAddr {
    serve(server::router(Blobs::open(folder).unwrap())).await
}

#[tokio::test]
async fn dockers_registry_takes_and_gives_our_artifacts() {
    if !have(&["docker-registry"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let registry = docker_registry(folder.path());
    let reference: Reference = format!("{}/acme/hello:1", registry.address).parse().unwrap();
    let packed = packed();
    let client = client();
    assert_eq!(client.push(&reference, &packed).await.unwrap(), packed.digest);
    assert_eq!(client.push(&reference, &packed).await.unwrap(), packed.digest, "a second push finds everything there");
    let resolved = client.resolve(&reference).await.unwrap();
    assert_eq!((resolved.digest, resolved.kind), (packed.digest, Kind::Component));
    assert_eq!(client.pull(&reference.pinned(packed.digest)).await.unwrap().wasm, packed.layer);
    // Registries of this age have no referrers API (R22).
    assert!(client.referrers(&reference, &packed.digest).await.unwrap().is_empty());
}

#[tokio::test]
async fn skopeo_copies_between_dockers_registry_and_ours_both_ways() {
    if !have(&["docker-registry", "skopeo"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let theirs = docker_registry(folder.path());
    let ours = ours(&folder.path().join("ours")).await;
    let packed = packed();
    let client = client();
    client.push(&format!("{}/acme/hello:1", theirs.address).parse().unwrap(), &packed).await.unwrap();
    let docker = |address: SocketAddr, rest: &str| format!("docker://{address}/{rest}");
    let copy = async |from: String, to: String| skopeo(&["copy", "--src-tls-verify=false", "--dest-tls-verify=false", &from, &to]).await;
    copy(docker(theirs.address, "acme/hello:1"), docker(ours, "deep/er/hello:2")).await;
    let artifact = client.pull(&format!("{ours}/deep/er/hello:2").parse().unwrap()).await.unwrap();
    assert_eq!((artifact.digest, artifact.wasm), (packed.digest, packed.layer.clone()));
    copy(docker(ours, "deep/er/hello:2"), docker(theirs.address, "back/hello:3")).await;
    let back = client.pull(&format!("{}/back/hello:3", theirs.address).parse().unwrap()).await.unwrap();
    assert_eq!((back.digest, back.wasm), (packed.digest, packed.layer));
}

#[tokio::test]
async fn skopeo_reads_lists_and_deletes_in_our_registry() {
    if !have(&["skopeo"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let ours = ours(folder.path()).await;
    let packed = packed();
    client().push(&format!("{ours}/acme/hello:1").parse().unwrap(), &packed).await.unwrap();
    let image = format!("docker://{ours}/acme/hello");
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("{image}:1")]).await;
    assert_eq!(raw.as_bytes(), &packed.manifest[..]);
    assert!(skopeo(&["list-tags", "--tls-verify=false", &image]).await.contains("\"1\""));
    let layout = format!("dir:{}", folder.path().join("copy").display());
    skopeo(&["copy", "--src-tls-verify=false", &format!("{image}:1"), &layout]).await;
    skopeo(&["copy", "--dest-tls-verify=false", &layout, &format!("{image}:2")]).await;
    assert_eq!(client().resolve(&format!("{ours}/acme/hello:2").parse().unwrap()).await.unwrap().digest, packed.digest);
    skopeo(&["delete", "--tls-verify=false", &format!("{image}:1")]).await;
    assert!(client().resolve(&format!("{ours}/acme/hello:1").parse().unwrap()).await.is_err());
}
