import {Args, Flags} from '@oclif/core'
import {edgeOf} from '../../clusters.ts'
import {LkeobsCommand} from '../../command.ts'
import {edgeJoin} from '../../plans/edge-join.ts'
import {render, renderedText, renderTools, writeRendered} from '../../steps/render.ts'
import {dryFiles} from '../../tools/files.ts'

export default class EdgeRender extends LkeobsCommand {
  static override summary = 'Write what `edge join` hands to kubectl and helm as files, for Git.'
  static override description =
    'Manifests, values, an index of all releases in order, and the same as commands. No Secret is among them, and no cluster is asked where the fleet file names hub.endpoint. Run again, it brings the files up to date and removes those of its own that are no longer needed.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> edge-2 --out deploy',
    '<%= config.bin %> <%= command.id %> edge-2 --out deploy --dry-run',
  ]
  static override args = {name: Args.string({description: 'the edge, as the fleet file calls it', required: true})}

  static override flags = {
    out: Flags.string({description: 'the folder for the files', required: true, env: 'LKEOBS_OUT', helpValue: 'DIR'}),
  }

  async run(): Promise<void> {
    const {args, flags} = await this.parse(EdgeRender)
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, renderTools(tools), {rendered: true})
    const edge = edgeOf(fleet, args.name)
    const target = flags['dry-run'] ? dryFiles(tools.files, () => undefined) : tools.files
    const files = await writeRendered(target, flags.out, await render(edgeJoin(fleet.hub, edge), edge))
    this.result(
      'lkeobs/render/v1',
      {cluster: edge.name, out: flags.out, files},
      renderedText(flags.out, edge.name, files, flags['dry-run']),
    )
  }
}
