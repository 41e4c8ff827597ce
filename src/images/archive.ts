import {createHash} from 'node:crypto'
import {createReadStream} from 'node:fs'
import {stat} from 'node:fs/promises'
import path from 'node:path'
import type {Readable} from 'node:stream'
import {createGzip} from 'node:zlib'
import {extract as tarExtract, type Header, pack as tarPack} from 'tar-stream'
import {LkeobsError, messageOf} from '../errors.ts'
import type {Files} from '../tools/files.ts'
import {
  type Descriptor,
  type Document,
  imagePaths,
  imageDocuments,
  imageUser,
  type Index,
  indexOf,
  type Labels,
  type Layer,
  type Manifest,
  mediaTypes,
  type Platform,
} from './oci.ts'

/** An entry of a tar: a folder, or a file with its content. */
type Entry = {readonly name: string; readonly mode: number} & (
  | {readonly folder: true}
  | {readonly content: string | Buffer}
  | {readonly file: string; readonly size: number}
)

type TarHeader = Partial<Header> & Pick<Header, 'name'>

/** A tar of these entries: sorted, of nobody in particular, nothing newer than anything else. */
const tarOf = (entries: readonly Entry[]): Readable => {
  const pack = tarPack()
  const header = ({name, mode}: Entry): TarHeader => ({name, mode, mtime: new Date(0), uid: 0, gid: 0, uname: '', gname: ''})
  const written = (made: TarHeader, content?: string | Buffer) =>
    new Promise<void>((resolve, reject) => {
      const done = (error?: Error | null) => (error ? reject(error) : resolve())
      if (content === undefined) pack.entry(made, done)
      else pack.entry(made, content, done)
    })
  const write = async () => {
    for (const entry of entries.toSorted((one, other) => (one.name < other.name ? -1 : 1))) {
      if ('folder' in entry) await written({...header(entry), type: 'directory'})
      else if ('content' in entry) await written(header(entry), entry.content)
      else {
        const {file, size} = entry
        await new Promise<void>((resolve, reject) => {
          const sink = pack.entry({...header(entry), size}, (error) => (error ? reject(error) : resolve()))
          createReadStream(file, {highWaterMark: 1 << 20})
            .on('error', reject)
            .pipe(sink)
        })
      }
    }
    pack.finalize()
  }
  write().catch((error: Error) => pack.destroy(error))
  return pack as unknown as Readable
}

const people = [
  {name: 'root', id: 0},
  {name: 'nonroot', id: imageUser},
  {name: 'nobody', id: 65_534},
]

/** What stands in the layer of an image of the collector: the program, and the little that it needs around it. */
const layerEntries = (program: {readonly file: string; readonly size: number}, authorities: string): readonly Entry[] => [
  {name: 'etc/', mode: 0o755, folder: true},
  {name: 'etc/group', mode: 0o644, content: people.map(({name, id}) => `${name}:x:${id}:\n`).join('')},
  {name: 'etc/passwd', mode: 0o644, content: people.map(({name, id}) => `${name}:x:${id}:${id}::/:/sbin/nologin\n`).join('')},
  {name: 'etc/ssl/', mode: 0o755, folder: true},
  {name: 'etc/ssl/certs/', mode: 0o755, folder: true},
  {name: imagePaths.authorities.slice(1), mode: 0o644, content: authorities},
  {name: imagePaths.program.slice(1), mode: 0o755, ...program},
  {name: 'tmp/', mode: 0o1777, folder: true},
]

