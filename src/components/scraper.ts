import {namespace} from '../platforms/kubernetes/names.ts'
import {renderValues} from '../templates.ts'
import {type CollectorImage, collectorUser, collectorValues} from './collector.ts'
import type {Release} from './release.ts'

const reads = ['get', 'list', 'watch']

/** What k8s_cluster counts and k8s_events follows. */
const clusterRole = {
  create: true,
  name: 'lkeobs-scraper',
  clusterRoleBinding: {name: 'lkeobs-scraper'},
  rules: [
    {
      apiGroups: [''],
      resources: [
        'events',
        'namespaces',
        'namespaces/status',
        'nodes',
        'nodes/spec',
        'persistentvolumeclaims',
        'persistentvolumes',
        'pods',
        'pods/status',
        'replicationcontrollers',
        'replicationcontrollers/status',
        'resourcequotas',
        'services',
      ],
      verbs: reads,
    },
    {apiGroups: ['apps'], resources: ['daemonsets', 'deployments', 'replicasets', 'statefulsets'], verbs: reads},
    {apiGroups: ['batch'], resources: ['jobs', 'cronjobs'], verbs: reads},
    {apiGroups: ['autoscaling'], resources: ['horizontalpodautoscalers'], verbs: reads},
    {apiGroups: ['events.k8s.io'], resources: ['events'], verbs: reads},
  ],
}

/** Leases of its own namespace only: those of the whole cluster are also the nodes' and the control plane's. */
const lease = (name: string) => {
  const metadata = {name: `${name}-leader`, namespace}
  return [
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'Role',
      metadata,
      rules: [
        {apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete']},
      ],
    },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata,
      roleRef: {apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: `${name}-leader`},
      subjects: [{kind: 'ServiceAccount', name, namespace}],
    },
  ]
}

/** One on each cluster: the state of its objects, and its events. */
export const scraperRelease = ({config, image}: {readonly config: object; readonly image: CollectorImage}): Release => ({
  name: 'scraper',
  title: 'scraper',
  namespace,
  chart: 'opentelemetry-collector',
  values: {
    ...collectorValues({name: 'scraper', image, config, takesOtlp: false, speaksToKubernetes: true, hasLeaf: false}),
    ...renderValues('scraper.yaml', {user: collectorUser.own, clusterRole, lease: lease('scraper')}),
  },
})
