import {literal} from '../collector/config.ts'
import {gatewayConfig, type GatewayWish} from '../collector/gateway.ts'

import type {Place} from '../platforms/platform.ts'
import {toYaml} from '../templates.ts'
import {trustBundleFile} from '../trust/bundle.ts'
import {answers, type Component} from './component.ts'

/** The file that the leaf agent writes for a collector. */
export const leafFile = 'leaf.pem'

export const gateway = (hub: string, at: Place, stores: GatewayWish['stores']): Component => ({
  name: 'gateway',
  title: 'gateway',
  program: 'otelcol',
  args: [`--config=${at.file('gateway.yaml')}`],
  files: {
    'gateway.yaml': toYaml(
      literal(
        gatewayConfig({
          hub,
          listen: at.address('otlp'),
          leaf: at.file(leafFile),
          clients: at.file(trustBundleFile),
          own: at.address('own'),
          health: at.address('health'),
          host: at.host,
          counters: at.port('counters'),
          queue: at.file('queue'),
          stores,
        }),
      ),
    ),
  },
  url: `https://${at.address('otlp')}`,
  ready: answers(`http://${at.address('health')}`),
})
