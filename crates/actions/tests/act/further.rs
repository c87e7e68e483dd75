//! More workflows that both run: how values meet in matrices, what composite actions see and leave, odd shells, files and state.

pub const FURTHER: &[(&str, &str)] = &[
    (
        "insert",
        r#"
on: push
jobs:
  maps:
    runs-on: ubuntu-latest
    strategy:
      matrix:
        x:
          - one: 1
            ${{ insert }}: {two: 2}
            ${{insert}}: "${{ fromJSON('{\"three\": 3}') }}"
    steps: [{run: 'echo "MARK ${{ matrix.x.one }} ${{ matrix.x.two }} ${{ matrix.x.three }}"'}]
  lists:
    runs-on: ubuntu-latest
    strategy: {matrix: {x: [a, "${{ fromJSON('[\"b\", \"c\"]') }}", d]}}
    steps: [{run: 'echo "MARK ${{ matrix.x }}"'}]
"#,
    ),
    (
        "made-on-the-way",
        r#"
on: push
jobs:
  _:
    runs-on: ubuntu-latest
    env: {WHO: job}
    steps:
      - shell: cp {0} action.yml
        run: |
          runs:
            using: composite
            steps:
              - run: echo "MARK inside $WHO ${{ env.WHO }}"
                shell: bash
              - run: echo "WHO=left by the action" >> "$GITHUB_ENV"
                shell: bash
      - uses: ./
        env: {WHO: step}
      - run: echo "MARK after $WHO ${{ env.WHO }}"
"#,
    ),
    (
        "composite-failing",
        r#"
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - {id: c, uses: ./fails, continue-on-error: true}
      - run: echo "MARK ${{ steps.c.outcome }} ${{ steps.c.conclusion }} ${{ steps.c.outputs.said }} ${{ job.status }}"
"#,
    ),
    (
        "odd-shells",
        r#"
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - {shell: 'python3 -u {0}', run: "import sys; print('MARK python', sys.argv[0] != '')"}
      - {shell: 'node {0}', run: "console.log('MARK node ' + (1 + 1))"}
      - {shell: 'sh -eu {0}', run: 'echo MARK sh'}
      - {shell: 'perl {0}', run: 'print "MARK perl\n"'}
      - {shell: bash, continue-on-error: true, run: 'false | true; echo "MARK not reached"'}
      - {shell: sh, run: 'false | true; echo "MARK reached"'}
      - {shell: 'bash {0}', run: "false\necho MARK no flags"}
"#,
    ),
    (
        "files-by-step",
        r#"
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - id: s
        run: |
          { echo 'json<<END'; echo '{'; echo '  "a": "b=c"'; echo '}'; echo END; } >> "$GITHUB_OUTPUT"
          echo 'empty=' >> "$GITHUB_OUTPUT"
          echo 'twice=1' >> "$GITHUB_OUTPUT"
          echo 'twice=2' >> "$GITHUB_OUTPUT"
          echo 'with space=x y' >> "$GITHUB_OUTPUT"
          printf 'KEPT= a b \n' >> "$GITHUB_ENV"
          printf 'MANY<<__\none\n\ntwo\n__\n' >> "$GITHUB_ENV"
          echo "$PWD/first" >> "$GITHUB_PATH"
          echo "$PWD/second" >> "$GITHUB_PATH"
      - run: |
          echo "MARK ${{ fromJSON(steps.s.outputs.json).a }} [${{ steps.s.outputs.empty }}] ${{ steps.s.outputs.twice }} ${{ steps.s.outputs['with space'] }}"
          echo "MARK [$KEPT] $(printf %s "$MANY" | wc -l) ${{ contains(env.MANY, 'two') }}"
          echo "MARK $(echo "$PATH" | cut -d: -f1,2 | sed "s,$PWD,.,g")"
          test "$GITHUB_ENV" != "" && test ! -s "$GITHUB_ENV" && echo "MARK fresh"
"#,
    ),
    (
        "needs-and-if",
        r#"
on: push
jobs:
  good: {runs-on: ubuntu-latest, outputs: {v: "${{ steps.s.outputs.v }}"}, steps: [{id: s, run: 'echo v=1 >> $GITHUB_OUTPUT'}]}
  bad: {runs-on: ubuntu-latest, steps: [{run: exit 1}]}
  skipped: {needs: bad, runs-on: ubuntu-latest, steps: [{run: 'echo MARK no'}]}
  any:
    needs: [good, bad, skipped]
    if: ${{ !cancelled() && contains(needs.*.result, 'failure') && contains(needs.*.result, 'skipped') }}
    runs-on: ubuntu-latest
    steps:
      - run: echo "MARK ${{ needs.skipped.result }} ${{ needs.good.outputs.v }}"
  failing: {needs: bad, if: failure(), runs-on: ubuntu-latest, steps: [{run: 'echo "MARK told of the failure"'}]}
"#,
    ),
    (
        "where-steps-run",
        r#"
on: push
defaults: {run: {working-directory: a}}
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - {run: mkdir -p a/b, working-directory: .}
      - {run: 'echo "MARK ${PWD##*/}"'}
      - {run: 'echo "MARK ${PWD##*/}"', working-directory: a/b}
  b:
    runs-on: ubuntu-latest
    defaults: {run: {working-directory: "${{ github.workspace }}", shell: sh}}
    steps: [{run: 'test "$PWD" = "$GITHUB_WORKSPACE" && echo "MARK at the top"'}]
"#,
    ),
    (
        "own-variables",
        r#"
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    env: {JOB: job}
    steps:
      - uses: actions/checkout@v4
      - {if: env.OWN == 'push', env: {OWN: '${{ github.event_name }}'}, run: 'echo "MARK own $OWN"'}
      - {if: env.OWN == 'push', run: echo MARK never}
      - uses: ./scoped
        env: {OWN: '${{ env.JOB }}-step', KEPT: inside}
        with: {word: '${{ env.OWN }}'}
      - run: echo "MARK after [$OWN] [$KEPT] $JOB"
      - {env: {JOB: '${{ env.JOB }}-again'}, run: 'exit ${{ env.JOB == ''job-again'' && ''0'' || ''1'' }}'}
"#,
    ),
    (
        "scoping",
        r#"
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - {id: s, uses: ./scoped, with: {word: one}}
      - run: echo "MARK [${{ steps.s.outputs.declared }}] [${{ steps.s.outputs.undeclared }}] [${{ steps.inner.outputs.undeclared }}]"
      - {id: t, uses: ./scoped, with: {word: two, unknown: x}}
      - run: echo "MARK [${{ steps.t.outputs.declared }}] [${{ steps.s.outputs.declared }}]"
"#,
    ),
    (
        "paths",
        r#"
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: echo "/opt/first/bin" >> "$GITHUB_PATH"
      - {uses: ./scoped, with: {word: x}}
      - run: |
          case ":$PATH:" in *:/opt/first/bin:*) echo MARK still there;; esac
          case "$PATH" in /opt/scoped/bin:*) echo MARK the newest first;; esac
