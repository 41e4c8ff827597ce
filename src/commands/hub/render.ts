import {Flags} from '@oclif/core'
import {LkeobsCommand} from '../../command.ts'
import {hubInit} from '../../plans/hub-init.ts'
import {render, renderedText, renderTools, writeRendered} from '../../steps/render.ts'
import {dryFiles} from '../../tools/files.ts'

export default class HubRender extends LkeobsCommand {
  static override summary = 'Write what `hub init` hands to kubectl and helm as files, for Git.'
  static override description =
    'Manifests, values, an index of all releases in order, and the same as commands. No Secret is among them, and no cluster is asked where the fleet file names hub.endpoint. Run again, it brings the files up to date and removes those of its own that are no longer needed.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --out deploy',
    '<%= config.bin %> <%= command.id %> --out deploy --dry-run',
  ]
  static override flags = {
    out: Flags.string({description: 'the folder for the files', required: true, env: 'LKEOBS_OUT', helpValue: 'DIR'}),
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(HubRender)
    const tools = await this.tools(flags)
    const {hub} = await this.fleet(flags, renderTools(tools), {rendered: true})
    const target = flags['dry-run'] ? dryFiles(tools.files, () => undefined) : tools.files
    const files = await writeRendered(target, flags.out, await render(hubInit(hub, tools), hub))
    this.result('lkeobs/render/v1', {cluster: hub.name, out: flags.out, files}, renderedText(flags.out, hub.name, files, flags['dry-run']))
  }
}
