//! The Dockerfiles, the context that they copy from, and the base images that they start from.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// Files, configuration and history shape are the same.
    Same,
    /// Files and configuration are the same.
    Files,
    /// Both refuse.
    Fails,
}

#[derive(Clone)]
pub struct Case {
    pub name: &'static str,
    pub dockerfile: &'static str,
    /// The same in words that an engine of 2022 knows; history is not compared then.
    pub classic: Option<&'static str>,
    pub args: Vec<&'static str>,
    /// Directory below the context.
    pub context: &'static str,
    pub expect: Expect,
}

pub const BASES: &[(&str, &str)] = &[
    ("base", "FROM scratch\nADD rootfs.tar /\nCMD [\"sh\"]\n"),
    (
        "triggers",
        "FROM base\nENV FROM_BASE=yes\nONBUILD COPY a.txt /triggered/\nONBUILD RUN echo ran > /triggered/ran\nONBUILD ENV TRIGGERED=$FROM_BASE\n",
    ),
    (
        "configured",
        "FROM base\nENV A=1 B=2\nLABEL base=yes over=base\nUSER app\nWORKDIR /home/app\nENTRYPOINT [\"/bin/echo\"]\nCMD [\"hi\"]\nEXPOSE 99\nVOLUME /data\nSTOPSIGNAL SIGINT\nSHELL [\"/bin/sh\", \"-ec\"]\nHEALTHCHECK CMD true\n",
    ),
];