/** Writes the layer to a file. */
const writeLayer = async (program: string, authorities: string, file: string, files: Files): Promise<Layer> => {
  const [unpacked, packed] = [createHash('sha256'), createHash('sha256')]
  let size = 0
  const raw = tarOf(layerEntries({file: program, size: (await stat(program)).size}, authorities))
  // gzip's header has neither a name nor a time in it: Node writes none
  const gzip = createGzip({level: 6})
  raw.on('data', (chunk: Buffer) => unpacked.update(chunk))
  raw.on('error', (error) => gzip.destroy(error))
  raw.pipe(gzip)
  const counted = async function* () {
    for await (const chunk of gzip as AsyncIterable<Buffer>) {
      packed.update(chunk)
      size += chunk.length
      yield chunk
    }
  }
  await files.stream(file, counted())
  return {
    descriptor: {mediaType: mediaTypes.layer, digest: `sha256:${packed.digest('hex')}`, size},
    diffId: `sha256:${unpacked.digest('hex')}`,
  }
}

/** Says of an archive what it was made from, so that it is not made again from the same. */
const inputsAnnotation = 'io.lkeobs.inputs'
const tagAnnotation = 'org.opencontainers.image.ref.name'

export type ArchiveWish = {
  readonly programs: readonly {readonly platform: Platform; readonly file: string}[]
  /** PEM of the CAs that the program trusts. */
  readonly authorities: string
  readonly labels: Labels
  /** The digest of all that goes into it. */
  readonly inputs: string
  /** What its tag begins with; the rest is its digest, so that a tag never moves. */
  readonly version: string
}

const blobName = (digest: string): string => `blobs/sha256/${digest.slice('sha256:'.length)}`

/** Writes an OCI image layout as one tar: of one image, or of an index where there are several platforms. */
export const writeArchive = async (
  file: string,
  {programs, authorities, labels, inputs, version}: ArchiveWish,
  {files, workspace}: {readonly files: Files; readonly workspace: string},
): Promise<void> => {
  const images: {readonly layerFile: string; readonly layer: Layer; readonly config: Document; readonly manifest: Document}[] = []
  for (const {platform, file: program} of programs) {
    const layerFile = path.join(workspace, `${platform.architecture}.layer`)
    const layer = await writeLayer(program, authorities, layerFile, files)
    images.push({layerFile, layer, ...imageDocuments(platform, layer, labels)})
  }
  const manifests = images.map(({manifest}) => manifest.descriptor)
  const [only] = manifests
  const several = indexOf(manifests)
  const isOne = only !== undefined && manifests.length === 1
  const top = isOne ? only : several.descriptor
  const documents = [...images.flatMap(({config, manifest}) => [config, manifest]), ...(isOne ? [] : [several])]
  const blobs: readonly Entry[] = [
    ...documents.map(({text, descriptor}) => ({name: blobName(descriptor.digest), mode: 0o644, content: text})),
    ...images.map(({layer: {descriptor}, layerFile}) => ({
      name: blobName(descriptor.digest),
      mode: 0o644,
      file: layerFile,
      size: descriptor.size,
    })),
  ]
  const annotations = {[inputsAnnotation]: inputs, [tagAnnotation]: `${version}-${top.digest.slice('sha256:'.length, 19)}`}
  const archive = tarOf([
    {name: 'blobs/', mode: 0o755, folder: true},
    {name: 'blobs/sha256/', mode: 0o755, folder: true},
    ...new Map(blobs.map((blob) => [blob.name, blob])).values(),
    {name: 'index.json', mode: 0o644, content: indexOf([{...top, annotations}]).text},
    {name: 'oci-layout', mode: 0o644, content: JSON.stringify({imageLayoutVersion: '1.0.0'})},
  ])
  await files.stream(file, archive as AsyncIterable<Buffer>, 0o644)
}

/** An archive, as it was found and verified. */
export type Archive = {
  readonly file: string
  /** What a registry is asked for: the index where there are several platforms, otherwise the manifest. */
  readonly top: Document
  readonly manifests: readonly (Document & {readonly manifest: Manifest})[]
  /** Configurations and layers, each once. */
  readonly blobs: readonly Descriptor[]
  readonly tag: string
  readonly inputs: string | undefined
}

