//! Jobs in containers, services and Docker actions on the real kernel: as whoever runs the tests, and as an ordinary user when that is
//! root. It has a `main` of its own because containers are started by this program under another name.
//!
//! Images are made from a static busybox; without one the tests say so and do nothing, except in CI, where they fail.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use actions::model::{Conclusion, Run};
use builder::docker::Stdio;
use support::Bench;

/// A static busybox of this machine.
fn busybox() -> Option<PathBuf> {
    let found = ["/usr/bin/busybox", "/bin/busybox", "/usr/sbin/busybox"].into_iter().map(PathBuf::from);
    let is_static = |path: &PathBuf| {
        std::process::Command::new("ldd").arg(path).output().is_ok_and(|output| {
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).contains("not a dynamic")
        })
    };
    found.into_iter().find(|path| path.is_file() && is_static(path))
}

/// A bench whose jobs find the images `box:1` (a shell and tools), and `web:1` (answers on port 80 with what it is told).
async fn bench(files: &[(&str, &str)]) -> Bench {
    let bench = Bench::new(files).await;
    let state = bench.dir.path().join("docker");
    bench.host.env.lock().unwrap().extend([
        ("BIGBEN_DOCKER_STATE".to_owned(), state.to_string_lossy().into_owned()),
        ("BIGBEN_ENDPOINTS".to_owned(), "*=http://127.0.0.1:1".to_owned()),
    ]);
    let context = bench.dir.path().join("context");
    let bin = context.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::copy(busybox().unwrap(), bin.join("busybox")).unwrap();
    for tool in [
        "sh", "tail", "cat", "echo", "wget", "httpd", "sleep", "mkdir", "test", "ls", "id", "env", "touch", "nc",
        "grep", "true", "false", "hostname", "pwd", "ps", "chmod", "[", "head", "tr",
    ] {
        std::os::unix::fs::symlink("busybox", bin.join(tool)).unwrap();
    }
    std::fs::create_dir_all(context.join("etc")).unwrap();
    std::fs::write(context.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:1234:1234::/:/bin/sh\n").unwrap();
    std::fs::write(context.join("etc/box"), "a box\n").unwrap();
    std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY bin /bin\nCOPY etc /etc\nENV BOX=yes PATH=/bin\n")
        .unwrap();
    std::fs::write(
        context.join("Dockerfile.web"),
        "FROM box:1\nEXPOSE 80\nENV TEXT=web\nCMD [\"sh\", \"-c\", \"mkdir -p /www && echo $TEXT > /www/index.html && exec httpd -f -p ${PORT:-80} -h /www\"]\n",
    )
    .unwrap();
    for args in ["-t box:1 .", "-t web:1 -f Dockerfile.web ."] {
        let words = ["docker", "build", "-q"].into_iter().chain(args.split(' ')).map(str::to_owned).collect();
        let mut env = bench.host.env.lock().unwrap().clone();
        env.insert("HOME".to_owned(), bench.dir.path().to_string_lossy().into_owned());
        let context = context.clone();
        let code =
            tokio::task::spawn_blocking(move || builder::docker::run(words, env, context, Stdio::inherit())).await;
        assert_eq!(code.unwrap(), 0);
    }
    bench
}

async fn one(bench: &Bench) -> (Run, String) {
    let runs = bench.push().await;
    let mut story = String::new();
    for run in &runs {
        story.push_str(&bench.story(run).await);
    }
    (runs.into_iter().next().unwrap_or_else(|| panic!("nothing ran")), story)
}

fn flow(job: &str) -> String {
    format!("on: push\njobs:\n  j:\n    runs-on: ubuntu-latest\n{job}")
}

async fn a_job_in_a_container_reaches_its_services_by_name() {
    let flow = flow(
        r#"    env: {FROM_JOB: "1"}
    container:
      image: box:1
      env: {FROM_CONTAINER: "${{ github.event_name }}"}
      volumes: ["data:/data", "${{ github.workspace }}/../../_temp/shared:/shared"]
      options: --hostname inside --cpus 1
    services:
      web: {image: "web:1", ports: [8000], env: {PORT: 8000, TEXT: eins}, options: "--health-cmd 'wget -qO- http://127.0.0.1:8000/' --health-interval 1s"}
      other:
        image: web:1
        env: {PORT: 9000, TEXT: zwei}
        ports: [9000]
        # A service reaches another by its name.
        options: --health-cmd "wget -qO- http://web:8000/" --health-interval 1s --health-retries 20 --network-alias twin
    steps:
      - uses: actions/checkout@v5
      - id: a
        run: |
          set -x
          test "$(cat /etc/box)" = "a box" && test "$BOX" = yes
          test "$FROM_JOB$FROM_CONTAINER" = 1push
          test "$(hostname)" = inside
          test "$GITHUB_WORKSPACE" = /__w/shop/shop && test "$(pwd)" = /__w/shop/shop
          test "$HOME" = /github/home && touch "$HOME/x"
          test -f file && test -d .git
          test -f "$GITHUB_EVENT_PATH" && echo "event at $GITHUB_EVENT_PATH"
          echo "OVER=there" >> "$GITHUB_ENV"
          echo "out=put" >> "$GITHUB_OUTPUT"
          echo "seen it" >> "$GITHUB_STEP_SUMMARY"
          mkdir -p tools && printf '#!/bin/sh\necho from a tool\n' > tools/mytool && chmod +x tools/mytool
          echo "$PWD/tools" >> "$GITHUB_PATH"
          touch /data/kept /shared/s
      - run: test "$OVER" = there && test "${{ steps.a.outputs.out }}" = put && mytool && test -f /__w/_temp/shared/s
      - run: |
          test "$(wget -qO- http://web:8000/)" = eins
          test "$(wget -qO- http://other:9000/)" = zwei
          test "$(wget -qO- http://twin:9000/)" = zwei
          test "$(wget -qO- http://127.0.0.1:${{ job.services.other.ports['9000'] }}/)" = zwei
          echo "container ${{ job.container.id != '' }}"
"#,
    );
    let bench = bench(&[(".github/workflows/w.yml", &flow), ("file", "1")]).await;
    let (run, story) = one(&bench).await;
    assert_eq!(run.conclusion, Some(Conclusion::Success), "{story}");
    for text in [
        "from a tool",
        "container true",
        "event at /github/workflow/event.json",
        "web service is healthy",
        "Print service container logs: web",
    ] {
        assert!(story.contains(text), "{text}: {story}");
    }
    assert!(bench.engine.jobs(run.id).await.unwrap()[0].summary.contains("seen it"));
    let names: Vec<String> = bench.engine.jobs(run.id).await.unwrap()[0].steps.iter().map(|s| s.name.clone()).collect();
    assert!(
        names.contains(&"Initialize containers".to_owned()) && names.contains(&"Stop containers".to_owned()),
        "{names:?}"
    );
    // A named volume stays for the next run.
    assert!(bench.dir.path().join("engine/volumes/data/kept").is_file());
    bench.engine.shutdown().await;
    nothing_is_left(bench.dir.path());
}

async fn a_job_on_the_runner_reaches_mapped_ports() {
    let flow = flow(
        r#"    services:
      web: {image: "web:1", ports: ["80"], options: "--health-cmd 'wget -qO- http://127.0.0.1/' --health-interval 1s"}
    steps:
      - run: |
          exec 3<>/dev/tcp/127.0.0.1/${{ job.services.web.ports['80'] }}
          printf 'GET / HTTP/1.0\r\n\r\n' >&3
          cat <&3 | grep -q web
"#,
    );
    let bench = bench(&[(".github/workflows/w.yml", &flow)]).await;
    let (run, story) = one(&bench).await;
    assert_eq!(run.conclusion, Some(Conclusion::Success), "{story}");
    bench.engine.shutdown().await;
}

/// A port that nobody has, and that the kernel gives to nobody who asks for any.
fn quiet_port() -> u16 {
    let first = 16_000 + u16::try_from(std::process::id() % 8_000).unwrap();
    let free = |port: &u16| std::net::UdpSocket::bind(("127.0.0.1", *port)).is_ok();
    (first..first + 8_000).find(free).expect("a free port")
}

/// Two services on the same ports ask each other, by connections and by datagrams, and one asks the runner.
async fn services_with_the_same_ports_reach_each_other_and_the_outside() {
    // Datagrams may be lost: who asks, asks again.
    let ask = r"
import socket
def ask(text, where):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2)
    for _ in range(60):
        s.sendto(text.encode(), where)
        try: return s.recv(100).decode()
        except OSError: pass
    return 'no answer'
";
    let code = r#"
import os, socket, threading
name, other = os.environ['NAME'], os.environ['OTHER']
def say(text):
    words = text.split()
    if words[0] == 'name': return name
    if words[0] == 'own': return socket.gethostbyname(socket.gethostname())
    if words[0] == 'udp': return ask(words[2], (words[1], 5000))
    s = socket.create_connection((words[1], int(words[3]) if len(words) > 3 else 5000), 30)
    s.sendall((words[2] + '\n').encode()); return s.makefile().readline().strip()
d = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); d.bind(('0.0.0.0', 5000))
def datagrams():
    while True:
        text, who = d.recvfrom(100); d.sendto(say(text.decode()).encode(), who)
