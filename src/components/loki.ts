import type {Place} from '../platforms/platform.ts'
import {render, toYaml} from '../templates.ts'
import {answers, type Component} from './component.ts'

export const loki = (at: Place): Component => ({
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
      }),
    ),
  },
  url: `http://${at.address('http')}`,
  ready: answers(`http://${at.address('http')}/ready`),
})
