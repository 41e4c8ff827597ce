import path from 'node:path'
import {Flags} from '@oclif/core'
import {LkeobsCommand} from '../../command.ts'
import {platforms} from '../../images/oci.ts'
import {readArchive} from '../../images/archive.ts'
import {bytes, nextCommands} from '../../output.ts'
import {imagesBuild} from '../../plans/images-build.ts'

export default class ImagesBuild extends LkeobsCommand {
  static override summary = 'Build the container image of the collector, without a container engine.'
  static override description =
    'Use it before `images push`, when a fleet on Kubernetes is to run the collector that lkeobs builds: the upstream components plus the durable queue. The command compiles the pinned collector from Go modules for each platform and writes an OCI image layout as one tar file. The same sources give the same bytes. It changes no cluster and no registry, and never takes a collector from PATH.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --platform linux/amd64 --platform linux/arm64',
    '<%= config.bin %> <%= command.id %> --output build/otelcol.tar --json',
    'ctr -n k8s.io images import --base-name lkeobs/otelcol lkeobs-collector.tar',
  ]
  static override flags = {
    platform: Flags.option({
      options: platforms,
      description: 'the platform of the nodes; may be given again',
      multiple: true,
      default: ['linux/amd64'],
      env: 'LKEOBS_PLATFORM',
    })(),
    output: Flags.string({
      description: 'the file to write',
      default: 'lkeobs-collector.tar',
      env: 'LKEOBS_IMAGES_OUTPUT',
      helpValue: 'FILE',
    }),
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(ImagesBuild)
    await this.carryOut(flags, (tools) => imagesBuild({platforms: flags.platform, output: flags.output}, tools), {
      after: async (steps) => {
        const {top, blobs, tag} = await readArchive(flags.output)
        const size = blobs.reduce((total, blob) => total + blob.size, 0)
        const {digest} = top.descriptor
        const push = flags.output === 'lkeobs-collector.tar' ? 'lkeobs images push' : `lkeobs images push --image ${flags.output}`
        return {
          schema: 'lkeobs/images-build/v1',
          data: {file: path.resolve(flags.output), digest, tag, bytes: size, platforms: [...new Set(flags.platform)].toSorted(), steps},
          text: `${flags.output}: ${bytes(size)}, ${digest}\n${nextCommands([push])}`,
        }
      },
    })
  }
}
