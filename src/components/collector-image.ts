import type {Fleet} from '../fleet/schema.ts'
import {imageReferenceOf} from '../images/reference.ts'
import {imageOf} from './charts.ts'

/** The image that collectors on Kubernetes run, in the words of their chart. */
export type CollectorImage = {
  readonly image: {readonly repository: string; readonly tag?: string; readonly digest?: string}
  /** The program in it, which the chart runs as `/NAME`. */
  readonly command: string
  readonly pullSecret?: string | undefined
}

const published = (): CollectorImage => {
  const {registry, repository, tag} = imageOf('opentelemetry-collector')
  return {image: {repository: `${registry}/${repository}`, tag}, command: 'otelcol-contrib'}
}

/** The publisher's, unless the fleet file pins one that `images build` has made. */
export const collectorImage = ({image, pullSecret}: Fleet['collector'] = {}): CollectorImage => {
  const pinned = image === undefined ? undefined : imageReferenceOf(image)
  const own =
    pinned?.digest === undefined
      ? published()
      : {image: {repository: `${pinned.host}/${pinned.path}`, digest: pinned.digest}, command: 'otelcol'}
  return {...own, pullSecret}
}
