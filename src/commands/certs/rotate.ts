import {Flags} from '@oclif/core'
import {checkHub, edgesOf} from '../../clusters.ts'
import {LkeobsCommand, passwordFlags} from '../../command.ts'
import {certsRotate} from '../../plans/certs-rotate.ts'
import {lockOf} from '../../platforms/local/index.ts'
import {rotationText} from '../../status/rotation-text.ts'
import {percentile, type Rotated} from '../../trust/rotation.ts'

export default class CertsRotate extends LkeobsCommand {
  static override summary = 'Renew the leaves of gateways and edges now, without a restart; done when each is in use on the wire.'
  static override description =
    'Each leaf is asked for anew, and then watched: the gateway until it shows the new one to who dials it, an agent until every connection it has was made with it. The old leaf stays good until its end, so nothing that is under way is refused. Edges are rotated side by side; one that fails does not stop the others, and the exit code is 8.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --all',
    '<%= config.bin %> <%= command.id %> --edge edge-1 --edge edge-2',
    '<%= config.bin %> <%= command.id %> --gateway',
  ]

  static override flags = {
    ...passwordFlags,
    all: Flags.boolean({description: 'the gateway and every edge', exclusive: ['edge', 'gateway'], env: 'LKEOBS_ALL'}),
    concurrency: Flags.integer({description: 'how many edges at once', default: 10, min: 1, max: 50, env: 'LKEOBS_CONCURRENCY'}),
    edge: Flags.string({description: 'this edge; may be given again', multiple: true, env: 'LKEOBS_EDGE', helpValue: 'NAME'}),
    gateway: Flags.boolean({description: 'the gateway', env: 'LKEOBS_GATEWAY'}),
    'max-failures': Flags.integer({
      description: 'how many edges may fail before no other begins; any number unless given',
      min: 0,
      env: 'LKEOBS_MAX_FAILURES',
    }),
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(CertsRotate)
    if (!flags.all && !flags.gateway && flags.edge === undefined)
      this.error('What is to be rotated? --all, --gateway, or --edge NAME.', {exit: 2})
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools)
    if (flags.all || flags.edge !== undefined) edgesOf(fleet, flags.edge)
    await this.check(flags, () => checkHub(fleet.hub))
    const rotated: Rotated[] = []
    await this.carryOut(
      flags,
      async (those) => {
        const opened = await this.fleet(flags, those)
        const wish = {
          edges: flags.all || flags.edge !== undefined ? edgesOf(opened, flags.edge) : [],
          gateway: flags.all || flags.gateway,
          concurrency: flags.concurrency,
          mostFailures: flags['max-failures'],
        }
        return certsRotate(opened, wish, (one) => rotated.push(one))
      },
      {
        lock: lockOf(fleet.file.folder),
        after: async (steps) => {
          const took = rotated.map(({propagationMs}) => propagationMs)
          const propagationMs = {p50: percentile(took, 0.5), p95: percentile(took, 0.95), max: Math.max(0, ...took)}
          return {schema: 'lkeobs/rotation/v1', data: {ok: true, rotated, propagationMs, steps}, text: rotationText(rotated, propagationMs)}
        },
      },
    )
  }
}
