//! Definitions as people write them, for both builders.

/// One definition and the words that it is asked with.
pub struct Bake {
    pub name: &'static str,
    /// Paths and texts.
    pub files: &'static [(&'static str, &'static str)],
    pub args: &'static [&'static str],
    pub env: &'static [(&'static str, &'static str)],
}

const fn bake(
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    args: &'static [&'static str],
) -> Bake {
    Bake { name, files, args, env: &[] }
}

const COMMON: &str = r#"
variable "TAG" { default = "latest" }
variable "REGISTRY" { default = "ghcr.io/me" }
variable "RELEASE" { default = false }
variable "WORKERS" { default = 4 }
variable "EMPTY" {}

function "image" {
  params = [name]
  result = ["${REGISTRY}/${name}:${TAG}", notequal("", EMPTY) ? "${REGISTRY}/${name}:${EMPTY}" : ""]
}

group "default" { targets = ["web", "worker"] }
group "all" { targets = ["default", "docs"] }

target "_common" {
  context = "./"
  args = {
    VERSION = TAG
    WORKERS = WORKERS
    SKIPPED = null
  }
  labels = { "org.opencontainers.image.source" = "https://example.com/a&b?c=<d>" }
  platforms = ["linux/amd64", "linux/arm64"]
}

target "web" {
  inherits = ["_common"]
  dockerfile = "web/Dockerfile"
  target = "release"
  tags = image("web")
  cache-from = ["type=registry,ref=ghcr.io/me/web:cache", "ghcr.io/me/web:other"]
  cache-to = ["type=gha,mode=max"]
}

target "worker" {
  inherits = ["_common"]
  args = { WORKERS = WORKERS * 2, QUEUE = RELEASE ? "prod" : "dev" }
  tags = image("worker")
  secret = ["id=token,env=TOKEN", "type=env,id=key,src=KEY"]
  output = ["type=image,push=false"]
}

target "docs" {
  dockerfile-inline = <<-EOT
    FROM scratch
    COPY docs /$${NAME}
  EOT
  output = ["type=local,dest=out"]
  platforms = ["linux/amd64"]
}
"#;

const MATRIX: &str = r#"
target "app" {
  name = "app-${os}-${replace(version, ".", "-")}"
  matrix = {
    os = ["alpine", "debian"]
    version = ["1.0", "2.1"]
  }
  args = { BASE = "${os}:${version}" }
  tags = ["app:${version}-${os}"]
}
target "multi" {
  name = item.name
  matrix = { item = [{ name = "a", port = 80 }, { name = "b", port = 81 }] }
  args = { PORT = item.port }
}
"#;

const LINKED: &str = r#"
target "base" { dockerfile = "base.Dockerfile" }
target "app" {
  contexts = {
    base = "target:base"
    alpine = "docker-image://alpine:3"
    src = "../src/./x"
  }
  context = "app/../app/"
}
"#;

const METADATA: &str = r#"{
  "target": {
    "docker-metadata-action": {
      "tags": ["user/app:1.2.3", "user/app:latest"],
      "labels": {"org.opencontainers.image.title": "app $${x}"},
      "args": {"DOCKER_META_IMAGES": "user/app"},
      "annotations": ["manifest:org.opencontainers.image.title=app"]
    }
  }
}"#;

const COMPOSE: &str = r#"
services:
  db:
    image: postgres
  web.app:
    image: me/web:${TAG:-dev}
    environment:
      MODE: fast
    build:
      context: ./web
      dockerfile: Dockerfile.web
      args:
        - MODE
        - VERSION=1
        - HOME_UNSET_VARIABLE
      labels:
        a: "b"
      cache_from: ["type=local,src=cache"]
      target: prod
      platforms: [linux/amd64]
      extra_hosts: ["host:10.0.0.1"]
      additional_contexts:
        other: service:tool
      secrets: [token]
      x-bake:
        tags: [me/web:extra]
        output: type=docker
        no-cache: true
  tool:
    build: tool
secrets:
  token:
    environment: TOKEN
"#;