threading.Thread(target=datagrams, daemon=True).start()
l = socket.socket(); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); l.bind(('0.0.0.0', 5000)); l.listen(8)
def answer(c):
    try: reply = say(c.makefile().readline().strip())
    except Exception as error: reply = repr(error)
    c.sendall((reply + '\n').encode()); c.close()
while True:
    c, _ = l.accept(); threading.Thread(target=answer, args=(c,), daemon=True).start()
"#;
    let runner = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = runner.local_addr().unwrap().port();
    std::thread::spawn(move || {
        use std::io::Write;
        while let Ok((mut stream, _)) = runner.accept() {
            let _ = stream.write_all(b"the runner\n");
        }
    });
    let free = quiet_port();
    let code = format!("{ask}{code}");
    let ask = serde_json::to_string(&format!("{ask}print('MARK mapped', ask('name', ('127.0.0.1', {free})))")).unwrap();
    let service = |name: &str, other: &str| {
        let code = serde_json::to_string(&code).unwrap();
        format!(
            r#"      {name}:
        image: box:1
        env: {{NAME: {name}, OTHER: {other}, CODE: {code}}}
        volumes: ["/usr:/usr:ro", "/lib:/lib:ro", "/lib64:/lib64:ro"]
        ports: ["5000", "5000/udp"]
        entrypoint: /usr/bin/python3
        command: -u -c "import os; exec(os.environ['CODE'])"
        options: --add-host runner:host-gateway --health-cmd "grep -q ':1388 ' /proc/net/tcp" --health-interval 1s --health-retries 100
"#
        )
    };
    let flow = flow(&format!(
        r#"    services:
{}{}    steps:
      - run: |
          ask() {{ exec 3<>/dev/tcp/127.0.0.1/$1; echo "$2" >&3; head -n1 <&3; exec 3<&-; }}
          A=${{{{ job.services.a.ports['5000'] }}}}; B=${{{{ job.services.b.ports[5000] }}}}
          echo "MARK $(ask $A name) $(ask $B name)"
          echo "MARK connections $(ask $A 'tcp b name') $(ask $B 'tcp a name')"
          echo "MARK datagrams $(ask $A 'udp b name') $(ask $B 'udp a name')"
          echo "MARK runner $(ask $A 'tcp runner x {port}')"
          case "$(ask $A own)" in 100.*) echo MARK own address;; esac
      - env: {{ASK: {ask}}}
        run: python3 -c "$ASK"
"#,
        service("a", "b").replace("\"5000/udp\"", &format!("\"{free}:5000/udp\"")),
        service("b", "a"),
    ));
    let bench = bench(&[(".github/workflows/w.yml", &flow)]).await;
    let (run, story) = one(&bench).await;
    assert_eq!(run.conclusion, Some(Conclusion::Success), "{story}");
    for text in [
        "MARK a b",
        "MARK connections b a",
        "MARK datagrams b a",
        "MARK runner the runner",
        "MARK own address",
        "MARK mapped a",
    ] {
        assert!(story.contains(text), "{text}: {story}");
    }
    bench.engine.shutdown().await;
    nothing_is_left(bench.dir.path());
}

