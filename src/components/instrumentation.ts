import {namespace} from '../platforms/kubernetes/names.ts'
import {renderValues} from '../templates.ts'
import type {Release} from './release.ts'

/** Injects instrumentation into pods that ask for it, when they are made. */
export const instrumentationRelease = (): Release => ({
  name: 'opentelemetry-operator',
  title: 'OpenTelemetry operator',
  namespace,
  chart: 'opentelemetry-operator',
  values: renderValues('instrumentation.yaml', {name: 'opentelemetry-operator'}),
})
