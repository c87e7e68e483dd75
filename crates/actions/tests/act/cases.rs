//! The workflows that both run: name and text. What a step says after `MARK ` is compared, and how jobs and steps end.

pub const CASES: &[(&str, &str)] = &[
    ("outputs", "
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    outputs: {x: '${{ steps.a.outputs.x }}', multi: '${{ steps.a.outputs.multi }}'}
    steps:
      - id: a
        run: |
          echo 'x=1=2' >> $GITHUB_OUTPUT
          printf 'multi<<EOF\\nline 1\\nline 2\\nEOF\\n' >> $GITHUB_OUTPUT
      - run: echo \"MARK ${{ steps.a.outputs.x }} ${{ steps.a.outcome }} ${{ steps.a.conclusion }}\"
  two:
    needs: [one]
    runs-on: ubuntu-latest
    steps:
      - run: echo \"MARK ${{ needs.one.outputs.x }} ${{ needs.one.result }}\"
      - run: echo \"MARK ${{ toJSON(needs.one.outputs.multi) }}\"
"),
    ("matrix", "
on: push
jobs:
  list:
    runs-on: ubuntu-latest
    outputs: {all: '${{ steps.a.outputs.all }}'}
    steps: [{id: a, run: 'echo all=[\\\"p\\\",\\\"q\\\"] >> $GITHUB_OUTPUT'}]
  dynamic:
    needs: list
    runs-on: ubuntu-latest
    strategy: {matrix: {v: '${{ fromJSON(needs.list.outputs.all) }}'}}
    steps: [{run: 'echo MARK ${{ matrix.v }}'}]
  written:
    runs-on: ubuntu-latest
    strategy:
      fail-fast: false
      matrix:
        os: [a, b]
        n: [1, 2]
        exclude: [{os: a, n: 2}]
        include: [{os: b, extra: yes-b}, {os: c, n: 9}]
    steps: [{run: 'echo \"MARK ${{ matrix.os }} ${{ matrix.n }} ${{ matrix.extra }} ${{ strategy.fail-fast }}\"'}]
"),
    ("conditions", "
on: push
jobs:
  fails:
    runs-on: ubuntu-latest
    steps:
      - run: exit 3
      - run: echo MARK not this
      - {if: failure(), run: 'echo MARK failure'}
      - {if: always(), run: 'echo MARK always'}
      - {if: success(), run: 'echo MARK not success'}
      - {if: '!cancelled()', run: 'echo MARK not cancelled'}
  skipped:
    needs: fails
    runs-on: ubuntu-latest
    steps: [{run: echo MARK never}]
  cleanup:
    needs: fails
    if: always()
    runs-on: ubuntu-latest
    steps: [{run: 'echo MARK ${{ needs.fails.result }}'}]
  onfailure:
    needs: fails
    if: failure()
    runs-on: ubuntu-latest
    steps: [{run: 'echo MARK on failure'}]
  unless:
    if: github.event_name != 'push'
    runs-on: ubuntu-latest
    steps: [{run: echo MARK never}]
  after-skipped:
    needs: unless
    runs-on: ubuntu-latest
    steps: [{run: echo MARK never}]
"),
    ("continue", "
on: push
jobs:
  steps:
    runs-on: ubuntu-latest
    steps:
      - {id: bad, run: exit 1, continue-on-error: true}
      - run: echo MARK ${{ steps.bad.outcome }} ${{ steps.bad.conclusion }} ${{ job.status }}
"),
    ("envs", "
on: push
env: {A: workflow, B: workflow, C: workflow}
jobs:
  one:
    runs-on: ubuntu-latest
    env: {B: job, C: job, D: '${{ github.event_name }}'}
    steps:
      - env: {C: step}
        run: echo MARK $A $B $C $D ${{ env.A }} ${{ env.B }} ${{ env.C }}
      - run: |
          echo B=file >> $GITHUB_ENV
          printf 'M<<X\\n1\\n2\\nX\\n' >> $GITHUB_ENV
          echo $PWD/bin >> $GITHUB_PATH
          mkdir bin && printf '#!/bin/sh\\necho MARK tool\\n' > bin/a-tool && chmod +x bin/a-tool
      - run: echo MARK $B ${{ env.B }} && echo \"$M\" | sed 's/^/MARK /' && a-tool
      - {env: {B: again}, run: 'echo MARK $B'}
"),
    ("shells", "
on: push
defaults: {run: {shell: sh}}
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - run: 'echo MARK ${BASH_VERSION:-no bash}'
      - {shell: bash, run: 'false | true; echo MARK not this'}
      - {if: always(), shell: bash, run: 'echo MARK ${BASH_VERSION:+bash}'}
      - {if: always(), shell: python, run: 'print(\"MARK python\")'}
      - {if: always(), shell: 'perl {0}', run: 'print \"MARK perl\\n\";'}
      - {if: always(), run: 'false | true; echo MARK no pipefail'}
"),
    ("defaults", "
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    defaults: {run: {working-directory: sub}}
    steps:
      - {working-directory: ., run: mkdir -p sub/deep}
      - run: echo MARK $(basename $PWD)
      - {working-directory: sub/deep, run: echo MARK $(basename $PWD)}
"),
    ("commands", "
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - id: a
        run: |
          echo '::notice title=t::a notice'
          echo '::group::g'
          echo MARK in group
          echo '::endgroup::'
          echo '::stop-commands::tok'
          echo '::set-env name=X::1'
          echo '::tok::'
          echo '::add-mask::hidden-word'
          echo MARK the hidden-word
"),
    ("expressions", "
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    env:
      LIST: '[1, \"two\", null, true, {\"k\": [5, 6]}]'
      OBJ: '{\"a\": {\"n\": 1}, \"b\": {\"n\": 2}, \"c\": {\"m\": 3}}'
    steps:
      - run: echo \"MARK ${{ 1 == '1' }} ${{ null == 0 }} ${{ 'A' == 'a' }} ${{ true == 1 }} ${{ '' == 0 }} ${{ 'x' == 0 }}\"
      - run: echo \"MARK ${{ 2 > 1 }} ${{ 'b' > 'a' }} ${{ 'B' > 'a' }} ${{ '10' > 9 }} ${{ 'x' >= 1 }}\"
      - run: echo \"MARK ${{ false || 'default' }} ${{ 'x' && 'y' }} ${{ '' || 0 }} ${{ !'' }} ${{ !0 }}\"
      - run: echo \"MARK ${{ 0xff }} ${{ 1e3 }} ${{ -1.50 }}\"
      - run: echo \"MARK ${{ format('{0} {{0}} {1}', 'a', 2) }} ${{ join(fromJSON('[1,2]'), '-') }} ${{ contains('Hello', 'LL') }}\"
      - run: echo \"MARK ${{ startsWith('Hello', 'he') }} ${{ endsWith('Hello', 'LO') }} ${{ contains(fromJSON('[1,2]'), 2) }}\"
      - run: echo \"MARK ${{ fromJSON(env.LIST)[4].k[1] }} ${{ fromJSON(env.LIST)[1] }}\"
      - run: echo \"MARK ${{ fromJSON(env.OBJ).a['n'] }} ${{ fromJSON(env.OBJ).missing.deep == null }} ${{ fromJSON('true') && 'yes' || 'no' }}\"
      - run: echo \"MARK ${{ github.event_name == 'PUSH' }} ${{ github.ref_name }} ${{ github.ref_type }} ${{ github.job }} ${{ runner.os }}\"
      - run: echo \"MARK ${{ toJSON(fromJSON('[1]')[0]) }} ${{ 'it''s' }} ${{ fromJSON('\"s\"') }}\"
      - run: echo \"MARK [${{ null }}] [${{ true }}] [${{ fromJSON('[]')[0] }}] [${{ github.nothing }}]\"
      - {if: \"contains(fromJSON('[\\\"push\\\", \\\"pull_request\\\"]'), github.event_name)\", run: echo MARK chosen}
      - {if: \"${{ github.event_name == 'push' }} \", run: echo MARK wrapped}
      - {if: \"github.ref == 'refs/heads/main' && !contains(github.event.head_commit.message, 'nothing')\", run: echo MARK branch}
"),
    ("hash", "
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - run: printf a > one.txt && mkdir -p d && printf b > d/two.txt
      - run: echo \"MARK ${{ hashFiles('*.txt') }} ${{ hashFiles('**/*.txt') }} [${{ hashFiles('none') }}]\"
      - run: echo \"MARK ${{ hashFiles('**/*.txt', '!one.txt') }}\"
"),
    ("composite", "
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - id: c
        uses: ./actions/composite
        with: {who: world}
      - run: echo \"MARK ${{ steps.c.outputs.greeting }} ${{ steps.inner.outputs.x }} [$FROM_COMPOSITE]\"
      - id: d
        uses: ./actions/composite
        continue-on-error: true
        with: {who: nobody, fail: 'true'}
      - run: echo MARK ${{ steps.d.outcome }}
"),
    ("javascript", "
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - id: j
        uses: ./actions/js
        with: {name-of: me}
      - run: echo \"MARK ${{ steps.j.outputs.answer }} $FROM_JS\"
"),
    ("call", "
on: push
jobs:
  call:
    uses: ./.github/workflows/library.yml
    with: {level: 3, flag: true}
  after:
    needs: call
    runs-on: ubuntu-latest
    steps: [{run: 'echo MARK ${{ needs.call.outputs.result }} ${{ needs.call.result }}'}]
"),
    ("filters", "
on: {push: {branches: [main, '!nothing'], paths: ['**']}, workflow_dispatch: {}}
jobs:
  one:
    runs-on: ubuntu-latest
    steps: [{run: echo MARK ran}]
"),
    ("other-branch", "
on: {push: {branches: ['release/**']}}
jobs:
  one:
    runs-on: ubuntu-latest
    steps: [{run: echo MARK never}]
"),
    ("needs-many", "
on: push
jobs:
  a: {runs-on: ubuntu-latest, outputs: {v: '${{ steps.s.outputs.v }}'}, steps: [{id: s, run: 'echo v=A >> $GITHUB_OUTPUT'}]}
  b: {runs-on: ubuntu-latest, outputs: {v: '${{ steps.s.outputs.v }}'}, steps: [{id: s, run: 'echo v=B >> $GITHUB_OUTPUT'}]}
  c:
    needs: [a, b]
    runs-on: ubuntu-latest
    steps: [{run: \"echo MARK ${{ needs.a.outputs.v }}${{ needs.b.outputs.v }} ${{ join(needs.*.result, ',') }}\"}]
"),
    ("step-outputs-missing", "
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - {id: a, if: false, run: echo}
      - run: \"echo MARK [${{ steps.a.outputs.x }}] ${{ steps.a.outcome }} ${{ steps.a.conclusion }} [${{ steps.zzz.outcome }}]\"
"),
    ("state-files", "
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - run: test -f \"$GITHUB_EVENT_PATH\" && test -d \"$GITHUB_WORKSPACE\" && test -d \"$RUNNER_TEMP\" && echo MARK $GITHUB_ACTIONS $CI $GITHUB_EVENT_NAME $GITHUB_REF_NAME
      - run: echo MARK ${{ github.event.ref || github.ref }} $GITHUB_JOB $GITHUB_RUN_ATTEMPT
      - run: 'echo \"# hi\" >> $GITHUB_STEP_SUMMARY && echo MARK summary'
"),
    ("timeout", "
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - {id: slow, timeout-minutes: 0.01, continue-on-error: true, run: sleep 5}
      - {if: always(), run: 'echo MARK ${{ steps.slow.outcome }}'}
"),
    ("job-continue", "
on: push
jobs:
  one: {runs-on: ubuntu-latest, continue-on-error: true, steps: [{run: exit 1}]}
  two: {needs: one, runs-on: ubuntu-latest, steps: [{run: 'echo MARK ${{ needs.one.result }}'}]}
"),
    ("fail-fast", "
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    strategy: {fail-fast: false, max-parallel: 1, matrix: {n: [2, 1, 3]}}
    steps: [{run: 'test ${{ matrix.n }} != 2 && echo MARK ${{ matrix.n }}'}]
  two: {needs: one, if: '!cancelled()', runs-on: ubuntu-latest, steps: [{run: 'echo MARK ${{ needs.one.result }}'}]}
"),
    ("multiline", "
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - name: Name with ${{ github.ref_name }}
        run: |
          for i in 1 2 3; do
            echo \"MARK line $i\"
          done
          cat <<'EOF' | sed 's/^/MARK /'
          $not ${{ 'expanded' }} `either`
          EOF
      - run: >-
          echo MARK folded
          into one
"),
    ("status-functions", "
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - {id: a, run: exit 1, continue-on-error: true}
      - {if: \"steps.a.outcome == 'failure'\", run: echo MARK saw it}
      - {if: \"failure() && steps.a.outcome == 'failure'\", run: echo MARK not failed}
      - {if: \"always() && steps.a.conclusion == 'success'\", run: echo MARK concluded}
"),
    ("scalars", "
on: push
env: {YES: yes, NUM: 1e3, OCT: 010, NUL: ~, FLT: 1.10, HEX: 0x1F, BOOL: TRUE}
jobs:
  one:
    runs-on: ubuntu-latest
    strategy: {matrix: {v: [1.10, 'x', true, 08]}}
    steps:
      - run: echo \"MARK $YES $NUM $OCT [$NUL] $FLT $HEX $BOOL\"
      - run: echo \"MARK ${{ matrix.v }}\"
"),
    ("object-filter", "
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    env: {OBJ: '{\"a\": {\"n\": 1}, \"b\": {\"n\": 2}, \"c\": {\"m\": 3}}'}
    steps: [{run: 'echo \"MARK ${{ join(fromJSON(env.OBJ).*.n) }}\"'}]
"),
    ("strategy", "
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    strategy: {max-parallel: 2, matrix: {n: [5, 6]}}
    steps: [{run: 'echo \"MARK ${{ strategy.job-index }} ${{ strategy.job-total }} ${{ matrix.n }}\"'}]
"),
    ("skipped-chain", "
on: push
jobs:
  a: {if: false, runs-on: ubuntu-latest, steps: [{run: echo MARK never}]}
  b: {needs: a, if: \"!failure()\", runs-on: ubuntu-latest, steps: [{run: 'echo MARK b ${{ needs.a.result }}'}]}
  c: {needs: a, if: \"always() && needs.a.result == 'skipped'\", runs-on: ubuntu-latest, steps: [{run: echo MARK c}]}
  d: {needs: [a, b], runs-on: ubuntu-latest, steps: [{run: echo MARK d}]}
"),
    ("nested", "
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - id: o
        uses: ./actions/outer
        with: {name: n}
      - run: echo \"MARK ${{ steps.o.outputs.both }}\"
"),
    ("old-commands", "
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - {id: a, run: 'echo \"::set-output name=x::a%25b%0Ac\"'}
      - run: echo \"MARK $(echo '${{ steps.a.outputs.x }}' | tr '\\n' '+')\"
"),
    ("env-expressions", "
on: push
env: {Y: why}
jobs:
  one:
    runs-on: ubuntu-latest
    env: {X: 'why-${{ github.event_name }}'}
    steps:
      - {if: env.X == 'why-push', run: echo MARK $X}
      - {working-directory: '${{ github.workspace }}', env: {Z: '${{ env.X }}!'}, run: 'echo MARK $Z ${{ env.Z }}'}
      - {if: env.NOTHING == '', run: echo MARK empty}
"),
    ("exits", "
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - run: exit 0; echo MARK never
      - {shell: 'bash --noprofile --norc {0}', run: 'false; echo MARK goes on'}
      - {continue-on-error: true, run: \"false\\necho MARK stopped\"}
      - {continue-on-error: true, run: 'no-such-command-at-all'}
      - {run: echo MARK end}
"),
];

/// Files that the cases use.
pub const FILES: &[(&str, &str)] = &[
    ("actions/composite/action.yml", "
name: composite
description: greets
inputs: {who: {required: true}, fail: {default: 'false'}, other: {default: 'd-${{ github.event_name }}'}}
outputs: {greeting: {description: g, value: '${{ steps.inner.outputs.x }}'}}
runs:
  using: composite
  steps:
    - id: inner
      shell: bash
      env: {MORE: more}
      run: |
        echo \"x=hello ${{ inputs.who }} ${{ inputs.other }}\" >> $GITHUB_OUTPUT
        echo FROM_COMPOSITE=set >> $GITHUB_ENV
        echo \"MARK inside $MORE ${{ github.action_path != '' }}\"
    - {shell: bash, if: inputs.fail == 'true', run: exit 9}
    - {shell: bash, if: always(), run: 'echo MARK ${{ steps.inner.outcome }}'}
"),
    ("actions/js/action.yml", "
name: js
description: answers
inputs: {name-of: {required: true}, size: {default: '5'}}
outputs: {answer: {description: a}}
runs: {using: node20, main: main.js, post: post.js}
"),
    ("actions/js/main.js", "
const fs = require('fs');
fs.appendFileSync(process.env.GITHUB_OUTPUT, `answer=${process.env['INPUT_NAME-OF']} ${process.env.INPUT_SIZE}\\n`);
fs.appendFileSync(process.env.GITHUB_ENV, 'FROM_JS=js\\n');
fs.appendFileSync(process.env.GITHUB_STATE, 'kept=state\\n');
console.log('MARK main');
"),
    ("actions/js/post.js", "console.log('MARK post ' + process.env.STATE_kept);\n"),
    ("actions/outer/action.yml", "
name: outer
description: uses another
inputs: {name: {required: true}}
outputs: {both: {description: b, value: '${{ steps.in.outputs.greeting }} and ${{ inputs.name }}'}}
runs:
  using: composite
  steps:
    - {id: in, uses: ./actions/composite, with: {who: 'inner-${{ inputs.name }}'}}
    - {shell: bash, run: 'echo MARK outer ${{ steps.in.outcome }}'}
"),
    (".github/workflows/library.yml", "
on:
  workflow_call:
    inputs: {level: {type: number, required: true}, flag: {type: boolean, default: false}, text: {type: string, default: plain}}
    outputs: {result: {value: '${{ jobs.inner.outputs.r }}'}}
jobs:
  inner:
    runs-on: ubuntu-latest
    outputs: {r: '${{ steps.s.outputs.r }}'}
    steps:
      - {id: s, run: 'echo r=got-${{ inputs.level }} >> $GITHUB_OUTPUT'}
      - run: echo MARK ${{ inputs.level }} ${{ inputs.flag }} ${{ inputs.text }} ${{ github.event_name }}
"),
];
