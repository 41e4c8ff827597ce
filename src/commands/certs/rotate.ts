import {Flags} from '@oclif/core'
import {LkeobsCommand, passwordFlags} from '../../command.ts'
import {lockOf} from '../../platforms/local/index.ts'
import {rotationOf} from '../../plans/certs-rotate.ts'
import {rootRotationOf} from '../../plans/root-rotate.ts'
import {pageOf, rootPhaseText, rotationResult} from '../../status/rotation.ts'
import type {RunFailed} from '../../steps/step.ts'
import type {Rotated} from '../../trust/rotation.ts'
import {provingOf, unproven} from '../../verify/proof/proving.ts'

export default class CertsRotate extends LkeobsCommand {
  static override summary = 'Renew leaves now, without a restart, or exchange the root CA; done when what is new is in use on the wire.'
  static override description =
    'Each leaf is asked for anew, and then watched: the gateway until it shows the new one to who dials it, an agent until every connection it has was made with it. The old leaf stays good until its end, so nothing that is under way is refused. Edges are rotated side by side; one that fails does not stop the others, and the exit code is 8. With --vault the nodes of Vault get other certificates, and take them up one after the other without a restart. With --root the root CA of the hub is exchanged: first both are trusted, then the new one signs everything anew, then the old one is trusted no longer; each phase is seen to hold before the next begins. Killed in any phase and run again, it goes on from there.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --all',
    '<%= config.bin %> <%= command.id %> --edge edge-1 --edge edge-2',
    '<%= config.bin %> <%= command.id %> --all --prove --report rotation.html',
    '<%= config.bin %> <%= command.id %> --gateway',
    '<%= config.bin %> <%= command.id %> --issuer edge-1',
    '<%= config.bin %> <%= command.id %> --vault',
    '<%= config.bin %> <%= command.id %> --root',
  ]

  static override flags = {
    ...passwordFlags,
    all: Flags.boolean({description: 'the gateway and every edge', exclusive: ['edge', 'gateway', 'root', 'vault'], env: 'LKEOBS_ALL'}),
    concurrency: Flags.integer({description: 'how many edges at once', default: 10, min: 1, max: 50, env: 'LKEOBS_CONCURRENCY'}),
    edge: Flags.string({description: 'this edge; may be given again', multiple: true, env: 'LKEOBS_EDGE', helpValue: 'NAME'}),
    gateway: Flags.boolean({description: 'the gateway', env: 'LKEOBS_GATEWAY'}),
    issuer: Flags.string({
      description: 'the issuer of this edge, and its leaf',
      exclusive: ['all', 'edge', 'gateway', 'root', 'vault'],
      env: 'LKEOBS_ISSUER',
      helpValue: 'NAME',
    }),
    'max-failures': Flags.integer({
      description: 'how many edges may fail before no other begins; any number unless given',
      min: 0,
      env: 'LKEOBS_MAX_FAILURES',
    }),
    prove: Flags.boolean({
      description: 'send numbered items of every signal through every edge all the while, and count what arrived',
      env: 'LKEOBS_PROVE',
    }),
    report: Flags.string({
      description: 'with --prove: the file for a page with the timeline',
      dependsOn: ['prove'],
      env: 'LKEOBS_REPORT',
      helpValue: 'FILE',
    }),
    rollback: Flags.boolean({
      description: 'with --root: back to the root CA of before, as long as both are trusted',
      dependsOn: ['root'],
      env: 'LKEOBS_ROLLBACK',
    }),
    root: Flags.boolean({
      description: 'the root CA of the hub, and all that is signed by it',
      exclusive: ['edge', 'gateway'],
      env: 'LKEOBS_ROOT',
    }),
    status: Flags.boolean({description: 'with --root: only say in which phase it is', dependsOn: ['root'], env: 'LKEOBS_STATUS'}),
    vault: Flags.boolean({
      description: "the certificates of Vault's nodes, of the hub and of every edge; with --edge only of these",
      exclusive: ['gateway', 'root'],
      env: 'LKEOBS_VAULT',
    }),
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(CertsRotate)
    const rotation = rotationOf(flags)
    if (!rotation) this.error('What is to be rotated? --all, --gateway, --edge NAME, --issuer NAME, --vault, or --root.', {exit: 2})
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools)
    const {hub, file} = fleet
    const root = async () => (flags.root ? {hub: hub.name, phase: await (await rootRotationOf(fleet)).phase()} : undefined)
    if (flags.status) {
      const {phase = 'none'} = (await root()) ?? {}
      return this.result('lkeobs/root-rotation/v1', {hub: hub.name, phase}, rootPhaseText(hub.name, phase))
    }
    await this.check(flags, () => rotation.checked(fleet))
    if (rotation.question && !flags['dry-run']) await tools.ask.confirm(rotation.question(fleet))
    const proving = flags.prove ? provingOf(fleet, (line) => this.progress(line)) : unproven
    const rotated: Rotated[] = []
    const witness = {
      mark: proving.mark,
      rotated(one: Rotated) {
        rotated.push(one)
        proving.mark(`${one.cluster}${one.node === undefined ? '' : ` ${one.node}`} in use`)
      },
    }
    const answer = async ({outcomes, failed}: Pick<RunFailed, 'outcomes' | 'failed'>) => {
      const proven = await proving.proven(pageOf(rotation.title, rotated, failed), tools.files, flags.report)
      const result = rotationResult({rotated, steps: outcomes, failed, proven, root: await root()})
      if (!result.ok) this.failChecks()
      return result
    }
    await this.carryOut(flags, async (those) => rotation.plan(await this.fleet(flags, those), those, witness), {
      lock: lockOf(file.folder),
      around: proving.around,
      after: (outcomes) => answer({outcomes, failed: []}),
      afterFailure: answer,
    })
  }
}