/// A root file system around busybox.
pub fn write_base(dir: &Path, busybox: &Path) {
    std::fs::create_dir_all(dir).expect("base");
    let mut archive: Vec<u8> = Vec::new();
    let binary = std::fs::read(busybox).expect("busybox");
    let mut entries: Vec<(oci::tar::Entry, Vec<u8>)> = Vec::new();
    for (name, mode) in [
        ("bin", 0o755),
        ("dev", 0o755),
        ("etc", 0o755),
        ("home", 0o755),
        ("home/app", 0o755),
        ("proc", 0o755),
        ("root", 0o700),
        ("sys", 0o755),
        ("tmp", 0o1777),
        ("usr", 0o755),
        ("usr/bin", 0o755),
        ("var", 0o755),
        ("var/lib", 0o755),
        ("run", 0o755),
        ("run/secrets", 0o755),
        ("mnt", 0o755),
        ("mnt/a", 0o755),
        ("mnt/b", 0o755),
    ] {
        let mut entry = oci::tar::Entry::directory(format!("{name}/"));
        entry.mode = mode;
        if name == "home/app" {
            (entry.uid, entry.gid) = (1000, 1001);
        }
        entries.push((entry, Vec::new()));
    }
    let file = |name: &str, mode: u32, bytes: &[u8]| {
        let mut entry = oci::tar::Entry::file(name, bytes.len() as u64);
        entry.mode = mode;
        (entry, bytes.to_vec())
    };
    entries.push(file("bin/busybox", 0o755, &binary));
    for applet in [
        "sh", "ls", "cat", "echo", "mkdir", "rm", "rmdir", "touch", "chmod", "chown", "ln", "mv", "cp", "id", "env",
        "test", "true", "false", "tar", "grep", "sed", "stat", "mknod", "mkfifo", "printf", "pwd", "wc", "head",
        "sort", "find",
    ] {
        entries.push((oci::tar::Entry::symlink(format!("bin/{applet}"), "busybox"), Vec::new()));
    }
    entries.push((oci::tar::Entry::symlink("link-to-var", "var/lib"), Vec::new()));
    entries.push((oci::tar::Entry::symlink("absolute-link", "/usr/bin"), Vec::new()));
    entries.push((oci::tar::Entry::hard_link("bin/hard", "bin/busybox"), Vec::new()));
    entries.push(file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n"));
    entries.push(file("etc/group", 0o644, b"root:x:0:\napp:x:1001:\nstaff:x:50:app\n"));
    entries.push(file("etc/hosts", 0o644, b""));
    entries.push(file("etc/resolv.conf", 0o644, b""));
    entries.push(file("var/lib/owned", 0o640, b"owned\n"));
    for (entry, bytes) in entries {
        oci::tar::write_entry(&mut archive, &entry).expect("entry");
        archive.extend_from_slice(&bytes);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    std::fs::write(dir.join("rootfs.tar"), archive).expect("rootfs.tar");
}

/// The context: modes, links, hidden and odd names, archives, an ignore file in `ignored/`.
pub fn write_context(dir: &Path) {
    let write = |path: &str, text: &str, mode: u32| {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        std::fs::write(&path, text).expect("file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("mode");
    };
    write("a.txt", "a\n", 0o644);
    write("b.txt", "b\n", 0o600);
    write("run.sh", "#!/bin/sh\necho run\n", 0o755);
    write("setuid", "s\n", 0o4755);
    write("empty", "", 0o644);
    write("with space.txt", "space\n", 0o644);
    write("[odd].txt", "odd\n", 0o644);
    write("dir/one", "1\n", 0o644);
    write("dir/two", "2\n", 0o755);
    write("dir/sub/three", "3\n", 0o640);
    write("dir/sub/deep/four.log", "4\n", 0o644);
    write("dir/.hidden", "h\n", 0o644);
    write("lib/x.so", "x\n", 0o755);
    write("lib/y.so", "y\n", 0o755);
    write("lib/z.txt", "z\n", 0o644);
    write("merge/etc/added", "added\n", 0o644);
    write("merge/tmp/file", "t\n", 0o644);
    std::fs::set_permissions(dir.join("merge/etc"), std::fs::Permissions::from_mode(0o700)).expect("mode");
    std::fs::create_dir_all(dir.join("hollow")).expect("directory");
    std::fs::set_permissions(dir.join("dir/sub"), std::fs::Permissions::from_mode(0o750)).expect("mode");
    symlink("a.txt", dir.join("link")).expect("link");
    symlink("dir", dir.join("dirlink")).expect("link");
    symlink("../a.txt", dir.join("dir/up")).expect("link");
    symlink("/nowhere", dir.join("dangling")).expect("link");
    for (path, text) in [
        ("keep", "k\n"),
        ("drop.log", "d\n"),
        ("keep.log", "k\n"),
        ("sub/drop.log", "d\n"),
        ("sub/deep/keep.md", "k\n"),
        ("node_modules/x/index.js", "x\n"),
        ("docs/a.md", "a\n"),
        ("docs/README.md", "r\n"),
        ("secret/key", "s\n"),
        (".env", "e\n"),
    ] {
        write(&format!("ignored/{path}"), text, 0o644);
    }
    write(
        "ignored/.dockerignore",
        "# comment\n*.log\n**/*.log\n!keep.log\nnode_modules\ndocs/*\n!docs/README.md\n/secret\n.env\nDockerfile*\n",
        0o644,
    );
    let archive = dir.join("archive.tar");
    let status = std::process::Command::new("tar")
        .args(["--owner=7", "--group=8", "--numeric-owner", "-cf"])
        .arg(&archive)
        .arg("-C")
        .arg(dir)
        .args(["dir", "a.txt", "link"])
        .status();
    assert!(status.is_ok_and(|status| status.success()));
    let bytes = std::fs::read(&archive).expect("archive");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, &bytes).expect("gzip");
    std::fs::write(dir.join("archive.tgz"), encoder.finish().expect("gzip")).expect("write");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, b"only compressed\n").expect("gzip");
    std::fs::write(dir.join("plain.gz"), encoder.finish().expect("gzip")).expect("write");
    for (program, name) in [("bzip2", "archive.tar.bz2"), ("xz", "archive.tar.xz")] {
        let output = std::process::Command::new(program)
            .arg("-c")
            .arg(&archive)
            .output()
            .unwrap_or_else(|wrong| panic!("{program}: {wrong}"));
        std::fs::write(dir.join(name), output.stdout).expect("write");
    }
}

pub const fn plain(name: &'static str, dockerfile: &'static str) -> Case {
    Case { name, dockerfile, classic: None, args: Vec::new(), context: "", expect: Expect::Same }
}

pub const fn fails(name: &'static str, dockerfile: &'static str) -> Case {
    Case { name, dockerfile, classic: None, args: Vec::new(), context: "", expect: Expect::Fails }
}

/// New words, judged by old ones that mean the same.
pub const fn modern(name: &'static str, dockerfile: &'static str, classic: &'static str) -> Case {
    Case { name, dockerfile, classic: Some(classic), args: Vec::new(), context: "", expect: Expect::Files }
}

pub fn with(case: Case, args: &[&'static str]) -> Case {
    Case { args: args.to_vec(), ..case }
}

fn inside(case: Case, context: &'static str) -> Case {
    Case { context, ..case }
}

pub static CASES: std::sync::LazyLock<Vec<Case>> = std::sync::LazyLock::new(|| {
    vec![
        // COPY from the context
        plain("copy-file", "FROM base\nCOPY a.txt /x\n"),
        plain("copy-file-into-directory", "FROM base\nCOPY a.txt /tmp\nCOPY b.txt /var/lib/\n"),
        plain("copy-file-new-directory", "FROM base\nCOPY a.txt /new/dir/\nCOPY b.txt /other/name\n"),
        plain("copy-many", "FROM base\nCOPY a.txt b.txt run.sh setuid empty /many/\n"),
        plain("copy-directory", "FROM base\nCOPY dir /copied\n"),
        plain("copy-directory-into-existing", "FROM base\nCOPY dir /tmp\nCOPY dir/sub /var/lib/\n"),
        plain("copy-two-directories", "FROM base\nCOPY dir lib /both/\n"),
        plain("copy-dot", "FROM base\nWORKDIR /app\nCOPY . .\n"),
        plain("copy-dot-to-scratch", "FROM scratch\nCOPY . /\n"),
        plain("copy-merges-metadata", "FROM base\nCOPY merge /\n"),
        plain("copy-wildcard", "FROM base\nCOPY lib/*.so /libs/\nCOPY *.txt /texts/\n"),
        plain("copy-wildcard-directories", "FROM base\nCOPY di* /ds/\n"),
        plain("copy-question-mark", "FROM base\nCOPY ?.txt /q/\nCOPY lib/[xy].so /r/\n"),
        plain("copy-escaped-wildcard", "FROM base\nCOPY \\[odd].txt /odd\n"),
        plain("copy-json-with-space", "FROM base\nCOPY [\"with space.txt\", \"/a b/\"]\n"),
        plain("copy-link-source", "FROM base\nCOPY link /followed\nCOPY dirlink /dirs/\n"),
        plain("copy-link-inside", "FROM base\nCOPY dirlink/up /up\n"),
        plain(
            "copy-to-link",
            "FROM base\nCOPY a.txt /link-to-var/\nCOPY b.txt /absolute-link/b\nCOPY dir /link-to-var/d\n",
        ),
        plain("copy-onto-file", "FROM base\nCOPY a.txt /etc/group\nCOPY run.sh /bin/sed\n"),
        plain("copy-hollow", "FROM base\nCOPY hollow /hollow\nCOPY hollow /tmp/h/\n"),
        plain("copy-chown-numbers", "FROM base\nCOPY --chown=5:6 dir /owned\nCOPY --chown=7 a.txt /new/owned/\n"),
        plain(
            "copy-chown-names",
            "FROM base\nCOPY --chown=app:staff dir /owned\nCOPY --chown=app a.txt /b\nCOPY --chown=root:app a.txt /c\n",
        ),
        with(
            plain(
                "copy-chmod",
                "FROM base\nCOPY --chmod=755 a.txt /x\nCOPY --chmod=0640 dir /d\nCOPY --chown=1:2 --chmod=700 dir /e/\n",
            ),
            &[],
        ),
        plain("copy-relative", "FROM base\nWORKDIR /a/b\nCOPY a.txt ../x\nCOPY b.txt ./y/\n"),
        plain(
            "copy-variables",
            "FROM base\nARG SRC=a.txt\nENV DEST=/var/lib\nCOPY ${SRC} $DEST/${SRC}\nCOPY ${NONE:-b}.txt ${DEST}/\n",
        ),
        fails("copy-dangling-link", "FROM base\nCOPY dan* /x/\n"),
        fails("copy-missing", "FROM base\nCOPY nothing /x\n"),
        plain("copy-many-to-file", "FROM base\nCOPY a.txt b.txt /x\n"),
        fails("copy-directory-onto-file", "FROM base\nCOPY dir /etc/passwd\n"),
        fails("copy-outside", "FROM base\nCOPY ../../etc/shadow /x\n"),
        inside(plain("dockerignore", "FROM base\nCOPY . /all\n"), "ignored"),
        inside(plain("dockerignore-subdirectory", "FROM base\nCOPY docs /docs\nCOPY sub /sub\n"), "ignored"),
        inside(fails("dockerignore-hides", "FROM base\nCOPY secret/key /x\n"), "ignored"),
        // COPY from stages and images
        plain(
            "copy-from-stage",
            "FROM base AS one\nRUN echo x > /x && chmod 600 /x && chown 3:4 /x\nFROM base\nCOPY --from=one /x /y\n",
        ),
        plain(
            "copy-from-stage-number",
            "FROM base\nRUN mkdir /d && echo 1 > /d/one && ln -s one /d/link && chown -R 9:9 /d\nFROM scratch\nCOPY --from=0 /d /d\n",
        ),
        plain(
            "copy-from-stage-chown",
            "FROM base AS one\nRUN mkdir -p /d/e && touch /d/e/f\nFROM base\nCOPY --from=one --chown=app /d /d\n",
        ),
        plain("copy-from-image", "FROM scratch\nCOPY --from=base /bin/busybox /bin/sh\nCOPY --from=base /etc /etc\n"),
        plain(
            "copy-from-link",
            "FROM base AS one\nRUN ln -s /var/lib /l && echo q > /var/lib/q\nFROM base\nCOPY --from=one /l/q /q\nCOPY --from=one /l /ll\n",
        ),
        plain(
            "copy-from-wildcard",
            "FROM base AS one\nRUN mkdir /o && touch /o/a.x /o/b.x /o/c.y\nFROM scratch\nCOPY --from=one /o/*.x /\n",
        ),
        plain("copy-from-hard-links", "FROM base\nFROM scratch\nCOPY --from=0 /bin /bin\n"),
        plain(
            "stages-unneeded",
            "FROM base AS unneeded\nRUN false\nFROM base AS needed\nRUN echo n > /n\nFROM scratch\nCOPY --from=needed /n /n\n",
        ),
        plain(
            "stage-from-stage",
            "FROM base AS one\nENV A=1\nRUN echo 1 > /1\nFROM one AS two\nRUN echo $A > /2\nFROM two\nCOPY --from=one /1 /3\n",
        ),
        with(plain("target", "FROM base AS one\nENV ONE=1\nFROM one AS two\nRUN false\n"), &["--target=one"]),
        with(
            fails("copy-from-later-stage", "FROM base AS one\nCOPY --from=two /x /x\nFROM base AS two\nRUN touch /x\n"),
            &["--target=one"],
        ),
        // ADD
        plain("add-file", "FROM base\nADD a.txt /x\nADD dir /d/\n"),
        plain("add-tar", "FROM base\nADD archive.tar /out/\n"),
        plain("add-tar-gz", "FROM base\nADD archive.tgz /out\n"),
        plain("add-tar-xz-bz2", "FROM base\nADD archive.tar.xz /x/\nADD archive.tar.bz2 /b/\n"),
        plain("add-gz-that-is-no-tar", "FROM base\nADD plain.gz /x/\n"),
        plain("add-chown", "FROM base\nADD --chown=app:app a.txt /x\nADD --chown=3:3 archive.tar /y/\n"),
        // configuration
        plain(
            "env",
            "FROM base\nENV A=1 B=\"two words\" C=thr\\ ee D='sq $A' E=$A\nENV OLD some old  value\nENV A=2 F=${A}x G=${NOPE:-d} H=${A:+set}\nENV PATH=$PATH:/more\nRUN env | grep -v HOSTNAME | sort > /env\n",
        ),
        plain(
            "label",
            "FROM configured\nLABEL a=1 over=child \"quoted key\"=\"v w\" multi=\"line \\\nnext\"\nLABEL c=$A\n",
        ),
        plain(
            "arg",
            "ARG TAG=base\nFROM $TAG\nARG TAG\nARG X=1\nARG Y\nARG Z=${X}z\nRUN echo \"$TAG $X $Y $Z\" > /args\nENV X=env\nRUN echo $X > /x\n",
        ),
        with(
            plain(
                "build-arg",
                "ARG V=base\nFROM ${V}\nARG V\nARG W=default\nARG U\nRUN echo \"$V/$W/$U\" > /args\nLABEL w=$W\n",
            ),
            &["--build-arg=W=given", "--build-arg=U"],
        ),
        plain(
            "expose-volume-stopsignal",
            "FROM base\nARG P=8080\nEXPOSE 80 443/tcp 53/udp $P 9000-9002\nVOLUME /data /more\nVOLUME [\"/json a\", \"/b\"]\nSTOPSIGNAL 9\n",
        ),
        plain(
            "user",
            "FROM base\nUSER app\nRUN id -u > /tmp/id && touch /tmp/mine\nUSER 5:6\nRUN touch /tmp/five\nUSER root\n",
        ),
        plain(
            "workdir",
            "FROM base\nWORKDIR /a\nWORKDIR b/c\nWORKDIR ../d\nENV W=/w\nWORKDIR $W/x\nRUN pwd > /pwd\nWORKDIR /tmp\n",
        ),
        plain("workdir-after-user", "FROM base\nUSER app\nWORKDIR /made\nRUN pwd\nWORKDIR /home/app/sub\n"),
        plain("workdir-scratch", "FROM scratch\nWORKDIR /only\nCOPY a.txt .\n"),
        plain("cmd-entrypoint", "FROM base\nCMD echo $HOME\nENTRYPOINT [\"/bin/sh\", \"-c\"]\n"),
        plain("entrypoint-resets-cmd", "FROM configured\nENTRYPOINT exec top\n"),
        plain("cmd-inherited-entrypoint", "FROM configured\nCMD [\"a\", \"b\\\"c\"]\n"),
        plain(
            "healthcheck",
            "FROM base\nHEALTHCHECK --interval=1m30s --timeout=5s --start-period=2s --retries=4 CMD wget -q localhost || exit 1\n",
        ),
        plain("healthcheck-none", "FROM configured\nHEALTHCHECK NONE\n"),
        plain("healthcheck-exec", "FROM base\nHEALTHCHECK --retries=2 CMD [\"/bin/true\", \"x\"]\n"),
        plain("shell", "FROM base\nSHELL [\"/bin/sh\", \"-exc\"]\nRUN echo shell > /s\nCMD echo x\n"),
        plain("maintainer", "FROM base\nMAINTAINER Some One <a@b.c>\n"),
        plain("onbuild-recorded", "FROM base\nONBUILD RUN echo $X\nONBUILD COPY . /app\n"),
        plain("onbuild-runs", "FROM triggers\nRUN echo $TRIGGERED > /t\n"),
        with(plain("cli-labels", "FROM base\nLABEL a=1\n"), &["--label=b=2", "--label=a=over"]),
        plain("inherits", "FROM configured\nRUN id -u > /home/app/id\n"),
        // RUN
        plain(
            "run-changes",
            "FROM base\nRUN mkdir -p /d/e && echo x > /d/e/f && chmod 4711 /d/e/f && ln -s f /d/e/l && ln /d/e/f /d/e/h\n",
        ),
        plain("run-deletes", "FROM base\nRUN rm /etc/group && rm -r /home/app && mkdir /home/app && rm -r /usr\n"),
        plain(
            "run-replaces-directory",
            "FROM base\nRUN rm -r /var/lib && echo file > /var/lib\nRUN rm /var/lib && mkdir /var/lib && touch /var/lib/new\n",
        ),
        plain(
            "run-metadata-only",
            "FROM base\nRUN chmod 700 /var/lib && chown app:app /tmp && chmod 600 /var/lib/owned\n",
        ),
        plain("run-nothing", "FROM base\nRUN true\nRUN echo hi\n"),
        plain(
            "run-exec-form",
            "FROM base\nRUN [\"/bin/mkdir\", \"/x y\"]\nRUN [\"sh\", \"-c\", \"echo $HOME > /h\"]\n",
        ),
        plain("run-moves", "FROM base\nCOPY dir /d\nRUN mv /d /moved && mv /moved/one /moved/uno\n"),
        plain("run-fifo", "FROM base\nRUN mkfifo /f\n"),
        plain(
            "run-cache-mount",
            "FROM base\nRUN --mount=type=cache,target=/mnt/a touch /mnt/a/x && ls /mnt/a > /list\n",
        ),
        plain(
            "run-bind-mount",
            "FROM base AS one\nRUN echo o > /o\nFROM base\nRUN --mount=type=bind,target=/mnt/a --mount=from=one,source=/,target=/mnt/b cat /mnt/a/a.txt /mnt/b/o > /both\n",
        ),
        plain("run-tmpfs-mount", "FROM base\nRUN --mount=type=tmpfs,target=/mnt/a touch /mnt/a/x && touch /y\n"),
        with(
            plain(
                "run-secret-mount",
                "FROM base\nRUN --mount=type=secret,id=s cat /run/secrets/s | wc -c > /n\nRUN --mount=type=secret,id=s,target=/k,mode=0444 wc -c < /k > /m\n",
            ),
            &["--secret=id=s,src=@SECRET@"],
        ),
        fails("run-false", "FROM base\nRUN exit 7\n"),
        fails("run-not-found", "FROM base\nRUN [\"/nothing\"]\n"),
        fails("run-on-scratch", "FROM scratch\nRUN x\n"),
        // syntax
        plain(
            "continuations",
            "# escape=`\nFROM base\nRUN echo a `\n # comment\n  > /x `\n\n  && echo b > /y\nENV A=b`\n C=d\n",
        ),
        plain("lower-case", "from base as one\nrun echo x > /x\nfrom base\ncopy --from=one /x /x\ncmd [\"x\"]\n"),
        fails("unknown-instruction", "FROM base\nCOPPY a b\n"),
        fails("unknown-flag", "FROM base\nCOPY --frm=x a b\n"),
        fails("no-from", "RUN x\n"),
        // scopes of arguments, users, words
        plain(
            "arg-inherited",
            "FROM base AS one\nARG A=1\nENV E=e\nFROM one\nRUN echo \"[$A][$E]\" > /a\nLABEL a=$A\n",
        ),
        plain("arg-after-env", "FROM base\nENV X=env\nARG X=arg\nRUN echo $X > /x\nENV Y=$X\nLABEL z=$X\n"),
        with(
            plain("arg-after-env-given", "FROM base\nENV X=env\nARG X\nRUN echo $X > /x\nENV Y=$X\n"),
            &["--build-arg=X=given"],
        ),
        plain("arg-env-same-line", "FROM base\nARG A=1\nENV A=$A-2\nARG B=$A\nRUN echo $A $B > /ab\n"),
        plain(
            "arg-platform",
            "FROM base\nARG TARGETARCH\nARG TARGETOS BUILDARCH\nRUN echo $TARGETOS/$TARGETARCH/$BUILDARCH > /p\n",
        ),
        plain("arg-platform-undeclared", "FROM base\nRUN echo \"[$TARGETARCH]\" > /p\nLABEL a=[$TARGETARCH]\n"),
        with(
            plain("arg-proxy", "FROM base\nRUN echo \"$HTTP_PROXY $no_proxy\" > /p\n"),
            &["--build-arg=HTTP_PROXY=http://u:p@proxy", "--build-arg=no_proxy=a"],
        ),
        with(
            plain("arg-proxy-declared", "FROM base\nARG HTTP_PROXY\nRUN echo $HTTP_PROXY > /p\n"),
            &["--build-arg=HTTP_PROXY=http://proxy"],
        ),
        with(plain("arg-unused", "FROM base\nRUN echo \"[$Q]\" > /p\n"), &["--build-arg=Q=1"]),
        plain("from-default", "FROM ${NOTHING:-base}\nRUN echo x > /x\n"),
        plain(
            "arg-global-only",
            "ARG G=1\nFROM base\nRUN echo \"[$G]\" > /g\nARG G\nRUN echo \"[$G]\" > /h\nARG G=3\nRUN echo \"[$G]\" > /i\n",
        ),
        plain(
            "user-group-only",
            "FROM base\nUSER app\nRUN echo $(id -u) $(id -g) > /tmp/a\nUSER app:staff\nRUN echo $(id -u) $(id -g) > /tmp/b\nUSER 1000\nRUN echo $(id -u) $(id -g) > /tmp/c\nUSER 7:8\nRUN echo $(id -u) $(id -g) > /tmp/d\n",
        ),
        plain(
            "user-then-copy",
            "FROM base\nUSER app\nCOPY a.txt /x\nCOPY dir /made/\nWORKDIR /made/by/user\nCOPY b.txt .\n",
        ),
        fails("user-unknown", "FROM base\nUSER nobodyknows\nRUN id\n"),
        plain(
            "home",
            "FROM base\nRUN echo $HOME > /a\nUSER app\nRUN echo $HOME > /tmp/b\nENV HOME=/set\nRUN echo $HOME > /tmp/c\n",
        ),
        plain(
            "quotes",
            "FROM base\nENV A=\"a \\\"b\\\" c\" B='x \\y' C=\\$A D=$A$A E=\"$A\"'$A' F=a\\ \\ b\nLABEL \"k k\"='v v' l=\"a\\tb\" m=\"\" n=''\n",
        ),
        plain("env-empty", "FROM base\nENV A= B=\"\" C=x\nENV A=1\nENV D $A  two\n"),
        plain(
            "words-in-many-places",
            "FROM base\nENV P=90 S=SIGUSR1 V=/vol U=app W=/w K=key\nEXPOSE $P ${P}1/udp\nSTOPSIGNAL $S\nVOLUME $V ${V}2\nUSER $U\nWORKDIR $W/$K\nLABEL $K=$P\n",
        ),
        plain("expose-upper-case", "FROM base\nEXPOSE 80/TCP 81/Udp\n"),
        plain("stopsignal-realtime", "FROM base\nSTOPSIGNAL SIGRTMIN+3\n"),
        fails("stopsignal-unknown", "FROM base\nSTOPSIGNAL SIGNOTHING\n"),
        fails("expose-unknown", "FROM base\nEXPOSE many\n"),
        plain("empty-forms", "FROM configured\nENTRYPOINT []\nCMD []\n"),
        plain("exec-form-with-blanks", "FROM base\nCMD  [ \"a\" , \"b c\" ]  \nENTRYPOINT [\"x\",\"$HOME\"]\n"),
        plain("not-json", "FROM base\nCMD ['a', 'b']\nENTRYPOINT [\"a\" \"b\"]\n"),
        plain(
            "shell-and-entrypoint",
            "FROM base\nSHELL [\"/bin/sh\", \"-xc\"]\nENTRYPOINT run it\nCMD with that\nHEALTHCHECK CMD check it\n",
        ),
        plain(
            "workdir-forms",
            "FROM base\nWORKDIR /a\nRUN pwd > /1\nWORKDIR .\nWORKDIR b/../c\nRUN pwd > /2\nWORKDIR /\nRUN pwd > /3\n",
        ),
        plain(
            "run-blanks",
            "FROM base\nRUN   echo \"a   b\\\n    c\"   > /x\nRUN echo '#no comment' > /y # but a shell's\n",
        ),
        plain("run-stdin-is-empty", "FROM base\nRUN cat > /c\nRUN test -t 0 || echo none > /t\n"),
        // files
        plain("copy-modes", "FROM base\nCOPY setuid run.sh b.txt /m/\n"),
        plain("copy-wildcard-none", "FROM base\nCOPY a.txt nothing* /x/\n"),
        plain("copy-same-name-twice", "FROM base\nCOPY dir/one lib/x.so dir/one /x/\nCOPY a.txt /x/one\n"),
        plain(
            "copy-directory-over-directory",
            "FROM base\nRUN mkdir -p /d/sub && echo old > /d/sub/three && echo mine > /d/mine && chmod 700 /d /d/sub\nCOPY dir /d\n",
        ),
        plain("copy-link-over-file", "FROM base\nRUN echo x > /dangling\nCOPY dirlink dir /l/\n"),
        plain(
            "copy-from-whole-image",
            "FROM base AS one\nRUN rm -r /home && ln -s /tmp /home\nFROM scratch\nCOPY --from=one / /\n",
        ),
        plain("copy-from-upper-case", "FROM base AS One\nRUN echo 1 > /1\nFROM base\nCOPY --from=ONE /1 /2\n"),
        plain(
            "copy-from-chmod",
            "FROM scratch\nCOPY --from=base --chmod=500 /bin/busybox /b\nCOPY --from=base --chown=4:5 /var /v\n",
        ),
        plain("add-directory-with-archive", "FROM base\nADD . /all/\n"),
        plain(
            "add-archive-over",
            "FROM base\nRUN mkdir -p /out/dir/sub && echo old > /out/a.txt && chmod 711 /out/dir\nADD archive.tar /out\n",
        ),
        plain("add-two-archives", "FROM base\nADD archive.tgz archive.tar.xz a.txt /two/\n"),
        plain("run-renames", "FROM base\nRUN mv /var/lib /var/moved && mv /home /home2 && cp -r /home2 /home\n"),
        plain(
            "run-opaque",
            "FROM base\nRUN mkdir /o && touch /o/1 /o/2\nRUN rm -r /o && mkdir /o && touch /o/3\nRUN rm /o/3\n",
        ),
        plain(
            "run-links",
            "FROM base\nRUN ln /etc/passwd /p && ln -s /etc/passwd /q && chown -h 3:4 /q\nRUN rm /p && ln -sf /nowhere /q && mkdir /p\n",
        ),
        plain(
            "run-special-modes",
            "FROM base\nRUN mkdir -m 1777 /t && mkdir -m 2750 /g && touch /s && chmod 6755 /s && chown 5 /g\n",
        ),
        plain("run-device", "FROM base\nRUN mknod /null c 1 3 && mknod /blk b 7 0 && chmod 600 /null\n"),
        plain("run-deep", "FROM base\nRUN mkdir -p /a/b/c/d/e && touch /a/b/c/d/e/f && rm -r /a/b/c\nRUN rmdir /a/b\n"),
        plain(
            "run-names",
            "FROM base\nRUN mkdir '/with space' && touch '/with space/a b' '/ünï' && touch -- '/-dash' '/.wh'\n",
        ),
        plain("onbuild-twice", "FROM triggers AS one\nRUN cat /triggered/ran > /copy\nFROM one\nRUN ls / > /list\n"),
        plain(
            "stage-config-inherited",
            "FROM configured AS one\nENV C=3\nLABEL over=one\nFROM one\nENTRYPOINT [\"/bin/ls\"]\n",
        ),
        with(fails("target-number", "FROM base\nENV ONE=1\nFROM base\nRUN false\n"), &["--target=0"]),
        with(fails("target-unknown", "FROM base\n"), &["--target=nope"]),
        with(plain("label-flag-order", "FROM configured\n"), &["--label=z=1", "--label=a=2", "--label=over=flag"]),
        fails("copy-from-unknown", "FROM base\nCOPY --from=9 /a /b\n"),
        fails("workdir-nothing", "FROM base\nWORKDIR\n"),
        fails("env-nothing", "FROM base\nENV A\n"),
        fails("two-froms-words", "FROM base as\n"),
        fails("onbuild-onbuild", "FROM base\nONBUILD ONBUILD RUN x\n"),
        fails("json-shell", "FROM base\nSHELL /bin/sh -c\n"),
        fails("healthcheck-word", "FROM base\nHEALTHCHECK x\n"),
        // newer words, judged by older ones
        modern(
            "heredoc-run",
            "FROM base\nRUN <<EOF\necho one > /1\necho two > /2\nEOF\n",
            "FROM base\nRUN echo one > /1; echo two > /2\n",
        ),
        modern(
            "heredoc-copy",
            "FROM base\nARG N=x\nCOPY <<EOF /f\n$N \"q\"\nEOF\nCOPY <<'A' <<-B a.txt /d/\n$N\nA\n\ttabs\nB\n",
            "FROM base\nARG N=x\nRUN echo 'x \"q\"' > /f && mkdir /d && echo '$N' > /d/A && echo tabs > /d/B\nCOPY a.txt /d/\n",
        ),
        modern(
            "heredoc-script",
            "FROM base\nRUN <<EOF\n#!/bin/sh\necho script > /s\nEOF\nRUN cat <<X > /c\ntext\nX\n",
            "FROM base\nRUN echo script > /s; echo text > /c\n",
        ),
        modern(
            "copy-link",
            "FROM base\nCOPY --link a.txt /new/\nCOPY --link --chown=1:2 dir /d\n",
            "FROM base\nCOPY a.txt /new/\nCOPY --chown=1:2 dir /d\n",
        ),
        modern(
            "copy-exclude",
            "FROM base\nCOPY --exclude=*.so --exclude=**/*.log lib /l/\nCOPY --exclude=sub dir /d\n",
            "FROM base\nCOPY lib/z.txt /l/\nCOPY dir/one dir/two dir/.hidden /d/\nRUN ln -s ../a.txt /d/up\n",
        ),
        modern(
            "copy-parents",
            "FROM base\nCOPY --parents dir/sub/three a.txt /p/\nCOPY --parents ./dir/./sub/deep/four.log /q/\n",
            "FROM base\nRUN mkdir -p /p/dir\nCOPY a.txt /p/\nCOPY dir/sub/three /p/dir/sub/\nRUN chmod 750 /p/dir/sub && mkdir -p /q/sub/deep && chmod 750 /q/sub\nCOPY dir/sub/deep/four.log /q/sub/deep/\n",
        ),
        modern(
            "copy-symbolic-chmod",
            "FROM base\nCOPY --chmod=u=rwX,go= dir /d\nCOPY --chmod=a+x b.txt /b\n",
            "FROM base\nCOPY dir /d\nRUN chmod -R u=rwX,go= /d/one /d/two /d/.hidden /d/sub\nCOPY --chmod=711 b.txt /b\n",
        ),
        modern(
            "copy-chmod-special",
            "FROM base\nCOPY --chmod=4755 a.txt /s\nCOPY --chmod=1777 dir /d\n",
            "FROM base\nCOPY a.txt /s\nCOPY dir /d\nRUN chmod 4755 /s && chmod 1777 $(find /d ! -type l ! -path /d)\n",
        ),
        modern(
            "heredoc-interpreter",
            "FROM base\nRUN <<EOT sh\n  echo one > /1\nEOT\nRUN <<A cat > /2 && <<B cat > /3\nfirst\nA\nsecond\nB\n",
            "FROM base\nRUN echo one > /1; echo first > /2; echo second > /3\n",
        ),
        modern(
            "copy-parents-wildcard",
            "FROM base\nCOPY --parents ./dir/**/*.log lib/*.so /p/\n",
            "FROM base\nRUN mkdir -p /p/dir/sub/deep /p/lib && chmod 750 /p/dir/sub\nCOPY dir/sub/deep/four.log /p/dir/sub/deep/\nCOPY lib/x.so lib/y.so /p/lib/\n",
        ),
        modern(
            "add-unpack",
            "FROM base\nADD --unpack=false archive.tgz /a/\nADD --unpack archive.tar /b/\n",
            "FROM base\nCOPY archive.tgz /a/\nADD archive.tar /b/\n",
        ),
        modern(
            "heredoc-onbuild-and-tabs",
            "FROM base\nCOPY <<-\"EO\" <<one /d/\n\t$A\n\tEO\nplain\none\n",
            "FROM base\nRUN mkdir /d && echo '$A' > /d/EO && echo plain > /d/one\n",
        ),
        modern(
            "expansion-patterns",
            "FROM base\nENV F=foo.bar.baz\nENV A=${F%.*} B=${F%%.*} C=${F#*.} D=${F##*.} E=${F/bar/x} G=${F//a/A}\n",
            "FROM base\nENV F=foo.bar.baz\nENV A=foo.bar B=foo C=bar.baz D=baz E=foo.x.baz G=foo.bAr.bAz\n",
        ),
    ]
});
