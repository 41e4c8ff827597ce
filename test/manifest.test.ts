import {Config} from '@oclif/core'
import {expect, test} from 'vitest'
import {sources} from '../scripts/sources.ts'

const {commands, topics} = await Config.load(sources)

test('the contract of the command line', () => {
  const contract = Object.fromEntries(
    commands.map(({id, flags, args}) => [
      id.replaceAll(':', ' '),
      {
        flags: Object.values(flags).map(({name, char}) => (char ? `-${char}, --${name}` : `--${name}`)),
        args: Object.values(args).map(({name, required}) => (required ? name : `[${name}]`)),
      },
    ]),
  )
  expect(contract).toMatchSnapshot()
})

test.for(commands.map((command) => [command.id, command] as const))(
  '%s says what it is for, and shows how it is typed',
  ([, {summary, examples, flags, args}]) => {
    expect(summary).toMatch(/^[A-Z].*\.$/)
    expect(examples).not.toHaveLength(0)
    expect(examples).toBeDefined()
    const undescribed = [...Object.values(flags), ...Object.values(args)].filter(({description}) => !description).map(({name}) => name)
    expect(undescribed).toEqual([])
  },
)

test.for(commands.map((command) => [command.id, command] as const))('%s takes every flag from a variable, too', ([, {flags}]) => {
  const wrong = Object.values(flags)
    .filter(({env}) => !env?.startsWith('LKEOBS_'))
    .map(({name}) => name)
  expect(wrong).toEqual([])
})

test('one variable means one flag', () => {
  const names = Map.groupBy(
    commands.flatMap(({flags}) => Object.values(flags)),
    ({env}) => env,
  )
  for (const [variable, flags] of names) expect(new Set(flags.map(({name}) => name)).size, variable).toBe(1)
})

test('every topic is described', () => {
  expect(topics.filter(({description}) => !description)).toEqual([])
})
