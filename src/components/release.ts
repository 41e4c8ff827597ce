/** The charts of `charts.yaml`. */
export const chartNames = [
  'cert-manager',
  'dcgm-exporter',
  'grafana',
  'kyverno',
  'loki',
  'openbao',
  'opentelemetry-collector',
  'opentelemetry-operator',
  'prometheus',
  'tempo',
  'vault-secrets-operator',
] as const
export type ChartName = (typeof chartNames)[number]

/** A component as Kubernetes runs it: a release of an upstream chart with values of ours. Nothing secret. */
export type Release = {
  /** Unique on its cluster, and the name of its Services and workloads: `gateway`. */
  readonly name: string
  /** As a person calls it. */
  readonly title: string
  readonly namespace: string
  readonly chart: ChartName
  readonly values: Readonly<Record<string, unknown>>
}