async fn docker_actions() {
    let action = r#"
name: greet
inputs: {who: {default: world}}
outputs: {said: {description: x}}
runs:
  using: docker
  image: Dockerfile
  env: {GREETING: "hello ${{ inputs.who }}"}
  args: ["-c", 'echo "$GREETING"; echo "said=$INPUT_WHO" >> "$GITHUB_OUTPUT"; echo "saved=x" >> "$GITHUB_STATE"; pwd; test -f file; touch made']
  entrypoint: sh
  post-entrypoint: /post.sh
"#;
    let flow = flow(
        r#"    services: {web: {image: "web:1", env: {PORT: 8000}, options: "--health-cmd true"}}
    steps:
      - uses: actions/checkout@v5
      - id: g
        uses: ./greet
        with: {who: moon}
      - run: test "${{ steps.g.outputs.said }}" = moon && test -f made
      - uses: docker://box:1
        with: {entrypoint: sh, args: "-c 'cat /etc/box; wget -qO- http://web:8000/; env | grep GITHUB_WORKSPACE'"}
      - uses: docker://box:1
        continue-on-error: true
        with: {args: "sh -c 'exit 3'"}
"#,
    );
    let bench = bench(&[
        (".github/workflows/w.yml", &flow),
        ("file", "1"),
        ("greet/action.yml", action),
        ("greet/Dockerfile", "FROM box:1\nCOPY post.sh /post.sh\n"),
        ("greet/post.sh", "#!/bin/sh\necho \"post $STATE_saved $INPUT_WHO\"\n"),
    ])
    .await;
    let (run, story) = one(&bench).await;
    assert_eq!(run.conclusion, Some(Conclusion::Success), "{story}");
    for text in
        ["hello moon", "/github/workspace", "a box", "GITHUB_WORKSPACE=/github/workspace", "exit code 3", "post x moon"]
    {
        assert!(story.contains(text), "{text}: {story}");
    }
    bench.engine.shutdown().await;
}