const broken = (file: string, why: string, cause?: unknown): LkeobsError =>
  new LkeobsError('LKO-4107', `${file}: ${why}.`, {next: ['lkeobs images build'], cause})

type Found = {readonly size: number; readonly digest: string; readonly text: string | undefined}

/** A document is small; a layer is not kept. */
const mostText = 4 << 20

const entriesOf = async (file: string): Promise<ReadonlyMap<string, Found>> => {
  const found = new Map<string, Found>()
  const extract = tarExtract()
  createReadStream(file, {highWaterMark: 1 << 20})
    .on('error', (error) => extract.destroy(error))
    .pipe(extract)
  for await (const entry of extract) {
    const {name, size} = entry.header
    const hash = createHash('sha256')
    const kept: Buffer[] = []
    for await (const chunk of entry as AsyncIterable<Buffer>) {
      hash.update(chunk)
      if (size <= mostText) kept.push(chunk)
    }
    found.set(name.replace(/^\.\//, ''), {
      size,
      digest: `sha256:${hash.digest('hex')}`,
      text: size <= mostText ? Buffer.concat(kept).toString() : undefined,
    })
  }
  return found
}

/** Reads an archive and verifies every digest in it. Throws LKO-4107. */
export const readArchive = async (file: string): Promise<Archive> => {
  const found = await entriesOf(file).catch((error: unknown) => {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    throw broken(file, missing ? 'there is no such file' : `it cannot be read as a tar: ${messageOf(error)}`, error)
  })
  const parsed = <T>(text: string | undefined, what: string): T => {
    try {
      return JSON.parse(text ?? '') as T
    } catch (error) {
      throw broken(file, `${what} is not in it, or no JSON`, error)
    }
  }
  const blob = ({digest, size}: Descriptor): Found => {
    const there = found.get(blobName(digest))
    if (there === undefined) throw broken(file, `it lacks ${digest}`)
    if (there.digest !== digest || there.size !== size)
      throw broken(file, `${digest} is damaged: its content has the digest ${there.digest}`)
    return there
  }
  const document = (descriptor: Descriptor): Document => ({text: blob(descriptor).text ?? '', descriptor})
  parsed(found.get('oci-layout')?.text, 'oci-layout')
  const {manifests: tops = []} = parsed<Partial<Index>>(found.get('index.json')?.text, 'index.json')
  const [first] = tops
  if (first === undefined || tops.length > 1) throw broken(file, `expected one image in it, found ${tops.length}`)
  const top = document(first)
  const inner = first.mediaType === mediaTypes.index ? parsed<Index>(top.text, 'the index').manifests : [first]
  const manifests = inner.map((descriptor) => {
    const made = document(descriptor)
    return {...made, manifest: parsed<Manifest>(made.text, descriptor.digest)}
  })
  const blobs = manifests.flatMap(({manifest}) => [...manifest.layers, manifest.config])
  for (const one of blobs) blob(one)
  return {
    file,
    top,
    manifests,
    blobs: [...new Map(blobs.map((one) => [one.digest, one])).values()],
    tag: first.annotations?.[tagAnnotation] ?? first.digest.slice(7, 19),
    inputs: first.annotations?.[inputsAnnotation],
  }
}

/** The content of one blob. */
export const blobContent = async function* (file: string, digest: string): AsyncGenerator<Buffer> {
  const extract = tarExtract()
  const source = createReadStream(file, {highWaterMark: 1 << 20}).on('error', (error) => extract.destroy(error))
  source.pipe(extract)
  try {
    for await (const entry of extract) {
      if (entry.header.name.replace(/^\.\//, '') === blobName(digest)) {
        yield* entry as AsyncIterable<Buffer>
        return
      }
      for await (const _ of entry) {
        // the next entry begins where this one ends
      }
    }
    throw broken(file, `it lacks ${digest}`)
  } finally {
    source.destroy()
    extract.destroy()
  }
}