pub const BAKES: &[Bake] = &[
    bake("default group", &[("docker-bake.hcl", COMMON)], &[]),
    bake("a group of groups", &[("docker-bake.hcl", COMMON)], &["all"]),
    bake("one target", &[("docker-bake.hcl", COMMON)], &["web"]),
    bake("pattern", &[("docker-bake.hcl", COMMON)], &["w*"]),
    Bake {
        name: "variables from the environment",
        files: &[("docker-bake.hcl", COMMON)],
        args: &["web", "worker"],
        env: &[("TAG", "v1"), ("RELEASE", "true"), ("WORKERS", "10"), ("EMPTY", "x"), ("REGISTRY", "")],
    },
    bake(
        "set",
        &[("docker-bake.hcl", COMMON)],
        &[
            "--set",
            "*.platform=linux/arm64",
            "--set",
            "web.args.VERSION=9",
            "--set",
            "web.tags+=me/web:more",
            "--set",
            "worker.tags=only:this",
            "--set",
            "*.output=type=registry",
            "--set",
            "web.labels.x=y",
            "--set",
            "web.no-cache=true",
            "--set",
            "web.contexts.a=b",
        ],
    ),
    bake("push", &[("docker-bake.hcl", COMMON)], &["--push"]),
    bake("load", &[("docker-bake.hcl", COMMON)], &["--load", "--no-cache", "--pull"]),
    bake("attestations", &[("docker-bake.hcl", COMMON)], &["web", "--sbom", "true", "--provenance", "mode=max"]),
    bake("matrix", &[("docker-bake.hcl", MATRIX)], &["app", "multi"]),
    bake("one of a matrix", &[("docker-bake.hcl", MATRIX)], &["app-alpine-2-1"]),
    bake("linked targets", &[("docker-bake.hcl", LINKED)], &["app"]),
    bake(
        "a file over another",
        &[
            (
                "docker-bake.hcl",
                "variable \"V\" { default = \"1\" }\ntarget \"default\" {\n  args = { A = V, B = \"b\" }\n  tags = [\"x:${V}\"]\n}",
            ),
            (
                "docker-bake.override.hcl",
                "variable \"V\" { default = \"2\" }\ntarget \"default\" { args = { B = \"c\" } }",
            ),
        ],
        &[],
    ),
    bake(
        "what docker/metadata-action gives",
        &[
            ("meta.json", METADATA),
            (
                "docker-bake.hcl",
                "target \"docker-metadata-action\" {}\ntarget \"build\" {\n  inherits = [\"docker-metadata-action\"]\n  context = \".\"\n}",
            ),
        ],
        &["-f", "docker-bake.hcl", "-f", "meta.json", "build"],
    ),
    bake(
        "json",
        &[(
            "docker-bake.json",
            r#"{"variable": {"TAG": {"default": "1"}}, "group": {"default": {"targets": ["a"]}}, "target": {"a": {"tags": ["a:${TAG}"], "args": {"N": 1, "T": true}, "pull": true}}}"#,
        )],
        &[],
    ),
    bake("compose", &[("compose.yaml", COMPOSE)], &[]),
    bake("a service with a dot", &[("docker-compose.yml", COMPOSE)], &["web.app"]),
    bake(
        "references between blocks",
        &[(
            "docker-bake.hcl",
            "target \"a\" {\n  tags = [\"a:1\"]\n  args = { X = \"1\" }\n}\ntarget \"b\" {\n  tags = target.a.tags\n  args = merge(target.a.args, { Y = \"2\" })\n}",
        )],
        &["b"],
    ),
    bake(
        "attributes and conditions",
        &[(
            "docker-bake.hcl",
            "repo = \"me\"\nnames = [\"x\", \"y\"]\ntarget \"default\" {\n  tags = concat([for n in names : \"${repo}/${n}\"], equal(repo, \"me\") ? [\"z\"] : [])\n  args = { L = \"${length(names)}\", J = join(\",\", names) }\n}",
        )],
        &[],
    ),
    bake(
        "objects for settings",
        &[(
            "docker-bake.hcl",
            "target \"default\" {\n  cache-from = [{ type = \"registry\", ref = \"a/b\" }]\n  output = [{ type = \"oci\", dest = \"out.tar\" }, \"type=docker\"]\n  secret = [{ id = \"s\", env = \"F\" }]\n  attest = [{ type = \"provenance\", mode = \"max\" }, \"type=sbom\"]\n}",
        )],
        &[],
    ),
    bake(
        "everything else",
        &[(
            "docker-bake.hcl",
            "target \"default\" {\n  description = \"all\"\n  network = \"host\"\n  shm-size = \"128m\"\n  ulimits = [\"nofile=1024:1024\"]\n  no-cache-filter = [\"a\", \"a\"]\n  entitlements = [\"security.insecure\"]\n  call = \"check\"\n  extra-hosts = { h = \"1.2.3.4\" }\n  annotations = [\"index:a=b\"]\n  pull = false\n  no-cache = true\n  tags = [\"\", \"x\", \"x\"]\n}",
        )],
        &[],
    ),
    bake(
        "built-in variables",
        &[(
            "docker-bake.hcl",
            "target \"default\" {\n  context = BAKE_CMD_CONTEXT\n  platforms = [BAKE_LOCAL_PLATFORM]\n}",
        )],
        &[],
    ),
    bake("no such field", &[("docker-bake.hcl", "target \"default\" { tagz = [\"a\"] }")], &[]),
    bake(
        "two arguments on the line of their block",
        &[(
            "docker-bake.hcl",
            "target \"default\" {\n  tags = [\"a\"]\n  args = {\n    A = 1\n  }\n}\nvariable \"V\" { default = \"v\" }\ngroup \"g\" { targets = [\n  \"default\"\n] }\n",
        )],
        &[],
    ),
    // What is refused by both.
    bake("no definition", &[], &[]),
    bake("no such target", &[("docker-bake.hcl", COMMON)], &["nothing"]),
    bake("no such variable", &[("docker-bake.hcl", "target \"default\" { tags = [MISSING] }")], &[]),
    bake(
        "two arguments on one line",
        &[("docker-bake.hcl", "target \"default\" { tags = [\"a\"]\n pull = true }")],
        &[],
    ),
    bake("not HCL", &[("docker-bake.hcl", "target \"default\" { tags = [\"a\" }")], &[]),
    bake("a cycle", &[("docker-bake.hcl", "a = b\nb = a\ntarget \"default\" { tags = [a] }")], &[]),
    bake("no such parent", &[("docker-bake.hcl", "target \"default\" { inherits = [\"none\"] }")], &[]),
    bake("set of nothing", &[("docker-bake.hcl", COMMON)], &["--set", "none.tags=a"]),
    bake("set of no field", &[("docker-bake.hcl", COMMON)], &["--set", "web.none=a"]),
    bake("a name that cannot be", &[("docker-bake.hcl", "target \"a.b\" {}")], &["a.b"]),
    Bake {
        name: "bool that is none",
        files: &[("docker-bake.hcl", "variable \"B\" { default = true }\ntarget \"default\" { pull = B }")],
        args: &[],
        env: &[("B", "maybe")],
    },
];
