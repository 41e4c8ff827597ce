import type {Place} from '../platforms/platform.ts'
import {render, toYaml} from '../templates.ts'
import {answers, type Component} from './component.ts'

/** Resource attributes that become labels: which edge and which program a series is of. */
const promoted = [
  'lkeobs.edge',
  'k8s.cluster.name',
  'k8s.namespace.name',
  'k8s.node.name',
  'k8s.pod.name',
  'host.name',
  'service.name',
  'service.instance.id',
]

export const prometheus = (at: Place): Component => ({
  name: 'prometheus',
  title: 'Prometheus',
  program: 'prometheus',
  args: [
    `--config.file=${at.file('prometheus.yaml')}`,
    `--storage.tsdb.path=${at.file('data')}`,
    `--web.listen-address=${at.address('http')}`,
    '--web.enable-otlp-receiver',
    '--log.level=warn',
  ],
  files: {'prometheus.yaml': toYaml(render('prometheus.yaml', {promoted}))},
  url: `http://${at.address('http')}`,
  ready: answers(`http://${at.address('http')}/-/ready`),
})
