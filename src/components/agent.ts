import {literal} from '../collector/config.ts'
import {agentConfig} from '../collector/agent.ts'

import type {Place} from '../platforms/platform.ts'
import {toYaml} from '../templates.ts'
import {answers, type Component} from './component.ts'
import {leafFile} from './gateway.ts'

/** The hub's root CA in the agent's hands. The collector reads it only when it starts (core#11111). */
export const hubCaFile = 'hub-ca.pem'

export const agent = (edge: string, at: Place, gateway: string, logs: readonly string[]): Component => ({
  name: 'agent',
  title: 'agent',
  program: 'otelcol',
  args: [`--config=${at.file('agent.yaml')}`],
  files: {
    'agent.yaml': toYaml(
      literal(
        agentConfig({
          edge,
          gateway,
          gatewayCa: at.file(hubCaFile),
          leaf: at.file(leafFile),
          grpc: at.address('grpc'),
          http: at.address('http'),
          health: at.address('health'),
          host: at.host,
          counters: at.port('counters'),
          queue: at.file('queue'),
          logs,
        }),
      ),
    ),
  },
  restartOn: [hubCaFile],
  url: `http://${at.address('http')}`,
  ready: answers(`http://${at.address('health')}`),
})
