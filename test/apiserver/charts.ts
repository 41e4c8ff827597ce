import {execFile} from 'node:child_process'
import {mkdir, writeFile} from 'node:fs/promises'
import path from 'node:path'
import {promisify} from 'node:util'
import {allCharts} from '../../src/components/charts.ts'
import type {ChartName} from '../../src/components/release.ts'
import {programs} from './programs.ts'
import type {Server} from './server.ts'

/** What every stand-in makes: a workload, its values in a ConfigMap, and what values ask for. */
const templates = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  labels: {app.kubernetes.io/instance: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.count | default 1 }}
  selector: {matchLabels: {app.kubernetes.io/instance: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app.kubernetes.io/instance: {{ .Release.Name }}}}
    spec:
      containers:
        - name: main
          image: {{ .Values.picture | default "none.example/none:1" }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data:
  values.json: {{ toJson .Values | quote }}
{{- range .Values.also }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ . }}}
{{- end }}
{{- if .Values.hook }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-before
  annotations: {helm.sh/hook: "pre-install,pre-upgrade"}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: "none.example/none:1"}]
{{- end }}
`

type Chart = {readonly name: string; readonly version: string}

const packaged = async (charts: readonly Chart[], folder: string): Promise<void> => {
  const {helm} = await programs()
  const sources = await Promise.all(
    charts.map(async ({name, version}) => {
      const source = path.join(folder, 'sources', `${name}-${version}`)
      await mkdir(path.join(source, 'templates'), {recursive: true})
      await Promise.all([
        writeFile(path.join(source, 'Chart.yaml'), JSON.stringify({apiVersion: 'v2', name, version, appVersion: '1'})),
        writeFile(path.join(source, 'templates/all.yaml'), templates),
      ])
      return source
    }),
  )
  await promisify(execFile)(helm, ['package', ...sources, '--destination', folder])
}

/** A folder of charts as lkeobs pins them, but small: they need no image and no node. */
export const standIns = async ({folder}: Pick<Server, 'folder'>, without: readonly ChartName[] = []): Promise<string> => {
  const charts = path.join(folder, 'charts')
  await packaged(
    allCharts().filter(({name}) => !without.includes(name)),
    charts,
  )
  return charts
}

/** A chart of another name or version, packaged; returns its file. */
export const otherChart = async ({folder}: Pick<Server, 'folder'>, name: string, version: string): Promise<string> => {
  const charts = path.join(folder, 'other-charts')
  await packaged([{name, version}], charts)
  return path.join(charts, `${name}-${version}.tgz`)
}
