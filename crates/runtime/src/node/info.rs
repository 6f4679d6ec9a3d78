//! What this machine and its wctl are, as `kubectl describe node` tells it.

use serde_json::{Value, json};
use sysinfo::System;

/// The wasmtime that is built in; a test looks it up in the lock file.
const WASMTIME: &str = "48.0.8";

/// A Node's `status.nodeInfo`. What the system does not tell is left empty, as clients want every field.
pub fn info() -> Value {
    json!({
        "architecture": arch(), "operatingSystem": os(),
        "osImage": System::long_os_version().unwrap_or_else(|_| os().to_owned()),
        "kernelVersion": System::kernel_version().unwrap_or_default(),
        // The machine's own id is not for those who may read nodes.
        "machineID": "", "systemUUID": "", "bootID": boot(),
        "containerRuntimeVersion": format!("wasmtime://{WASMTIME}"),
        "kubeletVersion": concat!("v", env!("CARGO_PKG_VERSION")), "kubeProxyVersion": "",
    })
}

/// Another one after each boot; only Linux has it.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// As Kubernetes and container images name it.
pub fn os() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    }
}

/// As Kubernetes and container images name it.
pub fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_says_what_it_is() {
        let info = info();
        for field in ["architecture", "operatingSystem", "osImage", "kernelVersion", "kubeletVersion"] {
            assert!(info[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {info}");
        }
        assert_eq!(info["bootID"] == "", cfg!(not(target_os = "linux")), "{info}");
    }

    #[test]
    fn the_wasmtime_is_the_one_that_is_locked() {
        let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).unwrap();
        assert!(lock.contains(&format!("name = \"wasmtime\"\nversion = \"{WASMTIME}\"\n")), "say here which one Cargo.lock has");
    }
}
