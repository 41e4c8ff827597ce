import {Flags} from '@oclif/core'
import {LkeobsCommand} from '../../command.ts'
import {LkeobsError} from '../../errors.ts'
import {loadFleetToPin} from '../../fleet/edit.ts'
import type {Fleet} from '../../fleet/schema.ts'
import {readArchive} from '../../images/archive.ts'
import {storedCredentials} from '../../images/credentials.ts'
import {isLoopback, type Repository, repositoryOf} from '../../images/reference.ts'
import {openRepository} from '../../images/registry.ts'
import {nextCommands} from '../../output.ts'
import {imagesPush, pinnedImage} from '../../plans/images-push.ts'
import {lockOf} from '../../platforms/local/index.ts'
import type {Tools} from '../../tools/index.ts'

const registryVariable = 'LKEOBS_REGISTRY'

export default class ImagesPush extends LkeobsCommand {
  static override summary = 'Push the image of the collector to a registry and pin it in the fleet file.'
  static override description =
    "Use it after `images build`. The command sends what the registry does not have yet, tags it with the collector's version and the digest, and writes `collector.image` with the digest into the fleet file; every other byte of the file stays. It changes no cluster: the commands it prints do. Credentials come from the Docker configuration and its credential helpers, or from --username with --password-stdin. Stopped anywhere and run again, it goes on from there."
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --registry registry.example/team/otelcol',
    'vault kv get -field=token secret/registry | <%= config.bin %> <%= command.id %> --username ci --password-stdin',
    '<%= config.bin %> <%= command.id %> --registry registry.internal:5000/otelcol --registry-ca ca.pem',
    '<%= config.bin %> <%= command.id %> --dry-run',
  ]
  static override flags = {
    registry: Flags.string({
      description: 'host and repository; `collector.registry` of the fleet file unless given',
      env: registryVariable,
      helpValue: 'HOST/REPO',
    }),
    image: Flags.string({
      description: 'the file that `images build` wrote',
      default: 'lkeobs-collector.tar',
      env: 'LKEOBS_IMAGE',
      helpValue: 'FILE',
    }),
    username: Flags.string({description: 'the account that pushes', env: 'LKEOBS_REGISTRY_USERNAME', helpValue: 'NAME'}),
    'password-stdin': Flags.boolean({
      description: 'read the password of --username from stdin; it is asked for on the terminal otherwise',
      env: 'LKEOBS_PASSWORD_STDIN',
      dependsOn: ['username'],
    }),
    'registry-ca': Flags.string({
      description: 'CA certificates (PEM) that verify the registry, instead of those of this machine',
      env: 'LKEOBS_REGISTRY_CA',
      helpValue: 'FILE',
    }),
    'plain-http': Flags.boolean({
      description: 'use HTTP without TLS, although the registry is not on this machine',
      env: 'LKEOBS_PLAIN_HTTP',
      exclusive: ['registry-ca'],
    }),
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(ImagesPush)
    const tools = await this.tools(flags)
    const {fleet, folder} = await loadFleetToPin(flags.fleet, tools.files)
    const repository = namedRepository(flags.registry, fleet)
    const archive = await readArchive(flags.image)
    const ca = flags['registry-ca'] === undefined ? undefined : await caOf(flags['registry-ca'], tools)
    const plainHttp = flags['plain-http']
    if (plainHttp && !isLoopback(repository))
      this.progress(`--plain-http: credentials and image go to ${repository.host} unencrypted, and nothing verifies who answers.`)
    const {username} = flags
    const credentials =
      username === undefined
        ? await storedCredentials(repository, tools)
        : {kind: 'password' as const, username, password: await passwordOf(flags, repository, tools), from: '--username'}
    await this.carryOut(
      flags,
      async (those) => {
        const opened = openRepository(repository, {credentials, ca, plainHttp}, those.registry)
        return imagesPush({archive, repository: opened, fleet: await loadFleetToPin(flags.fleet, those.files)}, those)
      },
      {
        lock: lockOf(folder),
        after: async (steps) => {
          const image = pinnedImage(archive, repository)
          return {
            schema: 'lkeobs/images-push/v1',
            data: {image, digest: archive.top.descriptor.digest, tag: archive.tag, steps},
            text: `${flags.fleet} pins ${image}\n${nextCommands(nextOf(fleet))}`,
          }
        },
      },
    )
  }
}

const namedRepository = (given: string | undefined, {collector}: Fleet): Repository => {
  const named = given ?? collector.registry
  const repository = named === undefined ? undefined : repositoryOf(named)
  if (repository) return repository
  throw new LkeobsError(
    'LKO-4101',
    named === undefined
      ? 'Neither --registry nor collector.registry names a registry.'
      : `${JSON.stringify(named)}: expected HOST/REPOSITORY without a tag, such as registry.example/team/otelcol.`,
    {next: ['lkeobs images push --registry registry.example/team/otelcol']},
  )
}

const caOf = async (file: string, {files}: Pick<Tools, 'files'>): Promise<string> => {
  const text = await files.read(file)
  if (text?.includes('-----BEGIN CERTIFICATE-----')) return text
  throw new LkeobsError(
    'LKO-4104',
    `--registry-ca ${file}: ${text === undefined ? 'there is no such file' : 'no PEM certificate is in it'}.`,
  )
}

const passwordOf = (flags: {readonly 'password-stdin': boolean}, {host}: Repository, {ask}: Pick<Tools, 'ask'>) =>
  ask.secret(`Password for ${host}`, {
    ...(flags['password-stdin'] && {file: '-'}),
    flag: '--password-stdin',
    variable: 'LKEOBS_PASSWORD_STDIN',
  })

/** How it comes to the clusters; each shows what changes, and asks. */
const nextOf = ({hub, edges}: Fleet): readonly string[] => {
  const first = edges.find(({platform}) => platform.kubernetes !== undefined)
  return [
    ...(hub.platform.kubernetes ? ['lkeobs hub upgrade'] : []),
    ...(first ? [`lkeobs edge upgrade ${edges.filter(({platform}) => platform.kubernetes).length === 1 ? first.name : 'NAME'}`] : []),
    ...(hub.platform.kubernetes || first ? [] : ['lkeobs status']),
  ]
}
