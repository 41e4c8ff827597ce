import path from 'node:path'
import {type Fleet, openFleet, refuseElsewhere} from '../clusters.ts'
import {newLabFleet, withLabEdges} from '../fleet/edit.ts'
import {parseFleet} from '../fleet/load.ts'
import {count} from '../output.ts'
import {stateFolderOf} from '../platforms/local/index.ts'
import type {Plan, Step, Task} from '../steps/step.ts'
import type {Tools} from '../tools/index.ts'
import {asking} from '../trust/credential.ts'
import {sealsMounted} from '../trust/seal.ts'
import {admitted, edgeAgent, edgeIdentity, inReach} from './edge-join.ts'
import {hubSteps} from './hub-init.ts'
import {programsInstalled} from './tools-install.ts'

/** Edges that come up side by side; more would only share the same cores. */
const edgesAtOnce = 4

/** The fleet of a lab: what its file says, with edges added until there are as many as wished; a new one where there is no file. Writes nothing. */
export const openLab = async (file: string, edges: number | undefined, tools: Tools): Promise<Fleet> => {
  const there = await tools.files.read(file)
  const text = there === undefined ? newLabFleet({edges: edges ?? 1}) : edges === undefined ? there : labWithEdges(there, edges, file)
  const absolute = path.resolve(file)
  const fleet = openFleet({fleet: parseFleet(text, file), file: absolute, folder: path.dirname(absolute), text}, tools)
  refuseElsewhere(fleet)
  return fleet
}

const labWithEdges = (text: string, edges: number, file: string): string => {
  // a file with mistakes is reported as such, not edited
  parseFleet(text, file)
  return withLabEdges(text, edges)
}

/** A whole fleet on this machine: programs, fleet file, hub, edges. */
export const labUp = ({file, hub, edges}: Fleet, tools: Tools): Plan => ({
  command: 'lab up',
  title: `Lab ${file.fleet.fleet}: ${hub.name} and ${count(edges.length, 'edge')} on this machine.`,
  steps: [programsInstalled(['lab'], tools), fleetFileWritten({file}, tools), ...fleetSteps({hub, edges}, tools)],
})

/** A hub and its edges, as their fleet file says. */
export const fleetSteps = (
  {hub, edges}: Pick<Fleet, 'hub' | 'edges'>,
  tools: Pick<Tools, 'x509'>,
  options?: {readonly retires: boolean},
): readonly Task[] => {
  const members = edges.map((edge) => ({edge, above: inReach(hub, edge, options)}))
  const forEach = (title: string, steps: (member: (typeof members)[number]) => readonly Task[]): Task => ({
    title,
    concurrency: edgesAtOnce,
    independent: 'LKO-8001',
    steps: members.map((member) => ({title: member.edge.name, steps: steps(member)})),
  })
  return [
    ...hubSteps(hub, tools),
    ...sealsMounted(hub, edges),
    forEach('edges', ({edge, above}) => edgeIdentity(above, edge)),
    ...admitted(hub),
    forEach('agents', ({edge, above}) => edgeAgent(above, hub, edge)),
    ...admitted(hub),
    asking(hub),
  ]
}

export const fleetFileWritten = ({file: {file, folder, text}}: Pick<Fleet, 'file'>, {files}: Tools): Step => {
  const ignore = path.join(stateFolderOf(folder), '.gitignore')
  return {
    title: `fleet file ${path.relative(process.cwd(), file)}`,
    async done() {
      if ((await files.read(file)) !== text) return 'not written'
      return (await files.exists(ignore)) ? true : 'its state folder is not hidden from Git'
    },
    async apply() {
      await files.write(ignore, '# what is here can be made again, and some of it is secret\n*\n')
      await files.write(file, text, 0o644)
    },
  }
}
