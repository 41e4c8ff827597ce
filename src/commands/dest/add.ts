import {Args, Flags} from '@oclif/core'
import {checkHub, refuseHubElsewhere} from '../../clusters.ts'
import {chartFlags, LkeobsCommand, passwordFlags} from '../../command.ts'
import {signals} from '../../collector/config.ts'
import {entryOf, kindNamed, secretsFor} from '../../destinations/entry.ts'
import {exporterOf, kinds} from '../../destinations/index.ts'
import {secretsKept} from '../../destinations/secrets.ts'
import {destAdd} from '../../plans/dest-add.ts'
import {nextCommands} from '../../output.ts'
import {lockOf} from '../../platforms/local/index.ts'
import {checkExporter} from '../../status/exporters.ts'

type Shown = {readonly flag: string; readonly kind: string; readonly about: string; readonly value?: string | undefined}

/** The settings of every kind, and a file or pipe for each of its secrets. */
const shown: readonly Shown[] = kinds.flatMap(({name: kind, flags, secrets}) => [
  ...Object.entries(flags).map(([flag, {about, value}]) => ({flag, kind, about, value})),
  ...secrets.map(({name, about}) => ({flag: `${name}-file`, kind, about: `a file or pipe with the ${about}; - is stdin`, value: 'FILE'})),
])

const kindFlags = Object.fromEntries(
  [...Map.groupBy(shown, ({flag}) => flag)].map(([flag, all]) => {
    const abouts = [...Map.groupBy(all, ({about}) => about)].map(([about, same]) => `${same.map(({kind}) => kind).join(', ')}: ${about}`)
    const common = {description: abouts.join('; '), env: `LKEOBS_${flag}`.toUpperCase().replaceAll('-', '_'), helpGroup: 'KIND'}
    const value = all[0]?.value
    return [flag, value === undefined ? Flags.boolean(common) : Flags.string({...common, helpValue: value})]
  }),
)

export default class DestAdd extends LkeobsCommand {
  static override summary = 'Send telemetry on to Splunk, Datadog or anything that takes OTLP, and see a canary pass.'
  static override description =
    'Tries the destination from this machine first, with what it will be sent: a wrong token, index, certificate or port ends the command before anything is changed. Then its secret goes into the Vault of the hub, its entry into the fleet file, and the gateway begins to feed it; nothing else is restarted. The command ends when a canary has passed through the new exporter. Run again with other flags, it changes the destination.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> splunk corp --endpoint https://splunk.example:8088 --index otel',
    '<%= config.bin %> <%= command.id %> otlp eu --endpoint https://otlp.example:4317 --where edge=edge-1 --scrub email',
    'vault kv get -field=key secret/datadog | <%= config.bin %> <%= command.id %> datadog dd --site datadoghq.eu --api-key-file -',
  ]
  static override args = {
    kind: Args.string({description: kinds.map(({name, about}) => `${name}: ${about}`).join('; '), required: true}),
    name: Args.string({description: 'the destination, as it is to be called', required: true}),
  }

  static override flags = {
    ...chartFlags,
    ...passwordFlags,
    force: Flags.boolean({
      description: 'do not try the destination first: a wrong secret, index or address shows only in what is refused later',
      env: 'LKEOBS_FORCE',
    }),
    signals: Flags.option({
      options: signals,
      description: 'what it is sent; may be given again',
      multiple: true,
      env: 'LKEOBS_SIGNALS',
    })(),
    where: Flags.string({
      description: 'only items with this attribute, or of this edge; may be given again',
      multiple: true,
      env: 'LKEOBS_WHERE',
      helpValue: 'KEY=VALUE',
    }),
    scrub: Flags.string({
      description: 'take this out of everything: email, ipv4, card, bearer, key:ATTRIBUTE, /EXPRESSION/; may be given again',
      multiple: true,
      env: 'LKEOBS_SCRUB',
      helpValue: 'WHAT',
    }),
    'max-age': Flags.string({
      description: 'how long a batch is tried before it is given up: 30m, 24h; for ever unless given',
      env: 'LKEOBS_MAX_AGE',
      helpValue: 'TIME',
    }),
    'queue-items': Flags.integer({description: 'how many items wait for it at most', env: 'LKEOBS_QUEUE_ITEMS', helpValue: 'N'}),
    ...kindFlags,
  }

  async run(): Promise<void> {
    const {args, flags} = await this.parse(DestAdd)
    const kind = kindNamed(args.kind)
    const tools = await this.tools(flags)
    const ways = {charts: flags.charts}
    const {file: before, hub} = await this.fleet(flags, tools, ways)
    refuseHubElsewhere(hub)
    const {input, destination} = await entryOf(kind, args.name, flags, tools)
    await this.check(flags, () => checkHub(hub))
    await this.check(flags, () => checkExporter(hub, destination))
    const secrets = await secretsFor(kind, destination, flags, await secretsKept(hub.vault, destination), tools)
    if (flags.force) this.progress(`--force: whether ${args.name} answers, and takes its secret and what it is sent, is not tried.`)
    await this.carryOut(
      flags,
      async (those) => {
        const {file} = await this.fleet(flags, those, ways)
        return destAdd({before: file, input, destination, secrets, probes: !flags.force, ways}, those)
      },
      {
        lock: lockOf(before.folder),
        after: async (steps) => ({
          schema: 'lkeobs/dest-add/v1',
          data: {destination: args.name, kind: kind.name, exporter: exporterOf(destination), probed: !flags.force, steps},
          text: `${hub.name} sends to ${args.name}.\n${nextCommands(['lkeobs dest list', `lkeobs dest test ${args.name}`])}`,
        }),
      },
    )
  }
}