async fn what_cannot_be_had_is_said() {
    let cases = [
        ("    container: {image: 'box:1', options: --gpus all}\n    steps: [{run: echo never}]\n", "--gpus"),
        ("    container: nowhere.test/none:1\n    steps: [{run: echo never}]\n", "nowhere.test/none:1"),
        (
            "    services: {web: {image: 'web:1', options: --health-cmd false --health-interval 20ms --health-retries 2}}\n    steps: [{run: echo never}]\n",
            "is unhealthy",
        ),
        (
            "    services: {web: {image: 'box:1', options: --health-cmd true --entrypoint false}}\n    steps: [{run: echo never}, {if: always(), run: echo still}]\n",
            "",
        ),
        (
            "    services: {web: {image: 'web:1', ports: ['53:53/sctp']}}\n    steps: [{run: echo never}]\n",
            "only TCP and UDP",
        ),
        ("    container: {image: 'box:1'}\n    steps: [{run: no-such-program}]\n", "no-such-program: not found"),
        (
            "    container: {image: 'box:1'}\n    steps: [{run: x, shell: bash}]\n",
            "bash: command not found in the job's container",
        ),
    ];
    let flows: Vec<(String, String)> =
        cases.iter().enumerate().map(|(i, (job, _))| (format!(".github/workflows/w{i}.yml"), flow(job))).collect();
    let files: Vec<(&str, &str)> = flows.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let bench = bench(&files).await;
    let runs = bench.push().await;
    for ((job, words), run) in cases.iter().zip(&runs) {
        let story = bench.story(run).await;
        if !words.is_empty() {
            assert_eq!(run.conclusion, Some(Conclusion::Failure), "{job}: {story}");
            assert!(!story.contains("\nnever"), "{job}: {story}");
        }
        assert!(story.contains(words), "{words}: {story}");
    }
    bench.engine.shutdown().await;
}

