import {execFile} from 'node:child_process'
import {existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {promisify, inspect} from 'node:util'
import {expect, onTestFinished, test, vi} from 'vitest'
import {Secret} from '../../src/secret.ts'
import {createFiles, dryFiles} from '../../src/tools/files.ts'
import {withLock} from '../../src/tools/lock.ts'
import {startOf} from '../../src/tools/processes.ts'
import {createShell, dryShell} from '../../src/tools/shell.ts'
import {dryDownload} from '../../src/tools/download.ts'
import {dryX509} from '../../src/tools/x509.ts'

const files = createFiles()
const shell = createShell()

const folder = (): string => {
  const made = mkdtempSync(path.join(tmpdir(), 'lkeobs-files-'))
  onTestFinished(() => rmSync(made, {recursive: true, force: true}))
  return made
}
const modeOf = (file: string) => (statSync(file).mode & 0o777).toString(8)

test('a file is written whole, for its owner alone, in folders for their owner alone', async () => {
  const file = path.join(folder(), 'a/b/c')
  await files.write(file, new Secret('hush'))
  expect([readFileSync(file, 'utf8'), modeOf(file), modeOf(path.dirname(file))]).toEqual(['hush', '600', '700'])
  await files.write(file, 'open', 0o644)
  expect([readFileSync(file, 'utf8'), modeOf(file), readdirSync(path.dirname(file))]).toEqual(['open', '644', ['c']])
})

test('what is not there is undefined, empty, and fine to remove', async () => {
  const nowhere = path.join(folder(), 'none/here')
  expect([await files.read(nowhere), await files.exists(nowhere), await files.list(nowhere)]).toEqual([undefined, false, []])
  await files.remove(nowhere)
  writeFileSync(path.dirname(nowhere), 'a file where a folder is wanted')
  expect([await files.read(nowhere), await files.exists(nowhere), await files.list(nowhere)]).toEqual([undefined, false, []])
})

test('a refused write leaves the old content, no temporary file, and says LKO-3004', async () => {
  const place = folder()
  mkdirSync(path.join(place, 'folder/in the way'), {recursive: true})
  writeFileSync(path.join(place, 'file'), 'old')
  for (const target of ['folder', 'file/below', 'long'.repeat(70)]) {
    await expect(files.write(path.join(place, target), new Secret('new'))).rejects.toMatchObject({
      code: 'LKO-3004',
      message: expect.stringContaining(`${path.join(place, target)} cannot be written: `),
      next: [
        `df -h ${path.dirname(path.join(place, target))}`,
        `ls -ld ${path.dirname(path.join(place, target))}`,
        'lkeobs explain LKO-3004',
      ],
    })
  }
  await expect(files.makeFolder(path.join(place, 'file/below'))).rejects.toMatchObject({code: 'LKO-3004'})
  await expect(files.read(path.join(place, 'folder'))).rejects.toMatchObject({code: 'LKO-3004'})
  expect(readdirSync(place).toSorted()).toEqual(['file', 'folder'])
  expect(readFileSync(path.join(place, 'file'), 'utf8')).toBe('old')
})

// a limit on the size of files stops a write in its middle, as a full disk does
test('a write that stops in its middle leaves the old content and no temporary file', async () => {
  const place = folder()
  const file = path.join(place, 'file')
  writeFileSync(file, 'old')
  const script = `import {createFiles} from ${JSON.stringify(path.resolve('src/tools/files.ts'))}
    await createFiles().write(${JSON.stringify(file)}, 'x'.repeat(1e6)).catch(({code, message}) => console.log(code, message))`
  const {stdout} = await promisify(execFile)('/bin/sh', [
    '-c',
    'ulimit -f 64; exec "$0" --input-type=module -e "$1"',
    process.execPath,
    script,
  ])
  expect(stdout).toMatch(/^LKO-3004 .*file cannot be written: EFBIG/)
  expect([readdirSync(place), readFileSync(file, 'utf8')]).toEqual([['file'], 'old'])
})

test('a folder without permission says LKO-3004', async ({skip}) => {
  skip(process.getuid?.() === 0, 'root may write everywhere')
  const place = folder()
  mkdirSync(path.join(place, 'closed'), {mode: 0o500})
  await expect(files.write(path.join(place, 'closed/file'), 'new')).rejects.toMatchObject({code: 'LKO-3004'})
})

test('dry tools write nothing, read what they would have written, and show no secret', async () => {
  const place = folder()
  const lines: string[] = []
  const record = (line: string) => void lines.push(line.replaceAll(path.relative(process.cwd(), place), 'PLACE').replaceAll(place, 'PLACE'))
  const dry = dryFiles(files, record)
  writeFileSync(path.join(place, 'there'), 'old')
  await dry.write(path.join(place, 'secret'), new Secret('hush'))
  await dry.write(path.join(place, 'plain'), 'x'.repeat(1500))
  await dry.makeFolder(path.join(place, 'folder'))
  await dry.remove(path.join(place, 'there'))
  expect(await dry.read(path.join(place, 'plain'))).toHaveLength(1500)
  expect([await dry.exists(path.join(place, 'there')), await dry.read(path.join(place, 'secret'))]).toEqual([false, 'hush'])
  const typed = dryShell(shell, record)
  expect(await typed.run({file: 'rm', args: ['-rf', place, "it's"], mutates: true})).toBe('')
  expect(await typed.run({file: 'echo', args: ['read']})).toBe('read')
  expect(await dryDownload(record).toFile('https://example.org/x', path.join(place, 'x'))).toBeUndefined()
  const ca = await dryX509(record).createCa({commonName: 'root', days: 10, pathLength: 1})
  await dryX509(record).issueServer(ca, {commonName: 'a', names: ['a', 'b'], days: 1})
  await dryX509(record).signCa(ca, '‹csr›', {days: 1, pathLength: 0})
  expect(readdirSync(place)).toEqual(['there'])
  expect(readFileSync(path.join(place, 'there'), 'utf8')).toBe('old')
  expect(lines).toMatchInlineSnapshot(`
    [
      "write PLACE/secret   (secret)",
      "write PLACE/plain   (2 kB)",
      "mkdir -p PLACE/folder",
      "rm -rf PLACE/there",
      "rm -rf PLACE 'it'\\''s'",
      "curl -fL -o PLACE/x https://example.org/x",
      "create CA root (10 days)",
      "issue server certificate a for a, b (1 days)",
      "sign intermediate CA of ‹csr› (1 days)",
    ]
  `)
})

test('a second run is told who is at work', async () => {
  const lock = path.join(folder(), 'made/lock')
  await withLock(lock, async () => {
    await expect(withLock(lock, async () => 'in')).rejects.toMatchObject({
      code: 'LKO-3002',
      oclif: {exit: 4},
      message: `process ${process.pid} holds ${lock}.`,
    })
  })
  expect(readdirSync(path.dirname(lock))).toEqual([])
})

test('of many at once one is let in, and those who wait have their turn', async () => {
  const lock = path.join(folder(), 'lock')
  let inside = 0
  const work = async () => {
    expect((inside += 1)).toBe(1)
    await new Promise((resolve) => setImmediate(resolve))
    inside -= 1
  }
  const outcomes = await Promise.allSettled(Array.from({length: 20}, () => withLock(lock, work)))
  expect(outcomes.filter(({status}) => status === 'fulfilled').length).toBeGreaterThanOrEqual(1)
  const reasons = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []))
  for (const reason of reasons) expect(reason).toMatchObject({code: 'LKO-3002'})
  const waited: string[] = []
  await Promise.all(Array.from({length: 2}, () => withLock(lock, work, {onWait: (holder) => waited.push(holder)})))
  expect(new Set(waited)).toEqual(new Set([`process ${process.pid}`]))
  expect(readdirSync(path.dirname(lock))).toEqual([])
})

