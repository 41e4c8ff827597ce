import {Flags} from '@oclif/core'
import {edgesOf} from '../clusters.ts'
import {signals} from '../collector/config.ts'
import {LkeobsCommand} from '../command.ts'
import {verificationJunit, verificationText} from '../verify/report.ts'
import {verify} from '../verify/verify.ts'

export default class Verify extends LkeobsCommand {
  static override summary = 'Send canaries through the edges and read them back from the stores of the hub.'
  static override description =
    'One span, log record and data point through every edge agent; each counts only when the store returns it. A missing one is reported with the last hop that counted it, and the exit code is 7.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --all',
    '<%= config.bin %> <%= command.id %> --edge edge-1 --signal logs --json',
  ]
  static override flags = {
    all: Flags.boolean({description: 'all edges, as without --edge', exclusive: ['edge'], env: 'LKEOBS_ALL'}),
    edge: Flags.string({description: 'only this edge; may be given again', multiple: true, env: 'LKEOBS_EDGE', helpValue: 'NAME'}),
    'junit-file': Flags.string({description: 'also write the result as JUnit XML', env: 'LKEOBS_JUNIT_FILE', helpValue: 'FILE'}),
    signal: Flags.option({options: signals, description: 'only this signal; may be given again', multiple: true, env: 'LKEOBS_SIGNAL'})(),
    timeout: Flags.integer({description: 'seconds a canary may take', default: 15, min: 1, max: 600, env: 'LKEOBS_TIMEOUT'}),
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(Verify)
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools)
    const edges = edgesOf(fleet, flags.edge)
    const wanted = signals.filter((signal) => flags.signal === undefined || flags.signal.includes(signal))
    if (flags['dry-run']) {
      const canaries = edges.flatMap(({name, otlp}) => wanted.map((signal) => ({edge: name, signal, to: `${otlp}/v1/${signal}`})))
      const lines = canaries.map(({edge, signal, to}) => `would send a canary of ${signal} through ${edge} to ${to}`)
      this.result('lkeobs/verify-plan/v1', {canaries}, lines.join('\n'))
      return
    }
    const wish = {hub: fleet.hub, edges, signals: wanted, timeoutMs: flags.timeout * 1000}
    const verification = await verify(tools.http, wish, (line) => this.progress(line))
    if (flags['junit-file'] !== undefined) await tools.files.write(flags['junit-file'], verificationJunit(verification), 0o644)
    if (!verification.ok) this.failChecks()
    this.result('lkeobs/verify/v1', verification, verificationText(verification))
  }
}
