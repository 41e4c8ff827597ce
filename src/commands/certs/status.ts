import {Flags} from '@oclif/core'
import {edgesOf} from '../../clusters.ts'
import {LkeobsCommand, passwordFlags} from '../../command.ts'
import {readDuration} from '../../output.ts'
import {warnDays} from '../../status/certificate.ts'
import {certificatesText} from '../../status/certificates-text.ts'
import {fleetCertificates} from '../../status/certificates.ts'

export default class CertsStatus extends LkeobsCommand {
  static override summary = 'Show every certificate of the fleet: when it ends, who renews it, and what stops working then.'
  static override description =
    'Reads only, and from where a certificate is used: what is served on the wire, what is in the hands of a component, what Vault signs with. One that cannot be read is shown with the reason. Leaves are due in the last quarter of their life, since they are renewed at two thirds; the others as --warn says. The exit code is 7 when something is due, over or could not be read, or the gateway trusts a CA of no edge.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --warn 90d --json',
    '<%= config.bin %> <%= command.id %> --edge edge-1',
  ]
  static override flags = {
    ...passwordFlags,
    edge: Flags.string({description: 'only this edge; may be given again', multiple: true, env: 'LKEOBS_EDGE', helpValue: 'NAME'}),
    warn: Flags.string({
      description: 'how long before its end a long-lived certificate is due: 30d, 12h, 90m',
      default: `${warnDays}d`,
      env: 'LKEOBS_WARN',
      helpValue: 'TIME',
    }),
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(CertsStatus)
    const warnSeconds = readDuration(flags.warn)
    if (warnSeconds === undefined) this.error(`--warn ${flags.warn} is no time: 30d, 12h or 90m`, {exit: 2})
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools)
    const only = flags.edge && edgesOf(fleet, flags.edge)
    const found = await fleetCertificates(fleet, {only, warnMs: warnSeconds * 1000, passwordFile: flags['password-file']})
    if (!found.ok) this.failChecks()
    this.result('lkeobs/certs-status/v1', found, certificatesText(found))
  }
}
