import type {Hook} from '@oclif/core'
import {exit} from '../errors.ts'
import {nearest} from '../nearest.ts'

const hook: Hook<'command_not_found'> = async function ({id, argv, config}) {
  const spoken = (text: string) => text.replaceAll(':', ' ')
  const commands = config.commands.filter(({hidden}) => !hidden).map((command) => spoken(command.id))
  const word = spoken(id)
  // `lab upp` arrives as one id, `lbb up` as an id and an argument
  const topics = config.topics.map(({name}) => spoken(name))
  const [meant = '--help'] = [...nearest([word, ...(argv ?? [])].join(' '), commands), ...nearest(word, [...commands, ...topics, 'help'])]
  this.error(`There is no command \`${config.bin} ${word}\`. Try \`${config.bin} ${meant}\`.`, {exit: exit.usage})
}

export default hook
