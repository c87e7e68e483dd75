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
        It has: build, builder, buildx, context, history, image, images, info, inspect, load, login, logout, manifest, pull, push, rmi, save, system, tag, version
        [1]
        $ docker run x
        docker: 'run' is not a docker command that this builder has.
        It builds and moves images and runs no containers; for containers put a real docker first on the PATH.
        It has: build, builder, buildx, context, history, image, images, info, inspect, load, login, logout, manifest, pull, push, rmi, save, system, tag, version
        [1]
        $ docker compose up
        docker: 'compose' is not a docker command that this builder has.
        It builds and moves images and runs no containers; for containers put a real docker first on the PATH.
        It has: build, builder, buildx, context, history, image, images, info, inspect, load, login, logout, manifest, pull, push, rmi, save, system, tag, version
        [1]
        $ docker buildx bake
        ERROR: couldn't find a bake definition
        [1]
        $ docker image lss
        docker: 'image lss' is not a docker command that this builder has.
        Did you mean 'docker image ls'?
        It has: build, history, inspect, load, ls, list, prune, pull, push, rm, remove, save, tag
        [1]
        $ docker build --no-cash .
        unknown flag: --no-cash
        Did you mean --no-cache?

        Usage:  docker build [OPTIONS] PATH | URL | -

        Run 'docker build --help' for more information
        [125]
        $ docker build --ulimit x .
        invalid argument "x" for "--ulimit" flag: invalid ulimit argument: x

        Usage:  docker build [OPTIONS] PATH | URL | -

        Run 'docker build --help' for more information
        [125]
        $ docker build
        docker: 'docker build' requires 1 argument

        Usage:  docker build [OPTIONS] PATH | URL | -

        Run 'docker build --help' for more information
        [1]
        $ docker build nowhere
        ERROR: unable to prepare context: path "nowhere" not found
        [1]
        $ docker build .
        ERROR: failed to solve: failed to read dockerfile: open Dockerfile: no such file or directory
        [1]
        $ docker build -t UPPER .
        ERROR: invalid tag "UPPER": invalid reference format: repository name (library/UPPER) must be lowercase
        [1]
        $ docker tag x
        docker: 'docker tag' requires 2 arguments

        Usage:  docker tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]

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

        Usage:  docker [OPTIONS] COMMAND [ARG...]

        Run 'docker --help' for more information
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
        listed.starts_with("REPOSITORY   TAG       IMAGE ID       CREATED        SIZE\nme/app       1         "),
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

#[test]
fn lists_and_templates_as_scripts_use_them() {
    let docker = Docker::new();
    docker.write("f", "content");
    docker.build("FROM scratch\nCOPY f /f\nENV A=1 B=2\nLABEL a=b\n", &["-q", "-t", "me/app:1", "-t", "me/app:2"]).ok();
    docker.build("FROM scratch\nLABEL c=d\n", &["-q", "-t", "other"]).ok();
    let said = |args: &[&str]| docker.docker(args).ok();
    let mut names: Vec<String> =
        said(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).lines().map(str::to_owned).collect();
    names.sort();
    assert_eq!(names, ["me/app:1", "me/app:2", "other:latest"]);
    assert_eq!(
        said(&["images", "--format", "table {{.Repository}}\\t{{.Tag}}", "other"]),
        "REPOSITORY   TAG\nother        latest\n"
    );
    let listed = said(&["images", "--format", "json", "other"]);
    let value: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((value["Repository"].as_str(), value["Tag"].as_str()), (Some("other"), Some("latest")));
    assert_eq!(said(&["images", "--filter", "label=a", "--format", "{{.Tag}}", "me/app:2"]), "2\n");
    assert_eq!(said(&["images", "--filter", "before=other", "-q"]), "");
    assert_eq!(
        said(&["inspect", "-f", "{{range .Config.Env}}{{println .}}{{end}}", "me/app:1"]).lines().nth(1),
        Some("A=1")
    );
    assert_eq!(said(&["inspect", "-f", "{{with .Config.User}}{{.}}{{else}}root{{end}}", "other"]), "root\n");
    assert_eq!(docker.docker(&["inspect", "-f", "{{.Nope}}", "other"]).code, 1);
    assert_eq!(docker.docker(&["inspect", "-f", "{{.Nope", "other"]).code, 64);
    let all = docker.with_input(&["image", "prune", "--all"], b"n\n");
    assert_eq!(all.code, 1);
    assert!(all.out.contains("Are you sure you want to continue? [y/N]"), "{}", all.out);
    let all = docker.with_input(&["image", "prune", "--all", "--filter", "label=c=d"], b"y\n").ok();
    assert!(all.contains("untagged: other:latest") && all.contains("Total reclaimed space: "), "{all}");
    assert_eq!(said(&["images", "-q", "--no-trunc"]).lines().count(), 2);
}

