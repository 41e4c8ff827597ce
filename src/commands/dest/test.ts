import {Args, Flags} from '@oclif/core'
import {checkHub} from '../../clusters.ts'
import {LkeobsCommand, passwordFlags} from '../../command.ts'
import {kindOf} from '../../destinations/index.ts'
import {destinationsNamed, triedDestinations, triedText} from '../../status/destinations-tried.ts'

export default class DestTest extends LkeobsCommand {
  static override summary = 'Try destinations as they were tried when they were added.'
  static override description =
    'Sends an item to each with its secret from the Vault of the hub, from this machine, and reads the answer: an event to the index of a Splunk, the key and the intake of a Datadog, an item of each signal by OTLP. Says how long its certificate holds, how long the answer took and how far its clock is off. The exit code is 7 when one fails.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> corp',
    '<%= config.bin %> <%= command.id %> --all --json',
  ]
  static override args = {name: Args.string({description: 'the destination; all unless given', ignoreStdin: true})}

  static override flags = {
    ...passwordFlags,
    all: Flags.boolean({description: 'all destinations, as without a name', env: 'LKEOBS_ALL'}),
  }

  async run(): Promise<void> {
    const {args, flags} = await this.parse(DestTest)
    if (flags.all && args.name !== undefined) this.error(`${args.name} and --all: give one of them.`, {exit: 2})
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools)
    const wanted = destinationsNamed(fleet, args.name)
    if (flags['dry-run']) {
      const items = wanted.map((destination) => {
        const {kind, settings} = kindOf(destination)
        return {destination: destination.name, kind: kind.name, to: kind.at(settings)}
      })
      const lines = items.map(({destination, to}) => `would send an item for ${destination} to ${to}`)
      this.result('lkeobs/dest-test-plan/v1', {items}, lines.join('\n'))
      return
    }
    await checkHub(fleet.hub)
    const tried = await triedDestinations({vault: fleet.hub.vault, wire: tools.wire, tls: tools.tls}, wanted)
    const ok = tried.every((each) => each.ok)
    if (!ok) this.failChecks()
    this.result('lkeobs/dest-test/v1', {fleet: fleet.file.fleet.fleet, ok, destinations: tried}, triedText(tried))
  }
}