async fn javascript_actions_run_in_an_image_without_node() {
    let flow = flow(
        "    container: box:1\n    steps:\n      - uses: actions/checkout@v5\n      - {id: js, uses: ./js, with: {word: hello}}\n      - run: echo \"MARK ${{ steps.js.outputs.said }} $LEFT\"\n",
    );
    let action = "name: js\ndescription: d\ninputs: {word: {description: w}}\nruns: {using: node20, main: main.js, post: post.js}\n";
    let main = "const fs = require('fs');\nfs.appendFileSync(process.env.GITHUB_OUTPUT, `said=${process.env.INPUT_WORD} from ${fs.existsSync('/bin/busybox') ? 'inside' : 'outside'}\\n`);\nfs.appendFileSync(process.env.GITHUB_ENV, 'LEFT=behind\\n');\nfs.appendFileSync(process.env.GITHUB_STATE, 'kept=1\\n');\nconsole.log('in', process.cwd());\n";
    let post = "console.log('post has', process.env.STATE_kept);\n";
    let files = [
        (".github/workflows/w.yml", flow.as_str()),
        ("js/action.yml", action),
        ("js/main.js", main),
        ("js/post.js", post),
    ];
    let bench = bench(&files).await;
    let (run, story) = one(&bench).await;
    assert_eq!(run.conclusion, Some(Conclusion::Success), "{story}");
    for text in ["in /__w/shop/shop", "MARK hello from inside behind", "post has 1"] {
        assert!(story.contains(text), "{text}: {story}");
    }
    bench.engine.shutdown().await;
    nothing_is_left(bench.dir.path());
}

async fn a_timeout_ends_what_a_step_started_in_the_container() {
    let flow = flow(
        "    container: box:1\n    steps:\n      - run: sh -c 'sleep 1000 & sleep 1000'\n        timeout-minutes: 0.005\n      - if: always()\n        run: ps | grep -c 'sleep 100[0]' || true\n",
    );
    let bench = bench(&[(".github/workflows/w.yml", &flow)]).await;
    let (run, story) = one(&bench).await;
    assert_eq!(run.conclusion, Some(Conclusion::Failure), "{story}");
    assert!(story.contains("The step has timed out."), "{story}");
    assert!(story.contains("\n0\n"), "{story}");
    bench.engine.shutdown().await;
    nothing_is_left(bench.dir.path());
}

fn nothing_is_left(dir: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&*dir.to_string_lossy()), "{mounts}");
    let cgroup = format!("bigben-jobs-{}", std::process::id());
    for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids"] {
        assert!(!Path::new(root).join(&cgroup).exists(), "{root}/{cgroup} is left");
    }
}

fn again_as_user() {
    let dir = tempfile::Builder::new().prefix("bb-act").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let copy = dir.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let tmp = dir.path().join("tmp");
    std::fs::create_dir(&tmp).unwrap();
    std::os::unix::fs::chown(&tmp, Some(54321), Some(54321)).unwrap();
    let status = std::process::Command::new("setpriv")
        .args(["--reuid=54321", "--regid=54321", "--clear-groups"])
        .arg(&copy)
        .current_dir(&tmp)
        .env("TMPDIR", &tmp)
        .env("HOME", &tmp)
        .status()
        .unwrap();
    assert!(status.success(), "as an ordinary user: {status}");
}

fn main() {
    runtime::reexec::init();
    let argument = std::env::args().nth(1).unwrap_or_default();
    if argument == "--list" {
        return;
    }
    if busybox().is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI needs busybox-static");
        eprintln!("there is no static busybox on this machine: containers of jobs were not tested");
        return;
    }
    let only = if argument.starts_with('-') { String::new() } else { argument };
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    macro_rules! run {
        ($($name:ident)*) => {$(
            if stringify!($name).contains(&only) {
                let start = std::time::Instant::now();
                tokio.block_on(async { tokio::time::timeout(Duration::from_secs(180), $name()).await }).expect(stringify!($name));
                eprintln!("ok {} ({} ms)", stringify!($name), start.elapsed().as_millis());
            }
        )*};
    }
    run!(a_job_in_a_container_reaches_its_services_by_name a_job_on_the_runner_reaches_mapped_ports services_with_the_same_ports_reach_each_other_and_the_outside docker_actions javascript_actions_run_in_an_image_without_node what_cannot_be_had_is_said a_timeout_ends_what_a_step_started_in_the_container);
    if nix::unistd::geteuid().is_root() && only.is_empty() {
        again_as_user();
    }
}
