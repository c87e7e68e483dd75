//! `show values --jsonpath` here and by the real program `helm`.

mod support;

use helm::cli::{Reference, show_path};

const VALUES: &str = "name: web\nreplicas: 3\nbig: 12345678901\npart: 0.5\non: true\nnothing: null\nempty: {}\n\
                      image:\n  repository: r.io/x\n  tag: '1.0'\n\"a.b\": dotted\n\
                      list: [1, 2, 3, x]\nports:\n- {name: http, port: 80, protocol: TCP}\n- {name: https, port: 443, protocol: TCP}\n\
                      - {name: dns, port: 53, protocol: UDP}\nhtml: \"<&>\"\n";

const TEMPLATES: &[&str] = &[
    "{.name}",
    "{$.image.repository}:{.image.tag}",
    "{@.name} and {\"quoted\"}",
    "text alone",
    "{.replicas} {.big} {.part} {.on} {.nothing}",
    "{.image}",
    "{.empty}{.html}",
    "{.list}",
    "{.list[0]}{.list[-1]}",
    "{.list[1:3]}",
    "{.list[::2]}",
    "{.list[*]}",
    "{.list[0,3]}",
    "{.list[9]}",
    "{.list[3:1]}",
    "{.ports[*].name}",
    "{.ports[1]['name']}",
    "{.ports[0]['name','port']}",
    "{['name']}",
    "{.a\\.b}",
    "{.missing}",
    "{.image.missing}{.name}",
    "{range .ports[*]}{.name}={.port}{\"\\n\"}{end}done",
    "{range .ports[*]}{range .name}{@}{end};{end}",
    "{range .list[9:9]}never{end}after",
    "{.ports[?(@.protocol==\"TCP\")].name}",
    "{.ports[?(@.name=='dns')].port}",
    "{.ports[?(@.name!='dns')].port}",
    "{.ports[?(@.port>100)].name}",
    "{.ports[?(@.port>100.0)].name}",
    "{.ports[?(@.other)].name}",
    "{.ports[?(@.name)].name}",
    "{..port}",
    "{.ports[0].*}",
    "{5}{-5.5}{true}",
    "{.name",
    "{.list[}",
    "{.list[a]}",
    "{.ports[?(@.name]}",
    "{....name}",
    "{\"open}",
    "{^}",
    "{end}",
    "",
];

/// The words of a text in one order.
fn sorted(text: &str) -> Vec<&str> {
    let mut words: Vec<&str> = text.split(' ').collect();
    words.sort_unstable();
    words
}

#[test]
fn templates_give_what_helm_gives() {
    let Some(program) = support::helm() else { return };
    let home = tempfile::tempdir().expect("a directory");
    let root = home.path().join("t");
    std::fs::create_dir(&root).expect("a directory");
    std::fs::write(root.join("Chart.yaml"), "apiVersion: v2\nname: t\nversion: 0.1.0\n").expect("a chart");
    std::fs::write(root.join("values.yaml"), VALUES).expect("values");
    let chart = Reference::path(&root).load(None).expect("a chart");
    let mut wrong = Vec::new();
    for template in TEMPLATES.iter().filter(|template| !template.is_empty()) {
        let mut command = support::helm_command(&program, home.path());
        let output = command.args(["show", "values", "--jsonpath", template]).arg(&root).output().expect("helm runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let theirs = if output.status.success() { text(&output.stdout) } else { text(&output.stderr) };
        let ours = show_path(&chart, template).unwrap_or_else(|e| format!("Error: {e}\n"));
        // Helm goes through the values of a table in another order each time.
        let any_order = template.contains(".*") || template.contains("..");
        let same = if any_order { sorted(&ours) == sorted(&theirs) } else { ours == theirs };
        if !same {
            wrong.push(format!("{template}\n  ours   {ours:?}\n  theirs {theirs:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
