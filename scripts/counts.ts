import {stripVTControlCharacters} from 'node:util'
import {writeFileSync} from 'node:fs'
import type {Reporter, TestCase} from 'vitest/node'

const reasonOf = (test: TestCase): string => {
  const result = test.result()
  const said = 'note' in result && result.note
  return said || (/\(skipped: ([^)]+)\)/.exec(test.fullName)?.[1] ?? `no reason given: ${test.fullName}`)
}

/** A line for each reason of each file: which test it skips, or how many. */
const skips = (tests: TestCase[]): string[] =>
  [...Map.groupBy(tests, (test) => `${test.module.relativeModuleId}: ${reasonOf(test)}`)].map(
    ([reason, [first, ...more]]) => `skipped: ${more.length === 0 ? first?.fullName : `${more.length + 1} tests`}: ${reason}`,
  )

type Failure = {message: string; stacks?: readonly {file: string; line: number}[] | undefined}

const isFailure = (error: unknown): error is Failure => typeof error === 'object' && error !== null && 'message' in error

/** What failed, with the first lines of why and where. */
const failure = (where: string, errors: readonly Failure[]): string[] =>
  errors.map(({message, stacks}) => {
    const why = stripVTControlCharacters(message).split('\n').slice(0, 12).join('\n    ')
    const at = stacks?.[0]
    return `failed: ${where}\n    ${why}${at === undefined ? '' : `\n    at ${at.file}:${at.line}`}`
  })

/** What .ci/run prints: why tests were skipped, what failed, then the sum over all projects. */
export const counts = (file: string): Reporter => ({
  onTestRunEnd(modules, unhandled) {
    const tests = modules.flatMap((module) => [...module.children.allTests()])
    const inState = (state: 'passed' | 'failed' | 'skipped') => tests.filter((test) => test.result().state === state)
    const failed = inState('failed')
    // a file that cannot be loaded, and a suite whose hook fails, have no tests that fail
    const broken = modules.flatMap((module) => [module, ...module.children.allSuites()]).filter((each) => each.errors().length > 0)
    const lines = [
      ...skips(inState('skipped')),
      ...failed.flatMap((test) => failure(`${test.module.relativeModuleId} > ${test.fullName}`, test.result().errors ?? [])),
      ...broken.flatMap((each) => failure('fullName' in each ? each.fullName : each.relativeModuleId, each.errors())),
      ...failure('outside a test', unhandled.filter(isFailure)),
      `${inState('passed').length} passed, ${failed.length + broken.length + unhandled.length} failed, ${inState('skipped').length} skipped`,
    ]
    writeFileSync(file, `${lines.join('\n')}\n`)
  },
})
