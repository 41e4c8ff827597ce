import {createHash} from 'node:crypto'

/** What an image is made of, in the words of the OCI Image Specification 1.1. */
export const mediaTypes = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
} as const

export type Platform = {readonly os: 'linux'; readonly architecture: 'amd64' | 'arm64'}

export const platforms = ['linux/amd64', 'linux/arm64'] as const
export type PlatformName = (typeof platforms)[number]

export const platformOf = (name: PlatformName): Platform => ({os: 'linux', architecture: name === 'linux/amd64' ? 'amd64' : 'arm64'})

export type Descriptor = {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly platform?: Platform
  readonly annotations?: Readonly<Record<string, string>>
}

export type Manifest = {
  readonly schemaVersion: 2
  readonly mediaType: string
  readonly config: Descriptor
  readonly layers: readonly Descriptor[]
  readonly annotations?: Readonly<Record<string, string>>
}

export type Index = {readonly schemaVersion: 2; readonly mediaType: string; readonly manifests: readonly Descriptor[]}

/** A document and what refers to it. */
export type Document = {readonly text: string; readonly descriptor: Descriptor}

export const digestOf = (content: string | Uint8Array): string => `sha256:${createHash('sha256').update(content).digest('hex')}`

const documentOf = (mediaType: string, value: object): Document => {
  const text = JSON.stringify(value)
  return {text, descriptor: {mediaType, digest: digestOf(text), size: Buffer.byteLength(text)}}
}

/** A layer: what refers to it, and the digest of what it is when unpacked. */
export type Layer = {readonly descriptor: Descriptor; readonly diffId: string}

/** Who the program runs as where nothing else is said; the user of the publisher's image, too. */
export const imageUser = 10_001
/** Where the program and the certificates of the public CAs are in the image. */
export const imagePaths = {program: '/otelcol', authorities: '/etc/ssl/certs/ca-certificates.crt'} as const

/** Reproducible: nothing is newer than anything else. */
const created = '1970-01-01T00:00:00Z'

export type Labels = Readonly<Record<string, string>>

/** The configuration and manifest of an image of one layer. */
export const imageDocuments = (
  platform: Platform,
  layer: Layer,
  labels: Labels,
): {readonly config: Document; readonly manifest: Document} => {
  const config = documentOf(mediaTypes.config, {
    created,
    architecture: platform.architecture,
    os: platform.os,
    config: {
      User: `${imageUser}:${imageUser}`,
      Env: ['PATH=/', `SSL_CERT_FILE=${imagePaths.authorities}`],
      Entrypoint: [imagePaths.program],
      WorkingDir: '/',
      Labels: labels,
    },
    rootfs: {type: 'layers', diff_ids: [layer.diffId]},
    history: [{created, created_by: 'lkeobs images build'}],
  })
  const manifest = documentOf(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: config.descriptor,
    layers: [layer.descriptor],
    annotations: labels,
  } satisfies Manifest)
  return {config, manifest: {...manifest, descriptor: {...manifest.descriptor, platform}}}
}

/** An index: the same image for several platforms, or what an archive holds. */
export const indexOf = (manifests: readonly Descriptor[]): Document =>
  documentOf(mediaTypes.index, {schemaVersion: 2, mediaType: mediaTypes.index, manifests} satisfies Index)
