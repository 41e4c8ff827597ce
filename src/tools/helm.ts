import type {KubeTarget} from './kube.ts'

/** A chart: a packaged file, or a name with the repository it is in (`https://…`, or `oci://…` that ends with the name). */
export type ChartSource = {readonly file: string} | {readonly name: string; readonly repository: string; readonly version: string}

export type ReleaseWish = {
  readonly name: string
  readonly namespace: string
  readonly chart: ChartSource
  readonly values: object
  /** Where `render` writes the same values: what a dry run prints. */
  readonly file: string
}

/** helm, for writing and rendering; what is installed is read from the release's Secret. */
export type Helm = {
  /** `helm upgrade --install`. Throws LKO-3108 (not admitted), LKO-3109 (a field is someone else's), LKO-3110 (the name, or an object, is another release's). */
  upgrade(release: ReleaseWish, options: {readonly force?: boolean}): Promise<void>
  /** The manifest (YAML) the release would have: `helm template`. Needs no cluster. */
  template(release: ReleaseWish, kubeVersion: string): Promise<string>
  uninstall(release: {readonly name: string; readonly namespace: string}): Promise<void>
  pull(chart: {readonly name: string; readonly repository: string; readonly version: string}, folder: string): Promise<void>
}

export type OpenHelm = (target: KubeTarget | undefined) => Helm
