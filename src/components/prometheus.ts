import type {LateData} from '../collector/budget.ts'
import {namespace, ports} from '../platforms/kubernetes/names.ts'
import type {Place} from '../platforms/platform.ts'
import {render, renderValues, toYaml} from '../templates.ts'
import {imageOf} from './charts.ts'
import {answers, type Component} from './component.ts'
import type {Release} from './release.ts'
import {digestOf, disk, type Kept, shareOf} from './values.ts'

/** Resource attributes that become labels: which edge and which program a series is of. */
const promoted = [
  'lkeobs.edge',
  'k8s.cluster.name',
  'k8s.namespace.name',
  'k8s.node.name',
  'k8s.pod.name',
  'k8s.container.name',
  // without these, the state of two workloads in one namespace would be one series
  'k8s.deployment.name',
  'k8s.statefulset.name',
  'k8s.daemonset.name',
  'k8s.replicaset.name',
  'k8s.job.name',
  'k8s.cronjob.name',
  'k8s.hpa.name',
  'k8s.resourcequota.name',
  'k8s.volume.name',
  'k8s.persistentvolumeclaim.name',
  'host.name',
  'service.name',
  'service.instance.id',
]

/** Two hours and more of samples that came out of order are in memory; what is older is in blocks, as ever. */
const outOfOrder = ({prometheusSeconds}: LateData): string => `${prometheusSeconds}s`

export const prometheus = (at: Place, late: LateData): Component => ({
  name: 'prometheus',
  title: 'Prometheus',
  program: 'prometheus',
  args: [
    `--config.file=${at.file('prometheus.yaml')}`,
    `--storage.tsdb.path=${at.file('data')}`,
    `--web.listen-address=${at.address('http')}`,
    '--web.enable-otlp-receiver',
    '--enable-feature=exemplar-storage',
    '--log.level=warn',
  ],
  files: {'prometheus.yaml': toYaml(render('prometheus.yaml', {promoted, outOfOrder: outOfOrder(late)}))},
  url: `http://${at.address('http')}`,
  ready: answers(`http://${at.address('http')}/-/ready`),
})

/** Prometheus of the hub on Kubernetes. */
export const prometheusRelease = (wish: Kept & {readonly late: LateData}): Release => {
  const {global, otlp, storage} = render('prometheus.yaml', {promoted, outOfOrder: outOfOrder(wish.late)}) as {
    readonly global: object
    readonly otlp: object
    readonly storage: {readonly tsdb: object}
  }
  const configuration = {global, otlp, tsdb: storage.tsdb}
  const {registry, repository, tag} = imageOf('prometheus')
  return {
    name: 'prometheus',
    title: 'Prometheus',
    namespace,
    chart: 'prometheus',
    values: renderValues('prometheus.yaml', {
      name: 'prometheus',
      image: {repository: `${registry}/${repository}`, tag},
      ...configuration,
      digest: digestOf(JSON.stringify(configuration)),
      // the rest of the disk is for the log and for a compaction under way; Prometheus counts 1 MB as 1 MiB
      retention: {time: `${wish.retentionDays}d`, size: `${shareOf(wish, 0.8)}MB`},
      disk: disk(wish),
      port: ports.prometheus,
    }),
  }
}
