import {writeFileSync} from 'node:fs'
import type {Reporter} from 'vitest/node'

/** What .ci/run prints: one line a skip with its reason, then the sum over both projects. */
export const counts = (file: string): Reporter => ({
  onTestRunEnd(modules, unhandled) {
    const tests = modules.flatMap((module) => [...module.children.allTests()])
    const inState = (state: 'passed' | 'failed' | 'skipped') => tests.filter((test) => test.result().state === state)
    const skipped = inState('skipped').map((test) => {
      const result = test.result()
      return `skipped: ${test.project.name}: ${test.fullName}: ${('note' in result && result.note) || (/\(skipped: ([^)]+)\)/.exec(test.fullName)?.[1] ?? 'no reason given')}`
    })
    // a file that cannot be loaded has no tests to fail
    const broken = modules.filter((module) => module.errors().length > 0).length + unhandled.length
    const sum = `${inState('passed').length} passed, ${inState('failed').length + broken} failed, ${skipped.length} skipped`
    writeFileSync(file, `${[...skipped, sum].join('\n')}\n`)
  },
})
