//! Output and exit codes of the command itself.

mod support;

use support::Docker;

#[test]
fn refusals_name_the_thing() {
    let docker = Docker::new();
    let shown = |args: &[&str]| {
        let done = docker.docker(args);
        format!("$ docker {}\n{}{}[{}]\n", args.join(" "), done.out, done.err, done.code)
    };
    insta::assert_snapshot!(
        [
            shown(&["biuld", "."]),
            shown(&["run", "x"]),
            shown(&["compose", "up"]),
            shown(&["buildx", "bake"]),
            shown(&["image", "lss"]),
            shown(&["build", "--no-cash", "."]),
            shown(&["build", "--ulimit", "x", "."]),
            shown(&["build"]),
            shown(&["build", "nowhere"]),
            shown(&["build", "."]),
            shown(&["build", "-t", "UPPER", "."]),
            shown(&["tag", "x"]),
            shown(&["tag", "none", "y"]),
            shown(&["rmi", "none"]),
            shown(&["inspect", "none"]),
            shown(&["image", "inspect", "none"]),
            shown(&["save", "none"]),
            shown(&["--nope"]),
        ]
        .concat(),
        @r#"
        $ docker biuld .
        docker: 'biuld' is not a docker command that this builder has.
        Did you mean 'docker build'?
        It has: build, builder, buildx, history, image, images, info, inspect, load, login, logout, pull, push, rmi, save, system, tag, version
        [1]
        $ docker run x
        docker: 'run' is not a docker command that this builder has.
        It builds and moves images and runs no containers; for containers put a real docker first on the PATH.
        It has: build, builder, buildx, history, image, images, info, inspect, load, login, logout, pull, push, rmi, save, system, tag, version
        [1]
        $ docker compose up
        docker: 'compose' is not a docker command that this builder has.
        It builds and moves images and runs no containers; for containers put a real docker first on the PATH.
        It has: build, builder, buildx, history, image, images, info, inspect, load, login, logout, pull, push, rmi, save, system, tag, version
        [1]
        $ docker buildx bake
        docker: 'buildx bake' is not supported by this builder; call 'docker buildx build' for each target
        [1]
        $ docker image lss
        docker: 'image lss' is not a docker command that this builder has.
        Did you mean 'docker image ls'?
        It has: build, history, inspect, load, ls, list, prune, pull, push, rm, remove, save, tag
        [1]
        $ docker build --no-cash .
        unknown flag: --no-cash
        Did you mean --no-cache?

        Run 'docker build --help' for more information
        [125]
        $ docker build --ulimit x .
        --ulimit is not supported by this builder: there is no daemon whose containers it could shape

        Run 'docker build --help' for more information
        [125]
        $ docker build
        docker: 'docker build' requires 1 argument.

        Run 'docker build --help' for more information
        [1]
        $ docker build nowhere
        ERROR: unable to prepare context: path "nowhere" not found
        [1]
        $ docker build .
        ERROR: failed to solve: failed to read dockerfile: open Dockerfile: no such file or directory
        [1]
        $ docker build -t UPPER .
        ERROR: invalid tag "UPPER": image reference "UPPER": repository name "library/UPPER" must be lower-case letters, digits and separators . _ - /
        [1]
        $ docker tag x
        docker: 'docker tag' requires 2 arguments.

        Run 'docker tag --help' for more information
        [1]
        $ docker tag none y
        Error response from daemon: No such image: none:latest
        [1]
        $ docker rmi none
        Error response from daemon: No such image: none:latest
        [1]
        $ docker inspect none
        []
        Error: No such object: none
        [1]
        $ docker image inspect none
        []
        Error response from daemon: No such image: none:latest
        [1]
        $ docker save none
        Error response from daemon: No such image: none:latest
        [1]
        $ docker --nope
        unknown flag: --nope
        See 'docker --help'.
        [125]
        "#);
}

#[test]
fn images_and_versions() {
    let docker = Docker::new();
    docker.write("f", "content");
    docker.build("FROM scratch\nCOPY f /f\nLABEL a=b\n", &["-q", "-t", "me/app:1"]).ok();
    let listed = docker.docker(&["images"]).ok();
    let id = docker.docker(&["images", "-q"]).ok();
    assert!(
        listed.starts_with("REPOSITORY   TAG   IMAGE ID       CREATED        SIZE\nme/app       1     "),
        "{listed}"
    );
    assert!(listed.contains(id.trim()));
    assert_eq!(docker.docker(&["images", "-q", "--filter", "label=a=c"]).ok(), "");
    assert_eq!(docker.docker(&["images", "-q", "--filter", "reference=me/*"]).ok(), id);
    docker.docker(&["tag", id.trim(), "other"]).ok();
    assert_eq!(docker.docker(&["images", "other", "--format", "{{.Repository}} {{.Tag}}"]).ok(), "other latest\n");
    assert_eq!(
        docker.docker(&["inspect", "-f", "{{.Os}} {{json .Config.Labels}}", "other"]).ok(),
        "linux {\"a\":\"b\"}\n"
    );
    assert_eq!(docker.docker(&["version", "--format", "{{.Server.Version}}"]).ok(), "28.2.2\n");
    assert!(docker.docker(&["info"]).ok().contains("Images: 1"));
    assert!(docker.docker(&["--version"]).ok().starts_with("Docker version 28.2.2, build bigben-"));
    assert!(docker.docker(&["build", "--help"]).ok().contains("--build-arg"));
}