test('after an error the lock is free', async () => {
  const lock = path.join(folder(), 'lock')
  await expect(withLock(lock, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
  expect(await withLock(lock, async () => 'in')).toBe('in')
})

test.for([
  ['of a process that died', '4194305 12345\n'],
  ["of a process whose pid is another's now", `${process.pid} 1\n`],
  ['without a start', `${process.pid}\n`],
  ['that is empty', ''],
  ['that is damaged', '\0\u0001 what\n\n'],
  ['with a pid that is none', '-1 0\n'],
] as const)('a lock %s is taken over', async ([, content]) => {
  const lock = path.join(folder(), 'lock')
  writeFileSync(lock, content)
  expect(await withLock(lock, async () => readFileSync(lock, 'utf8'))).toBe(`${process.pid} ${startOf(process.pid)}\n`)
  expect(existsSync(lock)).toBe(false)
})

test('a lock that cannot be written is LKO-3004', async () => {
  const place = folder()
  writeFileSync(path.join(place, 'file'), '')
  await expect(withLock(path.join(place, 'file/lock'), async () => 'in')).rejects.toMatchObject({code: 'LKO-3004'})
})

test('a program that fails is quoted: command, exit code, last lines', async () => {
  const script = 'for i in $(seq 30); do echo line $i; done; echo "to stderr" >&2; exit 3'
  const error = await shell.run({file: 'sh', args: ['-c', script]}).catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({code: 'LKO-4003', oclif: {exit: 5}})
  const lines = (error as Error).message.split('\n')
  expect(lines.slice(0, 2)).toEqual([`sh -c '${script}'`, 'ended with exit code 3:'])
  expect(lines).toContain('to stderr')
  expect(lines).toContain('line 30')
  expect(lines).not.toContain('line 5')
  await expect(shell.run({file: 'no-such-program', args: []})).rejects.toMatchObject({
    code: 'LKO-4003',
    message: expect.stringMatching(/^no-such-program\n.*ENOENT/),
  })
  await expect(shell.run({file: 'sleep', args: ['60'], timeoutMs: 20})).rejects.toThrow('sleep 60\ndid not end within 20 ms')
})

test('what a program prints is told line by line, and returned', async () => {
  const lines: string[] = []
  expect(await shell.run({file: 'printf', args: [String.raw`one\ntwo\n`], onLine: (line) => lines.push(line)})).toBe('one\ntwo')
  expect(lines).toEqual(['one', 'two'])
})

test('a program gets nothing of ours in its environment', async () => {
  for (const name of ['VAULT_TOKEN', 'VAULT', 'BAO_TOKEN', 'LKEOBS_FLEET', 'DEBUG']) vi.stubEnv(name, 'sentinel')
  vi.stubEnv('HTTPS_PROXY', 'kept')
  onTestFinished(() => void vi.unstubAllEnvs())
  const environment = await shell.run({file: 'env', args: [], env: {ADDED: 'yes'}})
  expect(environment).not.toContain('sentinel')
  expect(environment.split('\n')).toEqual(expect.arrayContaining(['HTTPS_PROXY=kept', 'ADDED=yes']))
})

test('a secret is not seen, however it is printed', () => {
  const secret = new Secret('hush-hush')
  const seen = [
    String(secret),
    `${secret as unknown as string}!`,
    JSON.stringify({secret, list: [secret]}),
    inspect(secret),
    inspect({secret}, {showHidden: true, depth: 9}),
    Object.entries(secret).join(''),
    Object.getOwnPropertyNames(secret).join(''),
    new Error(String(secret)).stack ?? '',
    ['', secret].join(),
  ]
  for (const text of seen) expect(text).not.toContain('hush-hush')
  expect(seen.slice(0, 4)).toEqual(['[redacted]', '[redacted]!', '{"secret":"[redacted]","list":["[redacted]"]}', '[redacted]'])
  expect(secret.reveal()).toBe('hush-hush')
})