"#,
    ),
    (
        "odd-values",
        r#"
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - id: s
        run: |
          printf 'a=b<<c\nd<<=\n<<\n=\ne<<E O F\n x \nE O F\nf==\n' >> "$GITHUB_OUTPUT"
      - run: |
          echo "MARK [${{ steps.s.outputs.a }}] [${{ steps.s.outputs.d }}] [${{ steps.s.outputs.e }}] [${{ steps.s.outputs.f }}]"
      - run: echo "MARK ${{ format('{0}-{1}', 'a', true) }} ${{ toJSON('x') }} ${{ contains('abc', 'B') }}"
"#,
    ),
    (
        "matrix-codes",
        r#"
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    strategy: {fail-fast: false, matrix: {n: [0, 1]}}
    continue-on-error: false
    steps: [{run: 'echo "MARK $N"; exit 0', env: {N: '${{ matrix.n }}'}}]
  two:
    needs: one
    runs-on: ubuntu-latest
    steps: [{run: 'echo MARK ${{ needs.one.result }}'}]
"#,
    ),
];

pub const FURTHER_FILES: &[(&str, &str)] = &[
    (
        "scoped/action.yml",
        r#"
name: scoped
description: keeps things to itself
inputs: {word: {description: w, default: none}}
outputs: {declared: {description: d, value: "${{ steps.inner.outputs.declared }}"}}
runs:
  using: composite
  steps:
    - id: inner
      shell: bash
      run: |
        echo "declared=value of ${{ inputs.word }}" >> "$GITHUB_OUTPUT"
        echo "undeclared=x" >> "$GITHUB_OUTPUT"
        echo /opt/scoped/bin >> "$GITHUB_PATH"
        echo "MARK ${{ inputs.word }} [$OWN] [${{ env.KEPT }}]"
"#,
    ),
    (
        "fails/action.yml",
        r#"
name: fails
description: leaves an output, fails, cleans up
outputs:
  said: {description: what it said, value: "${{ steps.s.outputs.said }}"}
runs:
  using: composite
  steps:
    - {id: s, shell: bash, run: 'echo said=before >> "$GITHUB_OUTPUT"'}
    - {shell: bash, run: exit 1}
    - {shell: bash, run: echo MARK never}
    - {shell: bash, if: always(), run: echo "MARK cleaning up ${{ steps.s.outcome }}"}
"#,
    ),
];
