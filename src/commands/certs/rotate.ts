import {Flags, type Interfaces} from '@oclif/core'
import {checkHub, edgeOf, edgesOf, type Fleet} from '../../clusters.ts'
import {signals} from '../../collector/config.ts'
import {LkeobsCommand, passwordFlags} from '../../command.ts'
import {duration} from '../../output.ts'
import {certsRotate, checkRotatable, issuerRotate} from '../../plans/certs-rotate.ts'
import {lockOf} from '../../platforms/local/index.ts'
import {rootRollback, rootRotate, rootRotationOf} from '../../plans/root-rotate.ts'
import {rootPhaseText, rotationText} from '../../status/rotation-text.ts'
import type {Tools} from '../../tools/index.ts'
import {percentile, type Rotated} from '../../trust/rotation.ts'
import type {Proof} from '../../verify/proof/prove.ts'
import {type Proving, provingOf} from '../../verify/proof/proving.ts'
import {proofText} from '../../verify/proof/text.ts'

export default class CertsRotate extends LkeobsCommand {
  static override summary = 'Renew leaves now, without a restart, or exchange the root CA; done when what is new is in use on the wire.'
  static override description =
    'Each leaf is asked for anew, and then watched: the gateway until it shows the new one to who dials it, an agent until every connection it has was made with it. The old leaf stays good until its end, so nothing that is under way is refused. Edges are rotated side by side; one that fails does not stop the others, and the exit code is 8. With --root the root CA of the hub is exchanged: first both are trusted, then the new one signs everything anew, then the old one is trusted no longer; each phase is seen to hold before the next begins. Killed in any phase and run again, it goes on from there.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --all',
    '<%= config.bin %> <%= command.id %> --edge edge-1 --edge edge-2',
    '<%= config.bin %> <%= command.id %> --all --prove --report rotation.html',
    '<%= config.bin %> <%= command.id %> --gateway',
    '<%= config.bin %> <%= command.id %> --issuer edge-1',
    '<%= config.bin %> <%= command.id %> --root',
  ]

  static override flags = {
    ...passwordFlags,
    all: Flags.boolean({description: 'the gateway and every edge', exclusive: ['edge', 'gateway', 'root'], env: 'LKEOBS_ALL'}),
    concurrency: Flags.integer({description: 'how many edges at once', default: 10, min: 1, max: 50, env: 'LKEOBS_CONCURRENCY'}),
    edge: Flags.string({description: 'this edge; may be given again', multiple: true, env: 'LKEOBS_EDGE', helpValue: 'NAME'}),
    gateway: Flags.boolean({description: 'the gateway', env: 'LKEOBS_GATEWAY'}),
    issuer: Flags.string({
      description: 'the issuer of this edge, and its leaf',
      exclusive: ['all', 'edge', 'gateway', 'root'],
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
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(CertsRotate)
    const {issuer} = flags
    if (!flags.all && !flags.gateway && !flags.root && flags.edge === undefined && issuer === undefined)
      this.error('What is to be rotated? --all, --gateway, --edge NAME, --issuer NAME, or --root.', {exit: 2})
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools)
    // killed in between, it finds a hub that does not run, and brings it up
    if (flags.root) return this.#rotateRoot(fleet, flags)
    await this.check(flags, () => checkHub(fleet.hub))
    const proving = flags.prove ? provingOf(fleet, (line) => this.progress(line)) : undefined
    const edges = issuer !== undefined ? [edgeOf(fleet, issuer)] : flags.all || flags.edge !== undefined ? edgesOf(fleet, flags.edge) : []
    await this.check(flags, () => checkRotatable(fleet, {edges, gateway: flags.all || flags.gateway}))
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
        const told = (one: Rotated) => {
          rotated.push(one)
          proving?.mark(`${one.cluster}: new leaf in use`)
        }
        return issuer === undefined ? certsRotate(opened, wish, told) : issuerRotate(opened, edgeOf(opened, issuer), told)
      },
      {
        lock: lockOf(fleet.file.folder),
        ...(proving && {around: proving.around}),
        after: async (steps) => {
          const took = rotated.map(({propagationMs}) => propagationMs)
          const propagationMs = {p50: percentile(took, 0.5), p95: percentile(took, 0.95), max: Math.max(0, ...took)}
          const figures = {p50: duration(propagationMs.p50), p95: duration(propagationMs.p95), slowest: duration(propagationMs.max)}
          const proven = await this.#proven(proving, flags, 'New leaves', figures, tools)
          return {
            schema: 'lkeobs/rotation/v1',
            data: {ok: proven.ok, ...proven.proof, propagationMs, rotated, steps},
            text: [rotationText(rotated, propagationMs), ...proven.text].join('\n\n'),
          }
        },
      },
    )
  }

  async #rotateRoot(fleet: Fleet, flags: RotateFlags): Promise<void> {
    const {phase} = await rootRotationOf(fleet)
    if (flags.status) {
      const now = await phase()
      return this.result('lkeobs/root-rotation/v1', {hub: fleet.hub.name, phase: now}, rootPhaseText(fleet.hub.name, now))
    }
    const tools = await this.tools(flags)
    const proving = flags.prove ? provingOf(fleet, (line) => this.progress(line)) : undefined
    if (!flags['dry-run'])
      await tools.ask.confirm(`Exchange the root CA of ${fleet.hub.name}? Its Vault, its gateway and every agent are restarted on the way.`)
    await this.carryOut(
      flags,
      async (those) => {
        const opened = await this.fleet(flags, those)
        const rotation = await rootRotationOf(opened)
        return (flags.rollback ? rootRollback : rootRotate)(opened, rotation, those, (what) => proving?.mark(what))
      },
      {
        lock: lockOf(fleet.file.folder),
        ...(proving && {around: proving.around}),
        after: async (steps) => {
          const now = await phase()
          const proven = await this.#proven(proving, flags, 'Another root CA', {}, tools)
          return {
            schema: 'lkeobs/rotation/v1',
            data: {ok: proven.ok, ...proven.proof, root: true, phase: now, steps},
            text: [rootPhaseText(fleet.hub.name, now), ...proven.text].join('\n\n'),
          }
        },
      },
    )
  }

  /** What of the proof is answered, and its page. Something lost is a check that failed. */
  async #proven(
    proving: Proving | undefined,
    flags: RotateFlags,
    title: string,
    figures: Readonly<Record<string, string>>,
    tools: Tools,
  ): Promise<{readonly ok: boolean; readonly proof?: Proof; readonly text: readonly string[]}> {
    const proof = proving?.proof()
    if (!proof) return {ok: true, text: []}
    const {proofPage} = await import('../../verify/proof/page.ts')
    if (flags.report !== undefined) await tools.files.write(flags.report, proofPage(proof, {title, figures}), 0o644)
    const ok = [proof.lost, proof.refused].every((count) => signals.every((signal) => count[signal] === 0))
    if (!ok) this.failChecks()
    return {ok, proof, text: [proofText(proof)]}
  }
}

type RotateFlags = Interfaces.InferredFlags<typeof CertsRotate.flags & typeof CertsRotate.baseFlags>
