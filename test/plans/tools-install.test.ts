import {expect, test} from 'vitest'
import {toolsInstall} from '../../src/plans/tools-install.ts'
import {run} from '../../src/steps/run.ts'
import {saying, serveHelm, serveKubectl, tools, type World, world} from '../programs/world.ts'

/** The real tools, and what they write, a line each. */
const told = ({cache}: World) => {
  const transcript: string[] = []
  const record = (line: string) =>
    void transcript.push(
      line
        .replaceAll(`${cache}/lkeobs/programs/`, '')
        .replaceAll(/\.making-\w+/g, '.making')
        .replace(/http:\/\/127[^/]*/, 'MIRROR')
        .replaceAll(/(darwin|linux)[/-](amd64|arm64)/g, 'OS-ARCH'),
    )
  const {shell, files, download} = tools
  return {
    transcript,
    tools: {
      shell: {
        run: (command: Parameters<typeof shell.run>[0]) => {
          if (command.mutates) record([command.file, ...command.args].join(' '))
          return shell.run(command)
        },
      },
      download: {
        dry: false,
        toFile: (...args: Parameters<typeof download.toFile>) => {
          record(`fetch ${args[0]} to ${args[1]}`)
          return download.toFile(...args)
        },
      },
      files: {
        ...files,
        write: (...args: Parameters<typeof files.write>) => {
          record(`write ${args[0]}`)
          return files.write(...args)
        },
        makeFolder: (folder: string) => {
          record(`mkdir ${folder}`)
          return files.makeFolder(folder)
        },
        remove: (target: string) => {
          record(`remove ${target}`)
          return files.remove(target)
        },
      },
    },
  }
}

test('a program is installed by these writes, and by none the second time', async () => {
  const place = await world()
  serveHelm(place, saying('v4.2.4'))
  serveKubectl(place, saying('Client Version: v1.37.1'))
  const {transcript, tools: recording} = told(place)
  for (const name of ['helm', 'kubectl']) await run(toolsInstall([name], recording), 'silent')
  expect(transcript.splice(0)).toMatchInlineSnapshot(`
    [
      "mkdir helm/.making",
      "fetch MIRROR/get.helm.sh/helm-v4.2.4-OS-ARCH.tar.gz.sha256sum to helm/.making/checksums",
      "fetch MIRROR/get.helm.sh/helm-v4.2.4-OS-ARCH.tar.gz to helm/.making/helm-v4.2.4-OS-ARCH.tar.gz",
      "mkdir helm/.making/unpacked",
      "tar -xzf helm/.making/helm-v4.2.4-OS-ARCH.tar.gz -C helm/.making/unpacked",
      "chmod 755 helm/.making/unpacked/OS-ARCH/helm",
      "write helm/.making/ready/source.json",
      "remove helm/.making",
      "mkdir kubectl/.making",
      "fetch MIRROR/dl.k8s.io/release/v1.37.1/bin/OS-ARCH/kubectl.sha256 to kubectl/.making/checksums",
      "fetch MIRROR/dl.k8s.io/release/v1.37.1/bin/OS-ARCH/kubectl to kubectl/.making/kubectl",
      "chmod 755 kubectl/.making/kubectl",
      "write kubectl/.making/ready/source.json",
      "remove kubectl/.making",
    ]
  `)
  await run(toolsInstall(['kubernetes'], recording), 'silent')
  expect(transcript).toEqual([])
})
