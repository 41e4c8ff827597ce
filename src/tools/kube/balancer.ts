/** What is read of a Service to which a load balancer leads. */
export type Balanced = {
  readonly status?: {readonly loadBalancer?: {readonly ingress?: readonly {readonly ip?: string; readonly hostname?: string}[]}}
}

/** Where its load balancer listens; undefined while it has no address. */
export const addressOf = ({status}: Balanced): string | undefined => {
  const [first] = status?.loadBalancer?.ingress ?? []
  return first?.ip ?? first?.hostname
}
