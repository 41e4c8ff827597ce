import {namespace, ports} from '../platforms/kubernetes/names.ts'
import {renderValues} from '../templates.ts'
import type {Release} from './release.ts'

/** A folder of dashboards: each key of the ConfigMap is a dashboard's JSON. */
export type DashboardFolder = {readonly title: string; readonly configMap: string}

/** The Secret with `admin-user` and `admin-password`. */
const adminSecret = 'grafana-admin'

const at = (service: string, port: number) => `http://${service}.${namespace}.svc:${port}`

/**
 * Metrics, logs and traces, each with its way to the others. `$$` is a dollar sign to whoever reads the file.
 * In Loki a trace's id is structured metadata, which Grafana finds by the name of a label.
 */
const datasources = [
  {
    name: 'Prometheus',
    uid: 'prometheus',
    type: 'prometheus',
    url: at('prometheus', ports.prometheus),
    isDefault: true,
    // collectors send every 10 to 15 s
    jsonData: {httpMethod: 'POST', timeInterval: '15s', exemplarTraceIdDestinations: [{name: 'trace_id', datasourceUid: 'tempo'}]},
  },
  {
    name: 'Loki',
    uid: 'loki',
    type: 'loki',
    url: at('loki', ports.loki),
    jsonData: {
      derivedFields: [{name: 'trace_id', matcherType: 'label', matcherRegex: 'trace_id', url: '$${__value.raw}', datasourceUid: 'tempo'}],
    },
  },
  {
    name: 'Tempo',
    uid: 'tempo',
    type: 'tempo',
    url: at('tempo', ports.tempoHttp),
    jsonData: {
      tracesToLogsV2: {
        datasourceUid: 'loki',
        spanStartTimeShift: '-5m',
        spanEndTimeShift: '5m',
        tags: [{key: 'service.name', value: 'service_name'}],
        customQuery: true,
        query: '{$${__tags}} | trace_id = "$${__trace.traceId}"',
      },
      tracesToMetrics: {
        datasourceUid: 'prometheus',
        spanStartTimeShift: '-5m',
        spanEndTimeShift: '5m',
        tags: [{key: 'service.name', value: 'service_name'}],
      },
      nodeGraph: {enabled: true},
    },
  },
].map((one) => ({access: 'proxy', editable: false, ...one}))

const slug = (title: string) => title.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')

const provider = ({title}: DashboardFolder) => ({
  name: slug(title),
  orgId: 1,
  folder: title,
  type: 'file',
  disableDeletion: true,
  allowUiUpdates: false,
  options: {path: `/var/lib/grafana/dashboards/${slug(title)}`},
})

/** Grafana of the hub, inside the cluster only. */
export const grafanaRelease = ({dashboards = []}: {readonly dashboards?: readonly DashboardFolder[] | undefined} = {}): Release => ({
  name: 'grafana',
  title: 'Grafana',
  namespace,
  chart: 'grafana',
  values: renderValues('grafana.yaml', {
    name: 'grafana',
    port: ports.grafana,
    adminSecret,
    datasources: {'datasources.yaml': {apiVersion: 1, prune: true, datasources}},
    dashboardProviders: dashboards.length === 0 ? {} : {'dashboardproviders.yaml': {apiVersion: 1, providers: dashboards.map(provider)}},
    dashboardsConfigMaps: Object.fromEntries(dashboards.map(({title, configMap}) => [slug(title), configMap])),
  }),
})
