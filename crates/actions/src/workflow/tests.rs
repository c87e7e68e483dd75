use super::*;

#[track_caller]
fn errors(source: &str) -> Vec<String> {
    let (_, findings) = read("ci.yml", source);
    findings.0.iter().map(ToString::to_string).collect()
}

#[test]
fn a_plain_workflow() {
    let (workflow, findings) = read(
        ".github/workflows/ci.yml",
        r#"
name: CI
on:
  push:
    branches: [main, '!wip/**']
    paths: ['app/*/src/**']
  workflow_dispatch:
    inputs:
      level: {type: choice, options: [a, b], default: a}
permissions:
  contents: read
concurrency: {group: "ci-${{ github.ref }}", cancel-in-progress: true}
env: {A: "1"}
jobs:
  test:
    runs-on: ubuntu-latest
    strategy:
      matrix:
        app: [a, b]
    steps:
      - uses: actions/checkout@v4
      - run: echo ${{ matrix.app }}
        if: success() && matrix.app == 'a'
  deploy:
    needs: test
    environment: production
    runs-on: [self-hosted, linux]
    steps:
      - run: ./deploy
        env:
          TOKEN: ${{ secrets.TOKEN }}
"#,
    );
    assert!(findings.0.is_empty(), "{:?}", findings.0);
    let workflow = workflow.unwrap();
    assert_eq!(workflow.name, "CI");
    assert_eq!(workflow.jobs.keys().collect::<Vec<_>>(), ["test", "deploy"]);
    assert_eq!(workflow.trigger("push").unwrap().branches.as_ref().map(|f| f.admits("main")), Some(true));
    let JobKind::Steps(test) = &workflow.jobs["test"].kind else { panic!() };
    assert_eq!(test.steps[0].id, "__actions_checkout");
    assert_eq!(test.steps[1].id, "__run");
}

#[test]
fn githubs_wording_of_errors() {
    let job =
        |body: &str| format!("on: push\njobs:\n  build:\n    runs-on: linux\n{body}    steps:\n      - run: echo hi\n");
    for (source, expected) in [
        (job("    concurrency: ${{ secrets.foo\n"), "(Line: 5, Col: 18): The expression is not closed. An unescaped ${{ sequence was found, but the closing }} sequence was not found."),
        (job("    concurrency: ${{ secrets.foo  }}\n"), "(Line: 5, Col: 18): Unrecognized named-value: 'secrets'. Located at position 1 within expression: secrets.foo"),
        (job("    concurrency: ${{ }}\n"), "(Line: 5, Col: 18): An expression was expected"),
        (job("    if: ${{ env == 5 }}\n"), "(Line: 5, Col: 9): Unrecognized named-value: 'env'. Located at position 1 within expression: env == 5"),
        (job("    if: ${{ \"0xFZ\" }}\n"), "(Line: 5, Col: 9): Unexpected symbol: '\"0xFZ\"'. Located at position 1 within expression: \"0xFZ\""),
        (job("    if: withJson()\n"), "(Line: 5, Col: 9): Unrecognized function: 'withJson'. Located at position 1 within expression: withJson()"),
        (job("    if: ${{ foo\" }}\n"), "(Line: 5, Col: 9): Unexpected symbol: 'foo\"'. Located at position 1 within expression: foo\""),
        (job("    timeout: 5\n"), "(Line: 5, Col: 5): Unexpected value 'timeout'"),
        (job("    timeout-minutes: soon\n"), "(Line: 5, Col: 22): Unexpected value 'soon'"),
        (job("    needs: other\n"), "(Line: 5, Col: 12): Job 'build' depends on unknown job 'other'."),
        ("on: push\njobs:\n  one:\n    runs-on: x\n    steps: [{run: a}]\n  two:\n    needs: [one, three]\n    runs-on: x\n    steps: [{run: a}]\n  three:\n    needs: two\n    runs-on: x\n    steps: [{run: a}]\n".into(),
            "(Line: 7, Col: 18): Job 'two' depends on job 'three' which creates a cycle in the dependency graph."),
        ("on: push\n".into(), "(Line: 1, Col: 1): Required property is missing: jobs"),
        ("on: push\njobs:\n  a:\n    steps: [{run: a}]\n".into(), "(Line: 4, Col: 5): Required property is missing: runs-on"),
        ("on: psuh\njobs: {a: {runs-on: x, steps: [{run: a}]}}\n".into(), "(Line: 1, Col: 5): Unexpected value 'psuh'"),
        ("on: push\non: pull_request\n".into(), "(Line: 2, Col: 1): 'on' is already defined"),
        ("on: push\npermissions: {contents: admin}\njobs: {a: {runs-on: x, steps: [{run: a}]}}\n".into(), "(Line: 2, Col: 25): Unexpected value 'admin'"),
    ] {
        let found = errors(&source);
        assert!(found.iter().any(|error| error == expected), "{source}\nwanted {expected}\nfound {found:#?}");
    }
}

#[test]
fn nothing_is_ignored() {
    for (source, part) in [
        ("on: {push: {branchs: [main]}}\njobs: {a: {runs-on: x, steps: [{run: a}]}}", "branchs"),
        ("on: {release: {types: [publish]}}\njobs: {a: {runs-on: x, steps: [{run: a}]}}", "publish"),
        (
            "on: {push: {branches: [a], branches-ignore: [b]}}\njobs: {a: {runs-on: x, steps: [{run: a}]}}",
            "cannot be used for the same event",
        ),
        ("on: {push: {branches: ['!a']}}\njobs: {a: {runs-on: x, steps: [{run: a}]}}", "only patterns that begin"),
        ("on: {workflow_run: {types: [completed]}}\njobs: {a: {runs-on: x, steps: [{run: a}]}}", "workflows"),
        ("on: {schedule: [{cron: '99 * * * *'}]}\njobs: {a: {runs-on: x, steps: [{run: a}]}}", "not a minute"),
        ("on: push\njobs: {a: {runs-on: x, steps: [{run: a, uses: b/c@v1}]}}", "Unexpected value 'uses'"),
        ("on: push\njobs: {a: {runs-on: x, steps: [{uses: checkout}]}}", "Expected format"),
        (
            "on: push\njobs: {a: {runs-on: x, steps: [{run: a, id: x}, {run: b, id: X}]}}",
            "may not be used more than once",
        ),
        ("on: push\njobs: {a: {uses: ./.github/workflows/x.yml, runs-on: y}}", "Unexpected value 'runs-on'"),
        ("on: push\njobs: {a: {uses: x/y@v1}}", "invalid value workflow reference"),
        ("on: push\njobs: {a: {runs-on: x, strategy: {matrix: {n: 3}}, steps: [{run: a}]}}", "Unexpected value '3'"),
        ("on: push\njobs: {a: {runs-on: x, container: {img: a}, steps: [{run: a}]}}", "Unexpected value 'img'"),
        ("on: push\njobs: {1a: {runs-on: x, steps: [{run: a}]}}", "identifier '1a' is invalid"),
        ("[]", "A mapping was expected"),
        ("on: push\njobs: {a: {runs-on: x, steps: []}}", "at least one step"),
    ] {
        let found = errors(source);
        assert!(found.iter().any(|error| error.contains(part)), "{source}\nwanted {part}\nfound {found:#?}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_gives_a_workflow_or_errors(text in "[a-z:\\- \n{}\\[\\]'\"$&*!|>#]{0,120}") {
        let _ = read("x.yml", &text);
        let _ = crate::action::ActionFile::read(&text);
    }
}
