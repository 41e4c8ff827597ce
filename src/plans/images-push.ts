import {type Archive, blobContent} from '../images/archive.ts'
import type {Descriptor, Document} from '../images/oci.ts'
import {type Repository, shownRepository} from '../images/reference.ts'
import type {OpenRepository} from '../images/registry.ts'
import {withCollectorImage} from '../fleet/edit.ts'
import type {FleetFile} from '../fleet/load.ts'
import {bytes} from '../output.ts'
import type {Plan, Step} from '../steps/step.ts'
import type {Tools} from '../tools/index.ts'
import {fileIs} from './dest-add.ts'

export type ImagesPush = {readonly archive: Archive; readonly repository: OpenRepository; readonly fleet: FleetFile}

/** Blobs go side by side; a registry has one connection for each. */
const atOnce = 2

/** The image by its digest, as the fleet file names it. */
export const pinnedImage = ({top}: Archive, repository: Repository): string => `${shownRepository(repository)}@${top.descriptor.digest}`

/** The image in the registry, and the fleet file naming it by its digest. */
export const imagesPush = ({archive, repository, fleet}: ImagesPush, tools: Pick<Tools, 'files'>): Plan => {
  const shown = shownRepository(repository.repository)
  const image = pinnedImage(archive, repository.repository)
  const {top, manifests, tag} = archive
  const text = fleet.fleet.collector.image === image ? fleet.text : withCollectorImage(fleet.text, image)
  return {
    command: `images push --registry ${shown} --image ${archive.file}`,
    title: `Pushes the image of the collector to ${shown}.`,
    steps: [
      {title: `blobs in ${shown}`, concurrency: atOnce, steps: archive.blobs.map((blob) => blobPushed(blob, archive, repository))},
      // what refers to others comes after them: a registry refuses what refers to nothing
      ...manifests.map((manifest) => manifestPushed(manifest, manifest.descriptor.digest, repository)),
      ...(manifests.some(({descriptor}) => descriptor.digest === top.descriptor.digest)
        ? []
        : [manifestPushed(top, top.descriptor.digest, repository)]),
      manifestPushed(top, tag, repository),
      fileIs({file: fleet.file, text}, `collector.image in the fleet file: ${image}`, tools),
    ],
  }
}

const short = (digest: string): string => digest.slice(0, 'sha256:'.length + 12)

const blobPushed = (blob: Descriptor, {file}: Archive, repository: OpenRepository): Step => ({
  title: `${blob.mediaType.includes('.layer.') ? 'layer' : 'configuration'} ${short(blob.digest)}, ${bytes(blob.size)}`,
  done: async () => ((await repository.hasBlob(blob)) ? true : 'the registry does not have it'),
  apply: (tell) =>
    repository.pushBlob(
      blob,
      () => blobContent(file, blob.digest),
      (sent) => tell(`${bytes(sent)} of ${bytes(blob.size)} sent`),
    ),
})

const manifestPushed = (document: Document, reference: string, repository: OpenRepository): Step => {
  const {digest, mediaType} = document.descriptor
  const kind = mediaType.includes('.index.') ? 'index' : 'manifest'
  return {
    title: reference === digest ? `${kind} ${short(digest)}` : `tag ${reference}: ${short(digest)}`,
    async done() {
      const there = await repository.manifestDigest(reference)
      return there === digest ? true : there === undefined ? 'the registry does not have it' : `it is ${short(there)}`
    },
    apply: () => repository.pushManifest(document, reference),
  }
}
