import type {LateData} from '../collector/budget.ts'
import {lokiRecord, maxStoreBytes} from '../collector/sizes.ts'
import {namespace, ports} from '../platforms/kubernetes/names.ts'
import type {Place} from '../platforms/platform.ts'
import {render, renderValues, toYaml} from '../templates.ts'
import {imageOf} from './charts.ts'
import {answers, type Component} from './component.ts'
import type {Release} from './release.ts'
import {amended, disk, forTpl, type Kept, type ObjectStorage, objectStorageKeys} from './values.ts'

/** What is the same on every platform. */
export const lokiLimits = ({lokiSeconds, lokiStreamSeconds}: Pick<LateData, 'lokiSeconds' | 'lokiStreamSeconds'>) => ({
  sizes: {message: maxStoreBytes, line: lokiRecord.lineBytes, metadata: lokiRecord.metadataBytes, entries: lokiRecord.metadataEntries},
  late: {age: `${lokiSeconds}s`, chunkAge: `${2 * lokiStreamSeconds}s`},
})

export const loki = (at: Place, late: LateData): Component => ({
  name: 'loki',
  title: 'Loki',
  program: 'loki',
  args: [`-config.file=${at.file('loki.yaml')}`],
  files: {
    'loki.yaml': toYaml(
      render('loki.yaml', {
        data: at.file('data'),
        host: at.host,
        http: at.port('http'),
        grpc: at.port('grpc'),
        grpcAddress: at.address('grpc'),
        ...lokiLimits(late),
      }),
    ),
  },
  url: `http://${at.address('http')}`,
  ready: answers(`http://${at.address('http')}/ready`),
})

export type LokiWish = Kept & {
  readonly late: LateData
  readonly objectStorage?: ObjectStorage | undefined
}

const grpc = 9095
const loopback = '127.0.0.1'
// below the mount point, where the file system keeps a folder of its own (lost+found) that is nobody's log
const data = '/var/loki/data'

/** Chunks and index in a bucket. The thanos client: the other one sends checksums after the content, which Linode's stores refuse. */
const inBucket = ({endpoint, region, bucket}: ObjectStorage) => ({
  use_thanos_objstore: true,
  object_store: {
    s3: {
      endpoint,
      region,
      bucket_name: bucket,
      access_key_id: objectStorageKeys.accessKeyId,
      secret_access_key: objectStorageKeys.secretAccessKey,
    },
  },
})

/** As on every platform, and: it forgets, answers the whole cluster, and keeps chunks in a bucket where there is one. */
const configuration = ({retentionDays, objectStorage, late}: LokiWish) => {
  const kind = objectStorage ? 's3' : 'filesystem'
  const common = render('loki.yaml', {
    data,
    host: loopback,
    http: ports.loki,
    grpc,
    grpcAddress: `${loopback}:${grpc}`,
    ...lokiLimits(late),
  })
  const {configs} = common['schema_config'] as {readonly configs: readonly object[]}
  return {
    ...amended(amended(common, 'server', {http_listen_address: ''}), 'limits_config', {retention_period: `${retentionDays * 24}h`}),
    schema_config: {configs: configs.map((one) => ({...one, object_store: kind}))},
    ...(objectStorage ? {storage_config: inBucket(objectStorage)} : {}),
    compactor: {working_directory: `${data}/compactor`, retention_enabled: true, delete_request_store: kind},
  }
}

/** Loki of the hub on Kubernetes. With a bucket, its disk only holds what is not there yet. */
export const lokiRelease = (wish: LokiWish): Release => ({
  name: 'loki',
  title: 'Loki',
  namespace,
  chart: 'loki',
  values: renderValues('loki.yaml', {
    name: 'loki',
    image: {...imageOf('loki'), pullPolicy: 'IfNotPresent'},
    config: forTpl(configuration(wish)),
    port: ports.loki,
    grpc,
    storage: wish.objectStorage ? 's3' : 'filesystem',
    env: wish.objectStorage ? objectStorageKeys.env(wish.objectStorage.secret) : [],
    disk: disk(wish),
  }),
})
