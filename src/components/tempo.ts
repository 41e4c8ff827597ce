import {type LateData, tempoSweepSeconds} from '../collector/budget.ts'
import {maxItemBytes, maxStoreBytes, maxTraceBytes} from '../collector/sizes.ts'
import {namespace, ports} from '../platforms/kubernetes/names.ts'
import type {Place} from '../platforms/platform.ts'
import {render, renderValues, toYaml} from '../templates.ts'
import {answers, type Component} from './component.ts'
import type {Release} from './release.ts'
import {amended, type Kept, type ObjectStorage, objectStorageKeys, yamlForTpl} from './values.ts'

/** What is the same on every platform. */
const tempoLimits = ({tempoSeconds}: Pick<LateData, 'tempoSeconds'>) => ({
  sizes: {message: maxStoreBytes, messageMib: maxStoreBytes / 2 ** 20, item: maxItemBytes, trace: maxTraceBytes},
  slack: `${tempoSeconds}s`,
  sweep: `${tempoSweepSeconds}s`,
})

export const tempo = (at: Place, late: LateData): Component => ({
  name: 'tempo',
  title: 'Tempo',
  program: 'tempo',
  args: [`-config.file=${at.file('tempo.yaml')}`],
  files: {
    'tempo.yaml': toYaml(
      render('tempo.yaml', {
        data: at.file('data'),
        wal: at.file('wal'),
        host: at.host,
        http: at.port('http'),
        grpc: at.port('grpc'),
        otlp: at.address('otlp'),
        gossip: 0,
        ...tempoLimits(late),
      }),
    ),
  },
  url: `http://${at.address('http')}`,
  ready: answers(`http://${at.address('http')}/ready`),
})

export type TempoWish = Kept & {
  readonly late: LateData
  readonly objectStorage?: ObjectStorage | undefined
}

const otlp = `0.0.0.0:${ports.tempoOtlp}`
// below the mount point, where the file system keeps a folder of its own (lost+found) that is nobody's trace
const data = '/var/tempo/data'
const wal = '/var/tempo/wal'

const inBucket = ({endpoint, region, bucket}: ObjectStorage) => ({
  backend: 's3',
  s3: {endpoint, region, bucket, access_key: objectStorageKeys.accessKeyId, secret_key: objectStorageKeys.secretAccessKey},
})

/** As on every platform, and: it forgets, answers the whole cluster, and keeps blocks in a bucket where there is one. */
const configuration = ({retentionDays, objectStorage, late}: TempoWish) => {
  const common = render('tempo.yaml', {
    data,
    wal,
    host: '127.0.0.1',
    http: ports.tempoHttp,
    grpc: 9095,
    otlp,
    gossip: 7946,
    ...tempoLimits(late),
  })
  const {trace} = common['storage'] as {readonly trace: {readonly wal: object}}
  return {
    ...amended(common, 'server', {http_listen_address: ''}),
    // without it, a sender that is told to slow down takes what it sent for refused for good
    compactor: {compaction: {block_retention: `${retentionDays * 24}h`}},
    ...(objectStorage ? {storage: {trace: {...inBucket(objectStorage), wal: trace.wal}}} : {}),
  }
}

/** Tempo of the hub on Kubernetes. With a bucket, its disk only holds what is not there yet. */
export const tempoRelease = (wish: TempoWish): Release => ({
  name: 'tempo',
  title: 'Tempo',
  namespace,
  chart: 'tempo',
  values: renderValues('tempo.yaml', {
    name: 'tempo',
    config: yamlForTpl(configuration(wish)),
    args: wish.objectStorage ? {'config.expand-env': 'true'} : {},
    env: wish.objectStorage ? objectStorageKeys.env(wish.objectStorage.secret) : [],
    otlp,
    disk: {enabled: true, size: wish.size, storageClassName: wish.storageClass},
  }),
})
