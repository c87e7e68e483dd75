//! What a build takes from elsewhere and gives elsewhere: caches that travel, and a forwarded SSH agent.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use support::registry::Registry;
use support::{Docker, busybox};

const APP: &str = "FROM scratch AS build\nWORKDIR /src\nCOPY code .\nFROM scratch\nWORKDIR /app\nCOPY --from=build /src/code app\nCOPY other .\n";

fn machine(registry: &Registry) -> Docker {
    let mut docker = Docker::new();
    docker.env.insert("BIGBEN_ENDPOINTS".to_owned(), format!("docker.io=http://{}", registry.address));
    docker.write("code", "the code").write("other", "something else");
    docker
}

/// Builds and tells which steps ran, and which did not.
fn steps(docker: &Docker, args: &[&str]) -> (usize, usize, String) {
    let done = docker.build(APP, &[&["-t", "me/app:1"], args].concat());
    assert_eq!(done.code, 0, "{}", done.err);
    let (ran, cached) = Docker::steps(&done.err);
    (ran.iter().filter(|s| is_step(s)).count(), cached.iter().filter(|s| is_step(s)).count(), done.err)
}

fn is_step(name: &str) -> bool {
    name.starts_with("COPY") || name.starts_with("WORKDIR")
}

#[test]
fn another_machine_builds_from_the_cache_of_this_one() {
    let registry = Registry::start();
    let first = machine(&registry);
    let dir = tempfile::tempdir().unwrap();
    let local = format!("type=local,dest={}", dir.path().join("cache").display());
    let to = ["--cache-to", "type=registry,ref=me/app:cache,mode=max", "--cache-to", local.as_str()];
    let (ran, cached, _) = steps(&first, &to);
    assert_eq!((ran, cached), (5, 0));
    let digest = first.digest("me/app:1");

    let second = machine(&registry);
    let (ran, cached, told) = steps(&second, &["--cache-from", "me/app:cache"]);
    assert_eq!((ran, cached), (0, 5), "{told}");
    assert_eq!(second.digest("me/app:1"), digest);
    // Once brought here it is this machine's own.
    assert_eq!(steps(&second, &[]).0, 0);
    // Only what changed is made anew.
    second.write("other", "changed");
    let (ran, cached, told) = steps(&second, &["--cache-from", "me/app:cache"]);
    assert_eq!((ran, cached), (1, 4), "{told}");

    // A directory, without the steps of the stage that is not in the image.
    let third = machine(&registry);
    let from = format!("type=local,src={}", dir.path().join("cache").display());
    let (ran, cached, told) = steps(&third, &["--cache-from", &from]);
    assert_eq!(cached, 3, "{told}");
    assert_eq!(ran, 2, "{told}");
    assert_eq!(third.digest("me/app:1"), digest);

    // Nothing is taken where it is not wanted, and a cache that is not there costs nothing but time.
    let fourth = machine(&registry);
    assert_eq!(steps(&fourth, &["--no-cache", "--cache-from", "me/app:cache"]).0, 5);
    let fifth = machine(&registry);
    let (ran, _, told) = steps(&fifth, &["--cache-from", "me/app:none"]);
    assert_eq!(ran, 5);
    assert!(told.contains("importing cache manifest from docker.io/me/app:none") && told.contains("ERROR"), "{told}");
}

#[test]
fn an_image_carries_its_own_cache() {
    let registry = Registry::start();
    let first = machine(&registry);
    steps(&first, &["--cache-to", "type=inline", "--push"]);
    let second = machine(&registry);
    let (ran, cached, told) =
        steps(&second, &["--cache-to", "type=inline", "--cache-from", "type=registry,ref=me/app:1"]);
    assert_eq!((ran, cached), (2, 3), "{told}");
    assert_eq!(second.digest("me/app:1"), first.digest("me/app:1"));
}

