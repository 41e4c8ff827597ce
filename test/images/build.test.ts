import {readFileSync, writeFileSync} from 'node:fs'
import path from 'node:path'
import {expect, test} from 'vitest'
import {readArchive} from '../../src/images/archive.ts'
import {imagesBuild} from '../../src/plans/images-build.ts'
import {programOf} from '../../src/programs/catalogue.ts'
import {createRecorder, preview} from '../../src/steps/preview.ts'
import {run} from '../../src/steps/run.ts'
import {dryDownload} from '../../src/tools/download.ts'
import {dryFiles} from '../../src/tools/files.ts'
import {dryShell} from '../../src/tools/shell.ts'
import {tools, world} from '../programs/world.ts'

/** A Go whose programs are what they were built for; it notes each build. */
const fakeGo = (log: string) => `#!/bin/sh
if [ "$1" = version ]; then echo go version go1.99.0 linux/amd64; exit; fi
while [ "$1" != -o ]; do shift; done
echo "$GOOS/$GOARCH cgo=$CGO_ENABLED" >> ${log}
echo "program for $GOOS/$GOARCH" > "$2"
`

const scene = async () => {
  const place = await world()
  const log = path.join(place.cache, '../builds')
  writeFileSync(log, '')
  place.program('go', fakeGo(log))
  place.program('mv', '#!/bin/sh\nPATH=/bin:/usr/bin exec mv "$@"\n')
  const output = path.join(place.cache, '../image.tar')
  const plan = imagesBuild({platforms: ['linux/arm64', 'linux/amd64', 'linux/arm64'], output}, tools)
  return {place, output, plan, builds: () => readFileSync(log, 'utf8').trim().split('\n')}
}

test('each platform is compiled for itself, once, and the second run has nothing to do', async () => {
  const {output, plan, builds} = await scene()
  await run(plan, 'silent')
  expect(builds()).toEqual(['linux/amd64 cgo=0', 'linux/arm64 cgo=0'])
  const archive = await readArchive(output)
  expect(archive.manifests.map(({descriptor}) => descriptor.platform?.architecture)).toEqual(['amd64', 'arm64'])
  const {version, build} = programOf('otelcol')
  expect(archive.manifests[0]?.manifest.annotations?.['org.opencontainers.image.version']).toBe(`${version}+${build}`)
  expect((await run(plan, 'silent')).map(({state}) => state)).toEqual(['already so', 'already so', 'already so'])
})

test('an archive that was cut short, or is for other platforms, is written again from what is compiled', async () => {
  const {output, plan, builds} = await scene()
  await run(plan, 'silent')
  const whole = readFileSync(output)
  writeFileSync(output, whole.subarray(0, 3000))
  await run(plan, 'silent')
  expect(readFileSync(output).equals(whole)).toBe(true)
  await run(imagesBuild({platforms: ['linux/amd64'], output}, tools), 'silent')
  expect((await readArchive(output)).manifests).toHaveLength(1)
  expect(builds()).toHaveLength(2)
})

test('a build that fails says why, and writes no archive', async () => {
  const {place, output, plan} = await scene()
  place.program('go', '#!/bin/sh\n[ "$1" = version ] && echo go version go1.99.0 linux/amd64 || { echo undefined: queue.Open; exit 1; }\n')
  await expect(run(plan, 'silent')).rejects.toMatchObject({code: 'LKO-4002', message: expect.stringContaining('undefined: queue.Open')})
  await expect(readArchive(output)).rejects.toMatchObject({code: 'LKO-4107'})
})

test('a dry run compiles nothing and writes nothing', async () => {
  const {output, builds} = await scene()
  const recorder = createRecorder()
  const dry = {
    shell: dryShell(tools.shell, recorder.record),
    files: dryFiles(tools.files, recorder.record),
    download: dryDownload(recorder.record),
  }
  const steps = await preview(imagesBuild({platforms: ['linux/arm64'], output}, dry), recorder)
  expect(JSON.stringify(steps)).toContain('go build -C')
  expect(builds()).toEqual([''])
  await expect(readArchive(output)).rejects.toMatchObject({code: 'LKO-4107'})
})
