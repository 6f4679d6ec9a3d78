"""How the official WASI test suite calls `wctl run`: an adapter for its test runner. WCTL names the program."""

import os
import subprocess

WCTL = os.environ.get("WCTL", "wctl")


def get_name():
    return "wctl"


def get_version():
    told = subprocess.run([WCTL, "--version"], capture_output=True, check=True, text=True)
    return told.stdout.split()[-1]


def get_wasi_versions():
    return ["wasm32-wasip1", "wasm32-wasip3"]


def get_wasi_worlds():
    return ["wasi:cli/command", "wasi:http/service"]


def get_timeout_seconds():
    # The first run of a component compiles it.
    return float(os.environ.get("WASI_TEST_TIMEOUT", "60"))


def compute_argv(test_path, args_env_root, proposals, wasi_world, wasi_version):
    args, env, root = args_env_root
    run = [WCTL, "--http", "127.0.0.1:0", "run"]
    for name, value in env.items():
        run += ["--env", f"{name}={value}"]
    if root:
        run += ["--dir", f"{root}::/"]
    if "http" in proposals or "sockets" in proposals:
        run += ["--network", "host"]
    run += [str(test_path), *args]
    # The runner looks for the address of a server on stderr, and wctl prints it on stdout.
    return ["sh", "-c", 'exec "$@" >&2', "sh", *run] if wasi_world == "wasi:http/service" else run
