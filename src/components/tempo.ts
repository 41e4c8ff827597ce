import type {Place} from '../platforms/platform.ts'
import {render, toYaml} from '../templates.ts'
import {answers, type Component} from './component.ts'

export const tempo = (at: Place): Component => ({
  name: 'tempo',
  title: 'Tempo',
  program: 'tempo',
  args: [`-config.file=${at.file('tempo.yaml')}`],
  files: {
    'tempo.yaml': toYaml(
      render('tempo.yaml', {
        data: at.file('data'),
        host: at.host,
        http: at.port('http'),
        grpc: at.port('grpc'),
        otlp: at.address('otlp'),
        gossip: 0,
      }),
    ),
  },
  url: `http://${at.address('http')}`,
  ready: answers(`http://${at.address('http')}/ready`),
})