#[test]
fn builders_have_names_as_set_up_scripts_give_them() {
    let docker = Docker::new();
    let said = |args: &[&str]| docker.docker(args).ok();
    assert_eq!(
        said(&["buildx", "create", "--name", "builder-1", "--driver", "docker-container", "--use"]),
        "builder-1\n"
    );
    let inspected = said(&["buildx", "inspect", "--bootstrap", "--builder", "builder-1"]);
    for part in [
        "Name:          builder-1\n",
        "Driver:        docker-container\n",
        "Status:           running\n",
        "Platforms:        linux/",
    ] {
        assert!(inspected.contains(part), "{inspected}");
    }
    assert!(said(&["buildx", "ls"]).contains("builder-1*"));
    assert_eq!(
        said(&["buildx", "ls", "--format", "{{.Name}}: {{.DriverEndpoint}}"]),
        "default: docker\nbuilder-1*: docker-container\n"
    );
    docker.docker(&["buildx", "create", "--name", "builder-1"]).fails(1);
    docker.docker(&["buildx", "create", "--driver", "kubernetes"]).fails(1);
    docker.write("Dockerfile", "FROM scratch\nLABEL a=b\n");
    said(&["buildx", "--builder", "builder-1", "build", "-q", "."]);
    assert_eq!(
        docker.docker(&["buildx", "build", "--builder", "nothing", "."]).fails(1),
        "ERROR: no builder \"nothing\" found\n"
    );
    assert_eq!(said(&["buildx", "rm", "builder-1"]), "builder-1 removed\n");
    assert_eq!(docker.docker(&["buildx", "inspect", "builder-1"]).fails(1), "ERROR: no builder \"builder-1\" found\n");
    assert!(said(&["buildx", "version"]).starts_with("github.com/docker/buildx v0."));
}

#[test]
fn checks_are_told_and_fail_when_they_must() {
    let docker = Docker::new();
    docker.write("Dockerfile", "FROM scratch AS One\nENV KEY v\nCOPY Dockerfile $WHERE/x\nCMD run\n");
    let done = docker.docker(&["build", "-t", "x", "."]);
    assert_eq!(done.code, 0, "{}", done.err);
    let told = done.err.split_once(" warnings found (use docker --debug to expand):\n").expect("warnings").1;
    insta::assert_snapshot!(told, @r#"
     - StageNameCasing: Stage name 'One' should be lowercase (line 1)
     - LegacyKeyValueFormat: "ENV key=value" should be used instead of legacy "ENV key value" format (line 2)
     - SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV "KEY") (line 2)
     - UndefinedVar: Usage of undefined variable '$WHERE' (line 3)
     - JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals (line 4)
    "#);
    let checked = docker.docker(&["build", "--check", "."]);
    assert_eq!(checked.code, 1);
    assert!(checked.out.starts_with("Check complete, 5 warnings have been found!\n\nWARNING: StageNameCasing - https://docs.docker.com/go/dockerfile/rule/stage-name-casing/\n"), "{}", checked.out);
    docker.write("Dockerfile", "# check=skip=all\nFROM scratch AS One\nENV KEY v\n");
    assert_eq!(docker.docker(&["build", "--check", "."]).ok(), "Check complete, no warnings found.\n");
    docker.write("Dockerfile", "# check=skip=StageNameCasing;error=true\nFROM scratch AS One\nENV KEY v\n");
    let wrong = docker.docker(&["build", "."]).fails(1);
    assert!(wrong.contains("lint violation found for rules: LegacyKeyValueFormat, SecretsUsedInArgOrEnv"), "{wrong}");
    docker.write("Dockerfile", "FROM scratch AS one\nARG V=1\nFROM one AS two\n");
    assert_eq!(
        docker.docker(&["build", "--call=targets", "."]).ok(),
        "TARGET          DESCRIPTION\none\ntwo (default)\n"
    );
    let outline = docker.docker(&["build", "--call=outline", "--target=one", "--build-arg", "V=2", "."]).ok();
    assert!(outline.contains("V           2"), "{outline}");
}