#[test]
fn a_damaged_cache_spoils_nothing() {
    let registry = Registry::start();
    let first = machine(&registry);
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("cache");
    steps(&first, &["--cache-to", &format!("type=local,dest={},mode=max", at.display())]);
    for blob in std::fs::read_dir(at.join("blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        // Layers are not JSON.
        let bytes = std::fs::read(&path).unwrap();
        if !bytes.starts_with(b"{") {
            std::fs::write(&path, vec![7; bytes.len()]).unwrap();
        }
    }
    let second = machine(&registry);
    let (ran, _, told) = steps(&second, &["--cache-from", &format!("type=local,src={}", at.display())]);
    assert_eq!(ran, 5, "{told}");
    assert_eq!(second.digest("me/app:1"), first.digest("me/app:1"));
}

#[test]
fn kinds_that_are_not_supported_are_named() {
    let docker = Docker::new();
    let wrong = docker.build("FROM scratch\n", &["--cache-from", "type=s3,region=x"]).fails(1);
    assert!(wrong.contains("region is not supported"), "{wrong}");
    let wrong = docker.build("FROM scratch\n", &["--cache-to", "type=azblob"]).fails(1);
    assert!(wrong.contains("type azblob is not supported; use registry, local, inline or gha"), "{wrong}");
    docker.write("key", "-----BEGIN OPENSSH PRIVATE KEY-----");
    let wrong = docker.build("FROM scratch\n", &["--ssh", "default=key"]).fails(1);
    assert!(wrong.contains("key cannot be used"), "{wrong}");
    let wrong = docker.build("FROM scratch\n", &["--ssh", "default=nothing"]).fails(1);
    assert!(wrong.contains("is neither the socket of an SSH agent nor a key file"), "{wrong}");
}

/// An SSH agent with one key; ends with the test.
struct Agent {
    process: std::process::Child,
    dir: tempfile::TempDir,
    fingerprint: String,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Agent {
    fn start() -> Option<Agent> {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent");
        let started = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = started else {
            assert!(std::env::var_os("CI").is_none(), "CI needs openssh-client");
            eprintln!("there is no ssh-agent on this machine: not judged");
            return None;
        };
        let mut agent = Agent { process, dir, fingerprint: String::new() };
        let key = agent.dir.path().join("key");
        let run = |program: &str, args: &[&str]| {
            let output = Command::new(program).args(args).arg(&key).env("SSH_AUTH_SOCK", &socket).output().unwrap();
            (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        assert!(run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f"]).0);
        let begun = std::time::Instant::now();
        while !run("ssh-add", &["-q"]).0 {
            assert!(begun.elapsed().as_secs() < 120, "the agent takes no key");
            std::thread::yield_now();
        }
        let shown = run("ssh-keygen", &["-l", "-f"]).1;
        agent.fingerprint = shown.split(' ').nth(1).unwrap().to_owned();
        Some(agent)
    }

    fn socket(&self) -> String {
        self.dir.path().join("agent").to_string_lossy().into_owned()
    }
}

/// Puts a program of this machine and its libraries below `root` in the context.
fn bring(docker: &Docker, program: &str) {
    let path = format!("/usr/bin/{program}");
    let listed = Command::new("ldd").arg(&path).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
    for file in libraries.chain([path.as_str()]) {
        docker.write_mode(&format!("root{file}"), std::fs::read(Path::new(file)).unwrap(), 0o755);
    }
}

#[test]
fn a_step_uses_the_ssh_agent_and_the_image_does_not_keep_it() {
    let (Some(busybox), Some(agent)) = (busybox(), Agent::start()) else { return };
    let mut docker = Docker::new();
    bring(&docker, "ssh-add");
    docker.write_mode("busybox", std::fs::read(busybox).unwrap(), 0o755);
    let base = "FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/busybox\nCOPY root /\nRUN [\"/bin/busybox\", \"mkdir\", \"/tmp\"]\n";
    let text = format!("{base}RUN --mount=type=ssh ssh-add -l > /keys && echo $SSH_AUTH_SOCK > /socket\n");
    docker.build(&text, &["-t", "a", "--ssh", &format!("default={}", agent.socket())]).ok();
    let out = docker.dir.path().join("out");
    let export = format!("type=local,dest={}", out.display());
    docker.build(&text, &["-o", &export, "--ssh", &format!("default={}", agent.socket())]).ok();
    let keys = std::fs::read_to_string(out.join("keys")).unwrap();
    assert!(keys.contains(&agent.fingerprint), "{keys}");
    assert_eq!(std::fs::read_to_string(out.join("socket")).unwrap(), "/run/buildkit/ssh_agent.0\n");
    assert!(!out.join("run/buildkit/ssh_agent.0").exists(), "the socket is not in the image");
    // From the environment, under a name of its own, with a mode and place.
    docker.env.insert("SSH_AUTH_SOCK".to_owned(), agent.socket());
    let named = format!("{base}RUN --mount=type=ssh,id=mine,target=/agent,required SSH_AUTH_SOCK=/agent ssh-add -l\n");
    docker.build(&named, &["--ssh", "mine"]).ok();
    let wrong = docker.build(&named.replace("ssh-add -l", "ssh-add -L"), &[]).fails(1);
    assert!(wrong.contains("mine") && wrong.contains("--ssh"), "{wrong}");
    // For somebody who is not root, as the mount says.
    let other = format!(
        "{base}USER 1000:1000\nRUN --mount=type=ssh,uid=1000,gid=1000,mode=0660 ssh-add -l && test \"$(busybox stat -c %u:%g:%a $SSH_AUTH_SOCK)\" = 1000:1000:660\n"
    );
    docker.build(&other, &["--ssh", "default"]).ok();
    // A step that did not ask for it does not see it.
    let wrong = docker.build(&format!("{base}RUN ssh-add -l\n"), &["--ssh", "default"]).fails(1);
    assert!(wrong.contains("Could not open a connection to your authentication agent"), "{wrong}");
}
