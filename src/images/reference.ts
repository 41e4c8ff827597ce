/** A repository of a registry: where images of one kind are kept. */
export type Repository = {
  /** `registry.example:5000` */
  readonly host: string
  /** `team/otelcol` */
  readonly path: string
}

/** An image: by its digest, which never leads to another one, or by a tag. */
export type ImageReference = Repository & {readonly tag?: string | undefined; readonly digest?: string | undefined}

const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*'
const host =
  '(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\\[[0-9A-Fa-f:]+\\])(?::[1-9][0-9]{0,4})?'
const repository = `(?<host>${host})/(?<path>${component}(?:/${component})*)`
const tag = '[A-Za-z0-9_][A-Za-z0-9._-]{0,127}'

/** Both as patterns, for the schema of the fleet file. */
export const repositoryPattern = new RegExp(`^${repository}$`)
export const imagePattern = new RegExp(`^${repository}(?::(?<tag>${tag}))?(?:@(?<digest>sha256:[a-f0-9]{64}))?$`)

/** Without a dot, a port or `localhost` the first part is a folder of Docker Hub, not a host. */
const isHost = (text: string): boolean => /[.:]/.test(text) || text === 'localhost'

export const repositoryOf = (text: string): Repository | undefined => {
  const {host: at = '', path = ''} = repositoryPattern.exec(text)?.groups ?? {}
  return isHost(at) && path.length <= 255 ? {host: at, path} : undefined
}

/** Undefined where the text is no image, or names neither a tag nor a digest. */
export const imageReferenceOf = (text: string): ImageReference | undefined => {
  const {host: at = '', path = '', tag: tagged, digest} = imagePattern.exec(text)?.groups ?? {}
  return isHost(at) && (tagged !== undefined || digest !== undefined) ? {host: at, path, tag: tagged, digest} : undefined
}

export const shownRepository = ({host: at, path}: Repository): string => `${at}/${path}`

/** Whether the registry is on this machine, where nobody listens in between. */
export const isLoopback = ({host: at}: Repository): boolean => /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(at.replace(/:\d+$/, ''))
