import {type BuildTools, builtVersion, imageWritten, programBuilt, sourcesOf} from '../images/build.ts'
import type {PlatformName} from '../images/oci.ts'
import {programOf} from '../programs/catalogue.ts'
import type {Plan} from '../steps/step.ts'

export type ImagesBuild = {
  readonly platforms: readonly PlatformName[]
  readonly output: string
}

/** The collector of this version of lkeobs, as an image for these platforms. */
export const imagesBuild = ({platforms, output}: ImagesBuild, tools: BuildTools): Plan => {
  const program = programOf('otelcol')
  const sources = sourcesOf(program)
  const names = [...new Set(platforms)].toSorted()
  const built = names.map((name) => ({name, ...programBuilt(program, sources, name, tools)}))
  return {
    command: `images build ${names.map((name) => `--platform ${name}`).join(' ')} --output ${output}`,
    title: `Builds the image of the collector for ${names.join(' and ')}.`,
    steps: [...built.map(({step}) => step), imageWritten({output, programs: built, sources, version: builtVersion(program)}, tools)],
  }
}
