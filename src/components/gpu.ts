import {nodeNamespace} from '../platforms/kubernetes/names.ts'
import {renderValues} from '../templates.ts'
import type {Release} from './release.ts'

export type GpuWish = {
  /** The label of the nodes with GPUs, unless it is the one that the GPU operator's discovery sets. LKE itself sets none. */
  readonly nodeSelector?: Readonly<Record<string, string>> | undefined
  /** Taints of these nodes. */
  readonly tolerations?: readonly object[] | undefined
  /** The runtime class that shows the GPUs to a container, where they are not shown to all. */
  readonly runtimeClass?: string | undefined
}

const gpuNodes = {'nvidia.com/gpu.present': 'true'}
const gpuTaint = [{key: 'nvidia.com/gpu', operator: 'Exists', effect: 'NoSchedule'}]

/** One exporter on each node with GPUs. */
export const gpuRelease = ({nodeSelector = gpuNodes, tolerations = gpuTaint, runtimeClass = ''}: GpuWish = {}): Release => ({
  name: 'dcgm-exporter',
  title: 'GPU exporter',
  namespace: nodeNamespace,
  chart: 'dcgm-exporter',
  values: renderValues('gpu.yaml', {name: 'dcgm-exporter', nodeSelector, tolerations, runtimeClass}),
})
