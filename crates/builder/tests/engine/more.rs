//! More Dockerfiles: the reference read clause by clause.

use super::cases::{Case, fails, modern, plain, with};

pub static MORE: std::sync::LazyLock<Vec<Case>> = std::sync::LazyLock::new(|| {
    vec![
        // The format
        plain(
            "escape-directive",
            "# escape=`\nFROM base\nENV A=a`\n B=c:\\dir\\x C=\"q`\"q\"\nRUN echo one `\n  && echo two > /x\n",
        ),
        modern(
            "syntax-line",
            "# syntax=docker/dockerfile:1.7-labs\n# a comment\nFROM base\nENV A=a\n",
            "FROM base\nENV A=a\n",
        ),
        plain("directives-after-a-comment", "# a comment\n# escape=`\nFROM base\nENV A=a\\\n B=b\n"),
        plain(
            "comments-between",
            "FROM base\nRUN echo a \\\n# a comment\n   # another\n\n  && echo b > /b\n\n#\n  # indented\nENV A=1 \\\n  # inside\n  B=2\n",
        ),
        plain(
            "lower-case",
            "from base as Build\nrun echo x > /x\nFrom scratch\ncopy --from=build /x /y\nenv a=b\ncmd [\"a\"]\n",
        ),
        plain("json-that-is-none", "FROM base\nCMD ['single']\nENTRYPOINT [\"a\", ]\n"),
        plain("json-with-blanks", "FROM base\nCMD   [ \"a\" ,  \"b c\" ]  \nENTRYPOINT []\n"),
        plain(
            "json-escapes",
            "FROM base\nRUN [\"/bin/sh\", \"-c\", \"printf '%s' \\\"a\\\\tb\\\" \\u0026\\u0026 echo $HOME > /x\"]\nLABEL x=y\n",
        ),
        // FROM and ARG
        plain("from-default", "ARG BASE\nFROM ${BASE:-base}\nARG BASE\nRUN echo \"<$BASE>\" > /x\n"),
        plain("from-alternative", "ARG DEBUG=1\nARG KIND=${DEBUG:+base}\nFROM ${KIND}\nLABEL a=$KIND\n"),
        plain("arg-many", "ARG A=1 B=base\nFROM $B\nARG A C=3 D\nARG E=\"$A $C\"\nRUN echo \"$A|$B|$C|$D|$E\" > /x\n"),
        plain("stage-shadows-image", "FROM base AS base\nRUN echo mine > /mine\nFROM base\nRUN cat /mine > /again\n"),
        plain("stage-names", "FROM base AS a.b_c-d\nRUN echo 1 > /x\nFROM scratch\nCOPY --from=a.b_c-d /x /\n"),
        fails("stage-name-of-digits", "FROM base AS 1st\nRUN true\n"),
        fails("from-empty", "ARG NONE\nFROM ${NONE}\n"),
        with(plain("target-is-any-case", "FROM base AS One\nENV ONE=1\nFROM base\nRUN false\n"), &["--target=one"]),
        plain(
            "args-of-platforms",
            "FROM --platform=$BUILDPLATFORM base\nARG TARGETPLATFORM TARGETOS\nARG TARGETARCH=x\nRUN echo \"$TARGETPLATFORM $TARGETOS $TARGETARCH\" > /x\n",
        ),
        // ENV and LABEL
        plain("env-equals", "FROM base\nENV A=b=c B= C=\"\" D='' E==\nENV F a=b\nLABEL l==x m=\n"),
        plain(
            "env-escapes",
            "FROM base\nENV B=bee\nENV A=\\$B C=\\\\x D=\"a\\\"b\" E='\\$B' F=\"\\$B\" G=a\\ b H=\"a\\\nb\" I=${B}\\${B}\n",
        ),
        plain("env-old-form", "FROM base\nENV A  two   words  \nENV B \"quoted\" rest\nENV C $A\\ x\n"),
        plain(
            "label-quotes",
            "FROM base\nENV V=v\nLABEL a='$V' b=\"$V\" c=\\$V d=\"a'b\" \"e.f\"=\"g h\" i='j \"k\"'\n",
        ),
        modern(
            "patterns-everywhere",
            "FROM base\nARG V=v1.2.3\nWORKDIR /app/${V#v}\nCOPY a.txt /x-${V%%.*}/\nLABEL v=${V//./_} w=${V/1/9}\nUSER ${V:+app}\n",
            "FROM base\nARG V=v1.2.3\nWORKDIR /app/1.2.3\nCOPY a.txt /x-v1/\nLABEL v=v1_2_3 w=v9.2.3\nUSER app\n",
        ),
        // COPY and ADD
        plain("copy-slashes", "FROM base\nCOPY dir/ /a/\nCOPY dir/. /b\nCOPY ./dir/../lib/ /c\nCOPY /a.txt //d//e\n"),
        plain("copy-json-variables", "FROM base\nENV F=a.txt D=/d\nCOPY [\"$F\", \"b.txt\", \"${D}/\"]\n"),
        plain(
            "copy-owner-variables",
            "FROM base\nARG U=app\nENV G=staff\nCOPY --chown=$U:${G} a.txt /x\nADD --chown=${U} b.txt /y\n",
        ),
        fails("copy-directory-over-file-of-a-step", "FROM base\nRUN echo x > /x\nCOPY dir /x\n"),
        plain(
            "copy-over-directory-of-a-step",
            "FROM base\nRUN mkdir -p /x/sub && touch /x/kept && chmod 700 /x\nCOPY dir /x\nCOPY a.txt /x\n",
        ),
        plain(
            "copy-chown-unknown",
            "FROM base\nCOPY --chown=nobody-here a.txt /x\nCOPY --chown=app:no-group a.txt /y\nCOPY --chown=none:none dir /z\n",
        ),
        fails(
            "copy-chown-without-passwd",
            "FROM scratch\nCOPY --chown=app:staff a.txt /x\nCOPY --chown=app a.txt /y/z\n",
        ),
        fails("copy-two-without-slash-to-file", "FROM base\nRUN echo > /f\nCOPY dir lib /f\n"),
        plain("add-two-archives", "FROM base\nADD archive.tar archive.tgz /out/\nADD a.txt archive.tar /more/\n"),
        plain("add-wildcard", "FROM base\nADD *.tgz /out/\nADD dir/* /d/\n"),
        modern(
            "parents-pivots",
            "FROM base\nCOPY --parents ./dir/./sub lib/./z.txt a.txt /q/\n",
            "FROM base\nCOPY dir/sub /q/sub\nCOPY lib/z.txt a.txt /q/\nRUN chmod 750 /q/sub\n",
        ),
        modern(
            "exclude-and-chown",
            "FROM base\nCOPY --exclude=*.txt --exclude=!z.txt --chown=1:2 lib /l/\nADD --exclude=**/three --exclude=**/deep --exclude=up dir /d\n",
            "FROM base\nCOPY --chown=1:2 lib/x.so lib/y.so lib/z.txt /l/\nRUN chown 1:2 /l\nCOPY dir/one dir/two dir/.hidden /d/\nRUN mkdir /d/sub && chmod 750 /d/sub\n",
        ),
        modern(
            "heredocs-several",
            "FROM base\nARG A=a\nCOPY --chmod=640 <<one <<'two' <<-three /d/\n$A ${A:-x} \\$A\none\n$A\n\"q\"\ntwo\n\t\tindented\n\tthree\nRUN <<'E'\nA=b\necho \"$A\" > /e\nE\n",
            "FROM base\nARG A=a\nRUN mkdir /d && echo 'a a $A' > /d/one && printf '$A\\n\"q\"\\n' > /d/two && echo indented > /d/three && chmod 640 /d/* && echo b > /e\n",
        ),
        modern(
            "heredoc-with-continuation",
            "FROM base\nRUN cat <<E > /x && \\\n  echo after > /y\nin\\\nside\nE\n",
            "FROM base\nRUN printf 'inside\\n' > /x && echo after > /y\n",
        ),
        // RUN
        plain("run-tmpfs", "FROM base\nRUN --mount=type=tmpfs,target=/mnt/a touch /mnt/a/x && ls /mnt/a > /listed\n"),
        plain(
            "run-bind-writable",
            "FROM base AS one\nRUN mkdir /d && echo 1 > /d/f\nFROM base\nRUN --mount=type=bind,from=one,source=/d,target=/mnt/a,rw echo 2 > /mnt/a/f && cat /mnt/a/f > /x\nRUN --mount=from=one,source=/d/f,target=/mnt/b/g cat /mnt/b/g > /y\n",
        ),
        plain(
            "run-cache-owner",
            "FROM base\nRUN --mount=type=cache,id=owned-cache,target=/mnt/a,uid=1000,gid=1001,mode=0750 stat -c %u:%g:%a /mnt/a > /x\n",
        ),
        with(
            plain(
                "run-secret-owner",
                "FROM base\nRUN --mount=type=secret,id=s,target=/mnt/s,uid=1000,gid=1001,mode=0440 stat -c %u:%g:%a /mnt/s > /x && cat /mnt/s | wc -c > /y\nRUN --mount=type=secret,id=none test ! -e /run/secrets/none\n",
            ),
            &["--secret=id=s,src=@SECRET@"],
        ),
        with(
            fails(
                "run-secret-required",
                "FROM base\nRUN --mount=type=secret,id=other,required cat /run/secrets/other\n",
            ),
            &["--secret=id=s,src=@SECRET@"],
        ),
        with(
            modern(
                "run-secret-variable",
                "FROM base\nRUN --mount=type=secret,id=s,env=TOKEN echo \"got $TOKEN\" > /x && test ! -e /run/secrets/s\n",
                "FROM base\nRUN --mount=type=secret,id=s printf 'got %s\\n\\n' \"$(cat /run/secrets/s)\" > /x\n",
            ),
            &["--secret=id=s,src=@SECRET@"],
        ),
        plain(
            "run-words",
            "FROM base\nENV A=\"x  y\"\nRUN echo $A > /1; echo \"$A\" > /2; echo '$A' > /3; echo ${A#x} > /4; echo \\$A > /5\n",
        ),
        plain(
            "run-removes-and-makes",
            "FROM base\nRUN mkdir /d && touch /d/a /d/b\nRUN rm -r /d && mkdir /d && touch /d/c\nRUN rm /d/c && ln -s b /d/c\nRUN rm -r /var/lib && echo file > /var/lib\n",
        ),
        // The rest
        plain(
            "workdir-odd",
            "FROM base\nWORKDIR /b/c\nWORKDIR \"/with blank\"\nRUN pwd > /pwd\nENV D=/e/\nWORKDIR ${D}f\nWORKDIR ${NONE}\n",
        ),
        plain("expose-odd", "FROM base\nARG P=\"81 82/udp\"\nEXPOSE 80/TCP 80 80/tcp $P\nEXPOSE 7000-7002/udp\n"),
        plain("stopsignal-variable", "FROM base\nARG S=SIGUSR1\nSTOPSIGNAL $S\n"),
        plain(
            "volume-then-write",
            "FROM base\nENV V=/vol\nVOLUME $V /q\nRUN mkdir -p /vol && echo kept > /vol/x\nCOPY a.txt /vol/\n",
        ),
        plain(
            "shell-then-commands",
            "FROM base\nSHELL [\"/bin/busybox\", \"sh\", \"-c\"]\nCMD echo $HOME\nRUN echo shelled > /x\nSHELL [\"/bin/sh\", \"-e\", \"-c\"]\nENTRYPOINT run me\nHEALTHCHECK --interval=1m30s --timeout=2s --start-period=3s --retries=4 CMD test -f /x\n",
        ),
        plain("healthcheck-none", "FROM configured\nHEALTHCHECK NONE\nUSER 0\nCMD []\n"),
        plain(
            "user-forms",
            "FROM base\nUSER app:staff\nRUN id -u > /tmp/u && id -g > /tmp/g\nUSER 1000\nRUN id -g > /tmp/h\nUSER 77:app\nRUN id -u > /tmp/i && id -g >> /tmp/i\n",
        ),
        plain("maintainer", "FROM base\nMAINTAINER Some One <some@one.example>\nENV A=b\n"),
        fails("copy-from-itself", "FROM base AS a\nCOPY --from=a /x /y\n"),
        fails("run-mount-unknown", "FROM base\nRUN --mount=type=none,target=/x true\n"),
        fails("arg-nothing", "FROM base\nARG\n"),
        fails("shell-words", "FROM base\nSHELL /bin/sh -c\n"),
        fails("onbuild-from", "FROM base\nONBUILD FROM base\n"),
        fails("bad-name-of-variable", "FROM base\nENV A=${x!}\n"),
        fails("unclosed-quote", "FROM base\nENV A=\"x\n"),
    ]
});
